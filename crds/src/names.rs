//! From resources to names: what `cim-names` needs to know of a Domain, taken from the five kinds.
//!
//! The manager and the command line both come through here, so that both give an element the same name.

use std::collections::BTreeMap;

use cim_names::{
    Inventory, Source,
    inventory::{self as plain, Cardinality, Protocol},
};
use kube::ResourceExt;

use crate::{
    Cluster, Domain, Kind, Machine, Service,
    machine::provider::Provider,
    service::{self, Dependency},
};

/// The name of a resource in errors and as the source of records: `Machine/home/host1`.
pub fn source<K: Kind>(object: &K) -> Source {
    source_named::<K>(&object.namespace().unwrap_or_default(), &object.name_any())
}

/// The same for the resource `name` of that kind, whether or not it exists.
pub fn source_named<K: Kind>(namespace: &str, name: &str) -> Source {
    Source::new(format!("{}/{namespace}/{name}", K::KIND))
}

/// Where in a manifest the part of the inventory is that a [`cim_names::Problem`] points to:
/// `spec.roles[0].selectors[1]`.
pub fn spec_path(field: &str) -> String {
    match field {
        "" => "spec".to_owned(),
        "host" => "spec.provider.guest.machine".to_owned(),
        zones if zones.starts_with("zones[") => format!("spec.dns.{zones}"),
        same => format!("spec.{same}"),
    }
}

/// Everything that has a name in `domain`. Of what is given, that is taken which belongs to it by its
/// references; these stay within the namespace. Each list is sorted by age and then by name, so that of
/// two who claim one name the older keeps it.
pub fn inventory<'a>(
    domain: &Domain,
    clusters: impl IntoIterator<Item = &'a Cluster>,
    machines: impl IntoIterator<Item = &'a Machine>,
    services: impl IntoIterator<Item = &'a Service>,
) -> Inventory {
    let (namespace, name) = (domain.namespace(), domain.name_any());
    let clusters = by_age(
        clusters
            .into_iter()
            .filter(|cluster| cluster.namespace() == namespace && cluster.spec.domain == name),
    );
    let ours = |namespace_of: Option<String>, cluster: &str| {
        namespace_of == namespace && clusters.iter().any(|other| other.name_any() == cluster)
    };
    let machines = by_age(machines.into_iter().filter(|m| ours(m.namespace(), &m.spec.cluster)));
    let services = by_age(services.into_iter().filter(|s| ours(s.namespace(), &s.spec.cluster)));
    Inventory {
        domain: plain_domain(domain),
        clusters: clusters.iter().map(|cluster| plain_cluster(cluster)).collect(),
        machines: machines.iter().map(|machine| plain_machine(machine)).collect(),
        services: services.iter().map(|service| plain_service(service)).collect(),
    }
}

fn by_age<'a, K: Kind>(objects: impl Iterator<Item = &'a K>) -> Vec<&'a K> {
    let mut objects: Vec<_> = objects.collect();
    objects.sort_by_key(|object| (object.creation_timestamp(), object.name_any()));
    objects
}

fn plain_domain(domain: &Domain) -> plain::Domain {
    let zones = domain.spec.dns.iter().flat_map(|dns| &dns.zones);
    plain::Domain {
        source: source(domain),
        suffix: domain.spec.suffix.clone(),
        zones: zones.map(|zone| plain::Zone { name: zone.name.clone(), ttl: zone.ttl }).collect(),
    }
}

fn plain_cluster(cluster: &Cluster) -> plain::Cluster {
    plain::Cluster { source: source(cluster), label: cluster.label().to_owned() }
}

fn plain_machine(machine: &Machine) -> plain::Machine {
    let namespace = machine.namespace().unwrap_or_default();
    let host = match &machine.spec.provider {
        Provider::Guest(guest) => Some(source_named::<Machine>(&namespace, &guest.machine)),
        _ => None,
    };
    // A tag is a label without a value; where both are given, the label says more.
    let tags = machine.spec.tags.iter().map(|tag| (tag.clone(), String::new()));
    let labels: BTreeMap<_, _> = tags.chain(machine.labels().clone()).collect();
    plain::Machine {
        source: source(machine),
        cluster: source_named::<Cluster>(&namespace, &machine.spec.cluster),
        label: machine.label().to_owned(),
        host,
        labels,
        primary_interface: machine.spec.primary_interface.clone(),
        interfaces: machine
            .spec
            .interfaces
            .iter()
            .map(|interface| plain::Interface {
                name: interface.name.clone(),
                mac: interface.mac.clone(),
                addresses: interface.addresses.clone(),
            })
            .collect(),
        virtual_hosts: machine
            .spec
            .virtual_hosts
            .iter()
            .map(|host| plain::VirtualHost {
                name: host.name.clone(),
                addresses: host.addresses.clone(),
            })
            .collect(),
    }
}

fn plain_service(service: &Service) -> plain::Service {
    let namespace = service.namespace().unwrap_or_default();
    plain::Service {
        source: source(service),
        cluster: source_named::<Cluster>(&namespace, &service.spec.cluster),
        label: service.label().to_owned(),
        roles: service.spec.roles.iter().map(plain_role).collect(),
        depends_on: service
            .spec
            .depends_on
            .iter()
            .filter_map(|dependency| match dependency {
                Dependency::Service(name) => Some(source_named::<Service>(&namespace, name)),
                Dependency::External(_) => None,
            })
            .collect(),
    }
}

