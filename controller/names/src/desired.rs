//! From the hierarchy to the record set that the world should see.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use crate::{
    Element, Error, Fqdn, Hierarchy, Kind, Member, Problem, RecordSet, RecordType, RecordValue,
    Role, Source, inventory::Port,
};

/// A record beside those of the hierarchy: written down by somebody, or a name of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraRecord {
    /// Its name.
    pub name: Fqdn,
    /// Time to live in seconds; that of its zone when `None`.
    pub ttl: Option<u32>,
    /// What it says.
    pub value: RecordValue,
    /// The resource that asks for it.
    pub source: Source,
    /// Where in that resource, for errors.
    pub field: String,
}

/// The records of a Domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredSet {
    /// What should be there.
    #[serde(serialize_with = "as_list")]
    pub records: BTreeMap<(Fqdn, RecordType), RecordSet>,
    /// Names of which something may be missing from `records` because of a problem elsewhere. What
    /// is published there may be added to, and must not be removed.
    pub held: BTreeSet<Fqdn>,
    /// Names that are left out because no managed zone holds them, with those who asked for them.
    pub unmanaged: BTreeMap<Fqdn, BTreeSet<Source>>,
    /// Records that cannot be published.
    pub problems: Vec<Problem>,
}

/// Computes the records of a hierarchy:
///
/// | name | records |
/// |---|---|
/// | interface, virtual host | A and AAAA of its addresses |
/// | machine | A and AAAA of its primary interface; no alias, so that SSHFP and TXT may stand there |
/// | role | A and AAAA of its ready members, flattened |
/// | service | A and AAAA of the ready members of its roles, flattened |
/// | `_port._tcp.service` | SRV for each named port of its roles, to the host name of each ready member |
/// | reverse name | one PTR per address, to the interface or virtual host that has it |
///
/// The PTR names the interface, not the machine: an address belongs to one interface, while the
/// machine's name has only those of its primary one, and forward-confirmed reverse DNS must hold for
/// all.
///
/// `ready` decides whether a member of a role is published there; a machine keeps its own name. Extra
/// records yield to those of the hierarchy, later ones to earlier ones.
pub fn desired_records(
    hierarchy: &Hierarchy,
    extra: &[ExtraRecord],
    ready: impl Fn(&Role, &Member) -> bool,
) -> DesiredSet {
    let mut set = DesiredSet::default();
    for element in hierarchy.elements() {
        if matches!(element.kind, Kind::Machine | Kind::Interface | Kind::VirtualHost) {
            set.host(hierarchy, element);
        }
        if !element.settled {
            set.held.insert(element.name.clone());
        }
    }
    for role in hierarchy.roles() {
        set.role(hierarchy, role, &ready);
    }
    for record in extra {
        set.extra(hierarchy, record);
    }
    set.held.retain(|name| hierarchy.zone_of(name).is_some());
    set
}

