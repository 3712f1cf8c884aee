//! From text to elements: every name, address and MAC is claimed once, in the inventory's order.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    Element, Error, Fqdn, Hierarchy, Kind, Label, Mac, Problem, Role, Source,
    address::host_address,
    inventory::{Cluster, Domain, Interface, Inventory, Machine, Port, Service},
    place::{Unplaced, place},
    references::check,
    tree::Tree,
    zone::Zones,
};

/// Names as far as they can be given, and what went wrong on the way.
#[derive(Default)]
struct Builder {
    tree: Tree,
    problems: Vec<Problem>,
    addresses: BTreeMap<IpAddr, (Fqdn, Source)>,
    macs: BTreeMap<Mac, (Fqdn, Source)>,
    /// Elements of which something got lost, so that their addresses may not be all.
    incomplete: BTreeSet<Fqdn>,
}

/// Where something stands: in which resource, in which part of it, below which element.
#[derive(Clone, Copy)]
struct Place<'a> {
    source: &'a Source,
    field: &'a str,
    parent: Option<(Kind, &'a Fqdn)>,
}

pub(crate) fn build(inventory: &Inventory) -> Hierarchy {
    let mut builder = Builder::default();
    let zones = builder.zones(&inventory.domain);
    let mut unplaced = Vec::new();
    if let Some(domain) = builder.domain(&inventory.domain) {
        let clusters = builder.clusters(&domain, &inventory.clusters);
        for machine in &inventory.machines {
            builder.machine(&clusters, machine);
        }
        for service in &inventory.services {
            builder.service(&clusters, service, &mut unplaced);
        }
    }
    builder.tree.link();
    builder.mark_incomplete();
    let (roles, problems) = place(&builder.tree, &unplaced);
    builder.problems.extend(problems);
    builder.give_addresses(&roles);
    builder.problems.extend(check(inventory));
    builder.problems.sort();
    Hierarchy::new(builder.tree, roles, zones, builder.problems)
}

/// Clusters by the source that refers to them; `None` for one that got no name.
type Clusters = BTreeMap<Source, Option<Fqdn>>;

impl Builder {
    fn report(&mut self, place: Place<'_>, error: Error) {
        self.problems.push(Problem {
            source: place.source.clone(),
            field: place.field.to_owned(),
            element: place.parent.map(|(kind, name)| (kind, name.clone())),
            error,
        });
    }

    /// Names a new element below `place.parent`, unless its name is bad or taken.
    fn name(&mut self, kind: Kind, label: Result<Label, Error>, place: Place<'_>) -> Option<Fqdn> {
        let (_, parent) = place.parent?;
        let free = label.and_then(|label| parent.child(&label)).and_then(|name| {
            match self.tree.get(name.as_str()) {
                Some(Element { kind, source, .. }) => {
                    Err(Error::DuplicateName { name, kind: *kind, holder: source.clone() })
                }
                None => Ok(name),
            }
        });
        match free {
            Ok(name) => {
                self.tree.insert(element(kind, name.clone(), Some(parent.clone()), place.source));
                Some(name)
            }
            Err(error) => {
                self.report(place, error);
                None
            }
        }
    }

    fn zones(&mut self, domain: &Domain) -> Zones {
        let mut zones = Zones::default();
        for (index, zone) in domain.zones.iter().enumerate() {
            if let Err(error) = zones.add(zone) {
                let field = &format!("zones[{index}].name");
                self.report(Place { source: &domain.source, field, parent: None }, error);
            }
        }
        zones
    }

    fn domain(&mut self, domain: &Domain) -> Option<Fqdn> {
        match Fqdn::parse_host(&domain.suffix) {
            Ok(name) => {
                self.tree.insert(element(Kind::Domain, name.clone(), None, &domain.source));
                Some(name)
            }
            Err(error) => {
                let place = Place { source: &domain.source, field: "suffix", parent: None };
                self.report(place, error);
                None
            }
        }
    }

    fn clusters(&mut self, domain: &Fqdn, clusters: &[Cluster]) -> Clusters {
        let mut named = Clusters::new();
        for cluster in clusters {
            let place = Place {
                source: &cluster.source,
                field: "label",
                parent: Some((Kind::Domain, domain)),
            };
            let name = self.name(Kind::Cluster, Label::parse(&cluster.label), place);
            named.insert(cluster.source.clone(), name);
        }
        named
    }