fn plain_role(role: &service::Role) -> plain::Role {
    let (min, max) = role.cardinality.unwrap_or_default().bounds();
    plain::Role {
        name: role.name.clone(),
        selectors: role.selectors.clone(),
        cardinality: Cardinality { min, max },
        ports: role
            .ports
            .iter()
            .map(|port| plain::Port {
                name: port.name.clone(),
                port: port.port,
                protocol: match port.protocol {
                    service::Protocol::Tcp => Protocol::Tcp,
                    service::Protocol::Udp => Protocol::Udp,
                },
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use cim_names::{Error, Hierarchy};
    use serde_json::{Value, json};

    use super::*;

    fn object<K: Kind>(name: &str, spec: &Value) -> K {
        serde_json::from_value(json!({
            "apiVersion": "cim.dev/v1alpha1", "kind": K::KIND,
            "metadata": {"name": name, "namespace": "home"}, "spec": spec,
        }))
        .unwrap()
    }

    fn machine(name: &str, extra: &Value) -> Machine {
        let mut spec = json!({"cluster": "prod", "provider": {"metal": {}}, "delivery": "Pull"});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        object(name, &spec)
    }

    fn names(inventory: &Inventory) -> Vec<String> {
        let hierarchy = Hierarchy::strict(inventory).unwrap();
        hierarchy.elements().map(|element| element.name.to_string()).collect()
    }

    fn domain() -> Domain {
        object("example-com", &json!({"suffix": "example.com"}))
    }

    fn cluster() -> Cluster {
        object("prod", &json!({"domain": "example-com", "label": "core"}))
    }

    #[test]
    fn labels_come_from_the_spec_and_else_from_the_name_of_the_object() {
        let machines = [
            machine(
                "host1",
                &json!({"interfaces": [{"name": "eno1.7", "addresses": ["10.0.0.11/24"]}]}),
            ),
            machine("m-2", &json!({"label": "host2", "virtualHosts": [{"name": "vm1"}]})),
        ];
        let vault = object(
            "vault",
            &json!({"cluster": "prod", "roles": [
            {"name": "api", "selectors": ["host1", "host/vm1"], "cardinality": {"exactly": 2},
             "ports": [{"name": "http", "port": 80}]}]}),
        );
        assert_eq!(
            names(&inventory(&domain(), [&cluster()], &machines, [&vault])),
            [
                "api.vault.core.example.com",
                "core.example.com",
                "eno1-7.host1.core.example.com",
                "example.com",
                "host1.core.example.com",
                "host2.core.example.com",
                "vault.core.example.com",
                "vm1.host2.core.example.com",
            ]
        );
    }

    #[test]
    fn what_belongs_to_somebody_else_is_left_out() {
        let mut elsewhere = machine("host1", &json!({}));
        elsewhere.metadata.namespace = Some("other".to_owned());
        let stranger = machine("host2", &json!({"cluster": "unknown"}));
        let foreign: Cluster = object("foreign", &json!({"domain": "example-org"}));
        let inventory = inventory(&domain(), [&cluster(), &foreign], [&elsewhere, &stranger], []);
        assert_eq!(names(&inventory), ["core.example.com", "example.com"]);
    }

    #[test]
    fn of_two_claims_the_older_wins() {
        let aged = |name: &str, time: &str| {
            let mut machine = machine(name, &json!({"label": "host"}));
            let time = serde_json::from_value(json!(time)).unwrap();
            machine.metadata.creation_timestamp = Some(time);
            machine
        };
        let machines = [aged("a", "2026-02-01T00:00:00Z"), aged("b", "2026-01-01T00:00:00Z")];
        let hierarchy = Hierarchy::build(&inventory(&domain(), [&cluster()], &machines, []));
        let [problem] = hierarchy.problems() else { panic!("{:?}", hierarchy.problems()) };
        assert_eq!(problem.source, source(&machines[0]));
        assert!(
            matches!(&problem.error, Error::DuplicateName { holder, .. } if *holder == source(&machines[1]))
        );
        assert_eq!(spec_path(&problem.field), "spec.label");
    }

    #[test]
    fn tags_select_like_labels_and_guests_refer_to_their_host() {
        let host = machine("host1", &json!({"tags": ["canary"]}));
        let guest = machine("guest", &json!({"provider": {"guest": {"machine": "host2"}}}));
        let hierarchy = Hierarchy::build(&inventory(&domain(), [&cluster()], [&host, &guest], []));
        let root = hierarchy.domain().unwrap();
        let found = hierarchy.resolve("label/canary", &root.name).unwrap();
        assert_eq!(found.elements[0].source, source(&host));
        let [problem] = hierarchy.problems() else { panic!("{:?}", hierarchy.problems()) };
        assert_eq!(spec_path(&problem.field), "spec.provider.guest.machine");
        assert!(problem.to_string().contains("Machine/home/host2"), "{problem}");
    }
}