impl DesiredSet {
    /// The records of one zone.
    pub fn in_zone<'s>(
        &'s self,
        zone: &'s Fqdn,
    ) -> impl Iterator<Item = (&'s (Fqdn, RecordType), &'s RecordSet)> {
        self.records.iter().filter(move |(_, records)| records.zone == *zone)
    }

    fn add<'a>(
        &mut self,
        hierarchy: &Hierarchy,
        name: Fqdn,
        value: RecordValue,
        ttl: Option<u32>,
        sources: impl IntoIterator<Item = &'a Source>,
    ) {
        let sources = sources.into_iter().cloned();
        let Some((zone, zone_ttl)) = hierarchy.zones.of(&name) else {
            self.unmanaged.entry(name).or_default().extend(sources);
            return;
        };
        let ttl = ttl.unwrap_or(zone_ttl);
        let records = self.records.entry((name, value.record_type())).or_insert_with(|| {
            let (values, sources) = (BTreeSet::new(), BTreeSet::new());
            RecordSet { zone: zone.clone(), ttl, values, sources }
        });
        // All records of a set have one time to live (RFC 2181 §5.2).
        records.ttl = records.ttl.min(ttl);
        records.values.insert(value);
        records.sources.extend(sources);
    }

    fn host(&mut self, hierarchy: &Hierarchy, element: &Element) {
        for address in &element.addresses {
            let sources = [&element.source];
            self.add(hierarchy, element.name.clone(), (*address).into(), None, sources);
            if element.kind != Kind::Machine {
                let reverse = hierarchy.zones.ptr_name(*address);
                let value = RecordValue::Ptr(element.name.clone());
                self.add(hierarchy, reverse, value, None, sources);
            }
        }
    }

    fn role(
        &mut self,
        hierarchy: &Hierarchy,
        role: &Role,
        ready: &impl Fn(&Role, &Member) -> bool,
    ) {
        let held = hierarchy.element(&role.name).is_none_or(|element| !element.settled);
        let members: Vec<_> =
            role.members.values().filter(|member| role.placed && ready(role, member)).collect();
        for member in &members {
            let sources = [&role.source, &member.source];
            for address in &member.addresses {
                for name in [&role.name, &role.service] {
                    self.add(hierarchy, name.clone(), (*address).into(), None, sources);
                }
            }
        }
        for port in &role.ports {
            let name = match srv_name(&role.service, port) {
                Ok(name) => name,
                Err(error) => {
                    let element = Some((Kind::Role, role.name.clone()));
                    let (source, field) = (role.source.clone(), "ports".to_owned());
                    self.problems.push(Problem { source, field, element, error });
                    continue;
                }
            };
            if held {
                self.held.insert(name.clone());
            }
            // A target without an address could not be reached.
            for member in members.iter().filter(|member| !member.addresses.is_empty()) {
                let target = member.name.clone();
                let value = RecordValue::Srv { priority: 0, weight: 0, port: port.port, target };
                self.add(hierarchy, name.clone(), value, None, [&role.source, &member.source]);
            }
        }
    }

    fn extra(&mut self, hierarchy: &Hierarchy, extra: &ExtraRecord) {
        if let Some(why) = self.conflict(hierarchy, extra) {
            let (name, record) = (extra.name.clone(), extra.value.record_type());
            self.problems.push(Problem {
                source: extra.source.clone(),
                field: extra.field.clone(),
                element: None,
                error: Error::RecordConflict { name, record, why },
            });
            return;
        }
        let value = extra.value.clone();
        self.add(hierarchy, extra.name.clone(), value, extra.ttl, [&extra.source]);
    }

    /// Why an extra record cannot stand beside what is there already.
    fn conflict(&self, hierarchy: &Hierarchy, extra: &ExtraRecord) -> Option<String> {
        let wanted = extra.value.record_type();
        let is_address = matches!(wanted, RecordType::A | RecordType::Aaaa);
        if wanted == RecordType::Cname && hierarchy.zone_of(&extra.name) == Some(&extra.name) {
            return Some("the apex of a zone cannot be an alias (RFC 1034 §3.6.2)".to_owned());
        }
        if (is_address || wanted == RecordType::Cname)
            && let Some(element) = hierarchy.element(&extra.name)
        {
            return Some(format!("that name and its addresses belong to {}", element.source));
        }
        let from = (extra.name.clone(), RecordType::A);
        self.records.range(from..).take_while(|((name, _), _)| *name == extra.name).find_map(
            |((_, there), records)| {
                let holder = records.sources.first()?;
                if *there == RecordType::Cname || wanted == RecordType::Cname {
                    let rule = "an alias stands alone (RFC 1034 §3.6.2)";
                    return Some(format!("{holder} has {there} there, and {rule}"));
                }
                let shared = records.sources.iter().any(|source| *source != extra.source);
                (*there == wanted && shared).then(|| format!("{holder} has {there} there"))
            },
        )
    }
}

fn srv_name(service: &Fqdn, port: &Port) -> Result<Fqdn, Error> {
    service.prefixed(&format!("_{}.{}", port.name, port.protocol.srv_label()))
}

fn as_list<S: Serializer>(
    records: &BTreeMap<(Fqdn, RecordType), RecordSet>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Row<'a> {
        name: &'a Fqdn,
        #[serde(rename = "type")]
        record: RecordType,
        #[serde(flatten)]
        records: &'a RecordSet,
    }
    serializer.collect_seq(records.iter().map(|((name, record), records)| Row {
        name,
        record: *record,
        records,
    }))
}
