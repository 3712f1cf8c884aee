use std::{
    fmt::{self, Display},
    net::IpAddr,
};

use serde::Serialize;

use crate::{Fqdn, Kind, Mac, Source};

/// What can be wrong with a name, an address or a selector. Each says what it got and what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Error {
    /// Not a label of a host name.
    #[error(
        "`{got}` is not a DNS label: {why}; wanted are 1 to 63 of a-z, 0-9 and `-`, not `-` at either end (RFC 1123)"
    )]
    BadLabel {
        /// As written.
        got: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// Not a domain name, or one too long.
    #[error("`{got}` is not a domain name: {why}")]
    BadName {
        /// As written, or as composed.
        got: String,
        /// The rule it breaks.
        why: String,
    },
    /// Not an address that a host can have in DNS.
    #[error("`{got}` is not the address of a host: {why}")]
    BadAddress {
        /// As written.
        got: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// Not a MAC address.
    #[error(
        "`{got}` is not a MAC address; wanted are six hexadecimal octets of one station, such as 52:54:00:12:34:56"
    )]
    BadMac {
        /// As written.
        got: String,
    },
    /// Not a selector.
    #[error("`{got}` is not a selector: {why}")]
    BadSelector {
        /// As written.
        got: String,
        /// The rule it breaks.
        why: String,
    },
    /// Not the name of a port.
    #[error(
        "`{got}` is not a port name; wanted are 1 to 15 of a-z, 0-9 and `-` with at least one letter, and no `-` at either end or next to another (RFC 6335)"
    )]
    BadPort {
        /// As written.
        got: String,
    },
    /// A cardinality that nothing can satisfy.
    #[error("at least {min} and at most {max} members can never hold together")]
    BadCardinality {
        /// The lower bound.
        min: u32,
        /// The upper bound.
        max: u32,
    },
    /// The name belongs to an element that came earlier.
    #[error("the name {name} is already that of a {kind} ({holder}); rename one of the two")]
    DuplicateName {
        /// The contested name.
        name: Fqdn,
        /// What the element is that keeps it.
        kind: Kind,
        /// Where that element comes from.
        holder: Source,
    },
    /// The address belongs to an element that came earlier.
    #[error(
        "the address {address} already belongs to {owner} ({holder}); give one of the two another"
    )]
    DuplicateAddress {
        /// The contested address.
        address: IpAddr,
        /// The element that keeps it.
        owner: Fqdn,
        /// Where that element comes from.
        holder: Source,
    },
    /// The MAC address belongs to an interface that came earlier.
    #[error("the MAC address {mac} already belongs to {owner} ({holder})")]
    DuplicateMac {
        /// The contested MAC address.
        mac: Mac,
        /// The interface that keeps it.
        owner: Fqdn,
        /// Where that interface comes from.
        holder: Source,
    },
    /// The zone is listed twice.
    #[error("the zone {zone} is listed twice")]
    DuplicateZone {
        /// The zone.
        zone: Fqdn,
    },
    /// The cluster that it refers to is not in this Domain, or its own name is refused.
    #[error("its cluster {cluster} has no name in this Domain: {why}")]
    NoCluster {
        /// As referred to.
        cluster: Source,
        /// It does not exist, or is itself refused.
        why: &'static str,
    },
    /// What it refers to is not in this Domain.
    #[error("it refers to {wanted}, which is not in this Domain")]
    NoReference {
        /// As referred to.
        wanted: Source,
    },
    /// Resources that wait for each other.
    #[error("it waits for itself: {}", arrows(path))]
    ReferenceCycle {
        /// From the resource back to itself.
        path: Vec<Source>,
    },
    /// The primary interface is not one of the machine's.
    #[error("the primary interface `{got}` is none of this machine's: {}", list(known))]
    UnknownInterface {
        /// As written.
        got: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// The selector names nothing.
    #[error("`{selector}` names nothing within {scope}{}", hint(near))]
    UnknownSelector {
        /// In canonical spelling.
        selector: String,
        /// From where it was looked up.
        scope: Fqdn,
        /// What may have been meant: `kind/name`.
        near: Vec<String>,
    },
    /// The selector names several elements.
    #[error("`{selector}` is ambiguous within {scope}; write one of {}", list(candidates))]
    AmbiguousSelector {
        /// In canonical spelling.
        selector: String,
        /// From where it was looked up.
        scope: Fqdn,
        /// All that it may mean, as `kind/name`, sorted.
        candidates: Vec<String>,
    },
    /// Roles that select each other.
    #[error("the role selects itself: {}", arrows(path))]
    SelectorCycle {
        /// From the role back to itself.
        path: Vec<Fqdn>,
    },
    /// What is selected has a problem of its own.
    #[error("it selects {name}, which has a problem of its own")]
    BrokenTarget {
        /// The role or service that it selects.
        name: Fqdn,
    },
    /// Too few or too many members. Nothing may be deployed.
    #[error("the role {role} has {} where {} wanted: {}", count(*got), bounds(*min, *max), list(members))]
    Cardinality {
        /// The role.
        role: Fqdn,
        /// At least so many are wanted.
        min: u32,
        /// At most so many are wanted.
        max: Option<u32>,
        /// So many are there.
        got: usize,
        /// Who they are, sorted.
        members: Vec<String>,
    },
    /// A record that cannot stand beside those of the hierarchy.
    #[error("the record {name} {record} cannot be published: {why}")]
    RecordConflict {
        /// Its name.
        name: Fqdn,
        /// Its type.
        record: crate::RecordType,
        /// What stands in its way.
        why: String,
    },
}