    /// The cluster that a resource refers to.
    fn cluster<'c>(
        &mut self,
        clusters: &'c Clusters,
        cluster: &Source,
        source: &Source,
    ) -> Option<&'c Fqdn> {
        let why = match clusters.get(cluster) {
            Some(Some(name)) => return Some(name),
            Some(None) => "its own name is refused",
            None => "there is no such cluster",
        };
        let error = Error::NoCluster { cluster: cluster.clone(), why };
        self.report(Place { source, field: "cluster", parent: None }, error);
        None
    }

    fn machine(&mut self, clusters: &Clusters, machine: &Machine) {
        let source = &machine.source;
        let Some(cluster) = self.cluster(clusters, &machine.cluster, source) else { return };
        let place = Place { source, field: "label", parent: Some((Kind::Cluster, cluster)) };
        let Some(name) = self.name(Kind::Machine, Label::parse(&machine.label), place) else {
            return;
        };
        let mut interfaces = BTreeMap::new();
        for (index, interface) in machine.interfaces.iter().enumerate() {
            let field = format!("interfaces[{index}]");
            if let Some(element) = self.interface(&name, interface, source, &field) {
                interfaces.insert(index, element);
            }
        }
        for (index, host) in machine.virtual_hosts.iter().enumerate() {
            let field = format!("virtualHosts[{index}]");
            let named = &format!("{field}.name");
            let place = Place { source, field: named, parent: Some((Kind::Machine, &name)) };
            if let Some(host_name) = self.name(Kind::VirtualHost, Label::parse(&host.name), place) {
                self.addresses(Kind::VirtualHost, &host_name, &host.addresses, source, &field);
            }
        }
        let primary = self.primary(machine, &name).map(|index| interfaces.get(&index).cloned());
        if let Some(element) = self.tree.get_mut(&name) {
            element.labels.clone_from(&machine.labels);
        }
        match primary {
            Some(Some(interface)) => self.take_addresses(&name, &interface),
            // The interface is known and has no name: its addresses are lost.
            Some(None) => _ = self.incomplete.insert(name),
            None => {}
        }
    }

    fn interface(
        &mut self,
        machine: &Fqdn,
        interface: &Interface,
        source: &Source,
        field: &str,
    ) -> Option<Fqdn> {
        let label = Label::of_interface(&interface.name);
        let named = &format!("{field}.name");
        let place = Place { source, field: named, parent: Some((Kind::Machine, machine)) };
        let name = self.name(Kind::Interface, label, place)?;
        self.addresses(Kind::Interface, &name, &interface.addresses, source, field);
        if let Some(written) = &interface.mac {
            let claimed = written.parse().and_then(|mac| self.claim_mac(mac, &name, source));
            if let Err(error) = claimed {
                let field = &format!("{field}.mac");
                let parent = Some((Kind::Interface, &name));
                self.report(Place { source, field, parent }, error);
            }
        }
        Some(name)
    }

    fn claim_mac(&mut self, mac: Mac, name: &Fqdn, source: &Source) -> Result<(), Error> {
        if let Some((owner, holder)) = self.macs.get(&mac).cloned() {
            return Err(Error::DuplicateMac { mac, owner, holder });
        }
        self.macs.insert(mac, (name.clone(), source.clone()));
        Ok(())
    }

    /// Gives an element those of the addresses that are good and free.
    fn addresses(
        &mut self,
        kind: Kind,
        name: &Fqdn,
        written: &[String],
        source: &Source,
        field: &str,
    ) {
        for (index, written) in written.iter().enumerate() {
            let claimed = host_address(written).and_then(|address| {
                match self.addresses.get(&address).cloned() {
                    Some((owner, holder)) => {
                        Err(Error::DuplicateAddress { address, owner, holder })
                    }
                    None => Ok(address),
                }
            });
            match claimed {
                Ok(address) => {
                    self.addresses.insert(address, (name.clone(), source.clone()));
                    if let Some(element) = self.tree.get_mut(name) {
                        element.addresses.insert(address);
                    }
                }
                Err(error) => {
                    let field = &format!("{field}.addresses[{index}]");
                    self.report(Place { source, field, parent: Some((kind, name)) }, error);
                    self.incomplete.insert(name.clone());
                }
            }
        }
    }

    /// The position of the primary interface. The rule looks at what is written, not at what is
    /// good, so that a slip in one interface does not move the machine to another.
    fn primary(&mut self, machine: &Machine, name: &Fqdn) -> Option<usize> {
        let Some(wanted) = &machine.primary_interface else {
            return machine.interfaces.iter().position(|other| !other.addresses.is_empty());
        };
        let found = machine.interfaces.iter().position(|other| other.name == *wanted);
        if found.is_none() {
            let known = machine.interfaces.iter().map(|other| other.name.clone()).collect();
            let error = Error::UnknownInterface { got: wanted.clone(), known };
            let parent = Some((Kind::Machine, name));
            let place = Place { source: &machine.source, field: "primaryInterface", parent };
            self.report(place, error);
            self.incomplete.insert(name.clone());
        }
        found
    }

    fn take_addresses(&mut self, machine: &Fqdn, interface: &Fqdn) {
        let addresses = self.tree.get(interface.as_str()).map(|element| element.addresses.clone());
        if let Some(machine) = self.tree.get_mut(machine) {
            machine.addresses = addresses.unwrap_or_default();
        }
        if self.incomplete.contains(interface) {
            self.incomplete.insert(machine.clone());
        }
    }

    fn service<'a>(
        &mut self,
        clusters: &Clusters,
        service: &'a Service,
        unplaced: &mut Vec<Unplaced<'a>>,
    ) {
        let source = &service.source;
        let Some(cluster) = self.cluster(clusters, &service.cluster, source) else { return };
        let place = Place { source, field: "label", parent: Some((Kind::Cluster, cluster)) };
        let Some(name) = self.name(Kind::Service, Label::parse(&service.label), place) else {
            return;
        };
        for (index, role) in service.roles.iter().enumerate() {
            let field = format!("roles[{index}]");
            let named = &format!("{field}.name");
            let place = Place { source, field: named, parent: Some((Kind::Service, &name)) };
            let Some(role_name) = self.name(Kind::Role, Label::parse(&role.name), place) else {
                self.incomplete.insert(name.clone());
                continue;
            };
            let ports = self.ports(&role_name, &role.ports, source, &field);
            let service = name.clone();
            unplaced.push(Unplaced { name: role_name, service, source, field, role, ports });
        }
    }

    fn ports(&mut self, role: &Fqdn, ports: &[Port], source: &Source, field: &str) -> Vec<Port> {
        let mut good = Vec::new();
        for (index, port) in ports.iter().enumerate() {
            if is_port_name(&port.name) && port.port != 0 {
                good.push(Port { name: port.name.to_ascii_lowercase(), ..port.clone() });
            } else {
                let error = Error::BadPort { got: format!("{}:{}", port.name, port.port) };
                let field = &format!("{field}.ports[{index}]");
                self.report(Place { source, field, parent: Some((Kind::Role, role)) }, error);
            }
        }
        good
    }

    fn mark_incomplete(&mut self) {
        for name in &self.incomplete {
            if let Some(element) = self.tree.get_mut(name) {
                element.settled = false;
            }
        }
    }

    /// Roles get the addresses of their members, services those of their roles.
    fn give_addresses(&mut self, roles: &BTreeMap<Fqdn, Role>) {
        for role in roles.values() {
            let members = role.members.keys().filter_map(|member| self.tree.get(member.as_str()));
            let settled = role.placed && members.into_iter().all(|member| member.settled);
            let addresses: BTreeSet<IpAddr> = if role.placed {
                role.members.values().flat_map(|member| &member.addresses).copied().collect()
            } else {
                BTreeSet::new()
            };
            for name in [&role.service, &role.name] {
                if let Some(element) = self.tree.get_mut(name) {
                    element.addresses.extend(&addresses);
                    element.settled &= settled;
                }
            }
        }
    }
}

fn element(kind: Kind, name: Fqdn, parent: Option<Fqdn>, source: &Source) -> Element {
    Element {
        kind,
        name,
        parent,
        children: Vec::new(),
        source: source.clone(),
        addresses: BTreeSet::new(),
        settled: true,
        labels: BTreeMap::new(),
    }
}

/// RFC 6335 §5.1.
fn is_port_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && name.bytes().any(|b| b.is_ascii_alphabetic())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}
