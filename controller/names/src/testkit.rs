//! Generated inventories, for property tests here and for comparing another resolver with this one.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::inventory::{
    Cardinality, Cluster, Domain, Interface, Inventory, Machine, Port, Protocol, Role, Service,
    Source, VirtualHost, Zone,
};

/// Inventories in which much goes wrong: few labels and addresses, so that they collide; selectors
/// that are short, long, ambiguous, circular or unknown; some text that is no name at all.
pub fn messy() -> impl Strategy<Value = Inventory> {
    (
        select(vec!["example.com", "lan", "a.b", "not a name"]),
        vec(label(), 1..4),
        vec(machine(), 0..7),
        vec(service(), 0..5),
    )
        .prop_map(|(suffix, clusters, machines, services)| {
            assemble(suffix, clusters, machines, services)
        })
}

/// Inventories in which nothing is wrong: every name and address is unique and every selector is the
/// long name of a machine, an interface or a virtual host, so strict building succeeds.
pub fn sound() -> impl Strategy<Value = Inventory> {
    let machines = vec((0..3_usize, 0..3_usize, 0..3_usize), 1..8);
    let roles = vec((0..3_usize, vec(any::<prop::sample::Index>(), 1..4)), 0..6);
    (machines, roles).prop_map(|(machines, roles)| {
        let clusters: Vec<_> = (0..3).map(|n| format!("c{n}")).collect();
        let machines: Vec<_> = machines
            .into_iter()
            .enumerate()
            .map(|(n, (cluster, interfaces, hosts))| (cluster, sound_machine(n, interfaces, hosts)))
            .collect();
        let names: Vec<String> = machines
            .iter()
            .flat_map(|(cluster, machine)| {
                let long = format!("{}.c{cluster}.example.com", machine.label);
                let interfaces = machine.interfaces.iter().map(|i| format!("{}.{long}", i.name));
                let hosts =
                    machine.virtual_hosts.iter().map(|host| format!("{}.{long}", host.name));
                interfaces.chain(hosts).chain([long.clone()]).collect::<Vec<_>>()
            })
            .collect();
        let services = roles
            .into_iter()
            .enumerate()
            .map(|(n, (cluster, picks))| {
                let selectors = picks.iter().map(|pick| pick.get(&names).clone()).collect();
                (cluster, sound_service(n, selectors))
            })
            .collect();
        assemble("example.com", clusters, machines, services)
    })
}

fn assemble(
    suffix: &str,
    clusters: Vec<String>,
    machines: Vec<(usize, Machine)>,
    services: Vec<(usize, Service)>,
) -> Inventory {
    let cluster_source = |n: usize| Source::new(format!("Cluster/t/{n}"));
    let zone = |name: &str, ttl| Zone { name: name.to_owned(), ttl };
    Inventory {
        domain: Domain {
            source: Source::new("Domain/t/d"),
            suffix: suffix.to_owned(),
            zones: vec![
                zone("example.com", 60),
                zone("c1.example.com", 300),
                zone("10.in-addr.arpa", 300),
                zone("64/26.2.0.192.in-addr.arpa", 300),
            ],
        },
        clusters: clusters
            .into_iter()
            .enumerate()
            .map(|(n, label)| Cluster { source: cluster_source(n), label })
            .collect(),
        machines: machines
            .into_iter()
            .enumerate()
            .map(|(n, (cluster, machine))| Machine {
                source: Source::new(format!("Machine/t/{n}")),
                cluster: cluster_source(cluster),
                ..machine
            })
            .collect(),
        services: services
            .into_iter()
            .enumerate()
            .map(|(n, (cluster, service))| Service {
                source: Source::new(format!("Service/t/{n}")),
                cluster: cluster_source(cluster),
                ..service
            })
            .collect(),
    }
}

fn label() -> impl Strategy<Value = String> {
    // Good ones by far the most likely, each several times in a hierarchy.
    let good = select(vec!["a", "b", "c", "web", "db", "eno1", "Bücher", "n0"]);
    let bad = select(vec!["", "-x", "a_b", "a.b", "xn--a"]);
    prop_oneof![20 => good, 1 => bad].prop_map(str::to_owned)
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        10 => (1..30_u8).prop_map(|n| format!("10.0.0.{n}/24")),
        4 => (1..8_u8).prop_map(|n| format!("fd00::{n}/64")),
        2 => (64..70_u8).prop_map(|n| format!("192.0.2.{n}")),
        1 => select(vec!["", "10.0.0.0/24", "10.0.0.300", "::1"]).prop_map(str::to_owned),
    ]
}