impl Error {
    /// The kind of error as one CamelCase word, for the reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadLabel { .. } => "BadLabel",
            Self::BadName { .. } => "BadName",
            Self::BadAddress { .. } => "BadAddress",
            Self::BadMac { .. } => "BadMac",
            Self::BadSelector { .. } => "BadSelector",
            Self::BadPort { .. } => "BadPort",
            Self::BadCardinality { .. } => "BadCardinality",
            Self::DuplicateName { .. } => "DuplicateName",
            Self::DuplicateAddress { .. } => "DuplicateAddress",
            Self::DuplicateMac { .. } => "DuplicateMac",
            Self::DuplicateZone { .. } => "DuplicateZone",
            Self::NoCluster { .. } => "NoCluster",
            Self::NoReference { .. } => "NoReference",
            Self::ReferenceCycle { .. } => "ReferenceCycle",
            Self::UnknownInterface { .. } => "UnknownInterface",
            Self::UnknownSelector { .. } => "UnknownSelector",
            Self::AmbiguousSelector { .. } => "AmbiguousSelector",
            Self::SelectorCycle { .. } => "SelectorCycle",
            Self::BrokenTarget { .. } => "BrokenTarget",
            Self::Cardinality { .. } => "Cardinality",
            Self::RecordConflict { .. } => "RecordConflict",
        }
    }
}

/// How many names a message lists; it may end up in a status.
const MAX_LISTED: usize = 8;

fn list(names: &[String]) -> String {
    let shown = names[..names.len().min(MAX_LISTED)].join(", ");
    match names.len() {
        0 => "none".to_owned(),
        n if n > MAX_LISTED => format!("{shown} and {} more", n - MAX_LISTED),
        _ => shown,
    }
}

fn arrows(path: &[impl ToString]) -> String {
    let names: Vec<_> = path.iter().map(ToString::to_string).collect();
    names.join(" -> ")
}

fn hint(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

fn count(members: usize) -> String {
    match members {
        0 => "no member".to_owned(),
        1 => "1 member".to_owned(),
        n => format!("{n} members"),
    }
}

fn bounds(min: u32, max: Option<u32>) -> String {
    match max {
        Some(max) if max == min => format!("exactly {min} are"),
        Some(max) => format!("{min} to {max} are"),
        None => format!("at least {min} are"),
    }
}

/// An [`Error`] with its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The resource whose fault it is.
    pub source: Source,
    /// The part of it, in the terms of the inventory: `interfaces[eno1].addresses[0]`; empty for
    /// the whole.
    pub field: String,
    /// The innermost element around it that has a name.
    pub element: Option<(Kind, Fqdn)>,
    /// What is wrong.
    pub error: Error,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, field, error, .. } = self;
        let colon = if field.is_empty() { "" } else { ": " };
        write!(f, "{source}{colon}{field}: {error}")
    }
}

impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut map = serializer.serialize_struct("Problem", 5)?;
        map.serialize_field("source", &self.source)?;
        map.serialize_field("field", &self.field)?;
        map.serialize_field("element", &self.element.as_ref().map(|(_, name)| name))?;
        map.serialize_field("reason", self.error.reason())?;
        map.serialize_field("message", &self.error.to_string())?;
        map.end()
    }
}

/// All problems of an inventory; what strict building gives instead of a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Display for Problems {
    /// One line per problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, problem) in self.0.iter().enumerate() {
            let newline = if line == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        Ok(())
    }
}