fn machine() -> impl Strategy<Value = (usize, Machine)> {
    let interface_name = select(vec!["eno1", "eno1.100", "eno1:100", "lo", "a"]);
    let mac = option::of((0..8_u8).prop_map(|n| format!("52:54:00:00:00:{n:02x}")));
    let interface = (interface_name, mac, vec(address(), 0..3))
        .prop_map(|(name, mac, addresses)| Interface { name: name.to_owned(), mac, addresses });
    let host = (label(), vec(address(), 0..2))
        .prop_map(|(name, addresses)| VirtualHost { name, addresses });
    (
        0..4_usize,
        label(),
        option::weighted(0.2, select(vec!["eno1", "eth9"])),
        vec(interface, 0..3),
        vec(host, 0..2),
        any::<bool>(),
        option::weighted(0.2, reference("Machine")),
    )
        .prop_map(|(cluster, label, primary, interfaces, virtual_hosts, canary, host)| {
            let labels = canary.then(|| ("canary".to_owned(), "yes".to_owned()));
            let machine = Machine {
                source: Source::new(""),
                cluster: Source::new(""),
                label,
                host,
                labels: labels.into_iter().collect(),
                primary_interface: primary.map(str::to_owned),
                interfaces,
                virtual_hosts,
            };
            (cluster, machine)
        })
}

fn service() -> impl Strategy<Value = (usize, Service)> {
    (0..4_usize, label(), vec(role(), 0..4), vec(reference("Service"), 0..2)).prop_map(
        |(cluster, label, roles, depends_on)| {
            let (source, of) = (Source::new(""), Source::new(""));
            (cluster, Service { source, cluster: of, label, roles, depends_on })
        },
    )
}

/// Somebody of that kind, who perhaps exists.
fn reference(kind: &'static str) -> impl Strategy<Value = Source> {
    (0..6_u8).prop_map(move |n| Source::new(format!("{kind}/t/{n}")))
}

fn role() -> impl Strategy<Value = Role> {
    let cardinality =
        (0..2_u32, option::of(0..4_u32)).prop_map(|(min, max)| Cardinality { min, max });
    let port = (select(vec!["http", "dns", "-"]), select(vec![Protocol::Tcp, Protocol::Udp]))
        .prop_map(|(name, protocol)| Port { name: name.to_owned(), port: 80, protocol });
    (label(), vec(selector(), 0..3), cardinality, vec(port, 0..2)).prop_map(
        |(name, selectors, cardinality, ports)| Role { name, selectors, cardinality, ports },
    )
}

/// Selectors over the same labels as the elements'.
pub fn selector() -> impl Strategy<Value = String> {
    let kind = prop_oneof![
        6 => Just(""),
        1 => select(vec!["machine/", "service/", "role/", "interface/", "cluster/", "host/", "pod/"]),
    ];
    let base = prop_oneof![3 => Just(""), 1 => select(vec![".a", ".b.example.com", ".example.com", ".lan", "."])];
    let named = (kind, vec(label(), 1..3), base)
        .prop_map(|(kind, labels, base)| format!("{kind}{}{base}", labels.join(".")));
    prop_oneof![12 => named, 1 => Just("label/canary".to_owned()), 1 => Just("label/canary=no".to_owned())]
}

fn sound_machine(n: usize, interfaces: usize, hosts: usize) -> Machine {
    let address = |net: usize, i: usize| format!("10.{net}.{n}.{}/16", i + 1);
    Machine {
        source: Source::new(""),
        cluster: Source::new(""),
        label: format!("m{n}"),
        host: None,
        labels: BTreeMap::new(),
        primary_interface: None,
        interfaces: (0..interfaces)
            .map(|i| Interface {
                name: format!("i{i}"),
                mac: Some(format!("52:54:00:00:{n:02x}:{i:02x}")),
                addresses: vec![address(1, i), format!("fd00::{n}:{i}/64")],
            })
            .collect(),
        virtual_hosts: (0..hosts)
            .map(|i| VirtualHost { name: format!("v{i}"), addresses: vec![address(2, i)] })
            .collect(),
    }
}

fn sound_service(n: usize, selectors: Vec<String>) -> Service {
    Service {
        source: Source::new(""),
        cluster: Source::new(""),
        label: format!("s{n}"),
        roles: vec![Role {
            name: "api".to_owned(),
            selectors,
            cardinality: Cardinality { min: 1, max: None },
            ports: vec![Port { name: "http".to_owned(), port: 80, protocol: Protocol::Tcp }],
        }],
        depends_on: vec![],
    }
}
