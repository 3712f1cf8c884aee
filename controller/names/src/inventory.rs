//! What the hierarchy is built from: text as people wrote it, nothing checked yet.
//!
//! Where two elements want the same name, address or MAC, the one that comes first keeps it:
//! clusters, machines, services, and within each list its order. Who fills the lists sorts them by
//! age, so that a newcomer never takes anything away.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use serde::{Deserialize, Serialize};

/// Where an element comes from, in the words of whoever fills the inventory, such as
/// `Machine/home/host1`. Opaque here; errors and records carry it so that they name the culprit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Source(String);

impl Source {
    /// A source named `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Everything that has a name in one Domain.
///
/// Its JSON form (camel case, fields as here) is also what the Nix library `nix/lib` builds the same
/// names from; [`Inventory::canonical_json`] is the one spelling of it that has a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// The Domain itself.
    pub domain: Domain,
    /// Its clusters, oldest first.
    pub clusters: Vec<Cluster>,
    /// The machines of all clusters, oldest first.
    pub machines: Vec<Machine>,
    /// The services of all clusters, oldest first.
    pub services: Vec<Service>,
}

/// A Domain: the suffix of every name and the zones that are managed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Domain {
    /// Whom to name in errors.
    pub source: Source,
    /// Such as `example.com`.
    pub suffix: String,
    /// Forward and reverse zones in which records may be written.
    pub zones: Vec<Zone>,
}

/// A zone in which records may be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Zone {
    /// Its apex, such as `example.com`, `0.0.10.in-addr.arpa` or, classless (RFC 2317),
    /// `0-63.2.0.192.in-addr.arpa`.
    pub name: String,
    /// Time to live of its records in seconds (0 to 2^31-1, RFC 2181 §8).
    pub ttl: u32,
}

/// A cluster: `core` of `core.example.com`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Whom to name in errors; machines and services refer to it.
    pub source: Source,
    /// Such as `core`.
    pub label: String,
}

/// A machine with its interfaces and virtual hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Whom to name in errors.
    pub source: Source,
    /// The `source` of its cluster.
    pub cluster: Source,
    /// Such as `host1` of `host1.core.example.com`.
    pub label: String,
    /// The machine that it is a guest of.
    #[serde(default)]
    pub host: Option<Source>,
    /// Its metadata labels, for selectors of the form `label/key=value`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The interface whose addresses the machine's own name resolves to. When `None`: the first
    /// that lists an address.
    #[serde(default)]
    pub primary_interface: Option<String>,
    /// Its interfaces, in order.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// Guests and sub-addresses that have a name below the machine's.
    #[serde(default)]
    pub virtual_hosts: Vec<VirtualHost>,
}

/// A network interface of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// As the kernel calls it, such as `eno1` or `eno1.100`.
    pub name: String,
    /// Six octets in hexadecimal, joined by `:` or `-`.
    #[serde(default)]
    pub mac: Option<String>,
    /// IPv4 and IPv6 addresses, each with or without its prefix length: `10.0.0.11/24`.
    #[serde(default)]
    pub addresses: Vec<String>,
}

/// A guest or sub-address of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualHost {
    /// Such as `vm1` of `vm1.host1.core.example.com`.
    pub name: String,
    /// As those of an interface.
    #[serde(default)]
    pub addresses: Vec<String>,
}

/// A service with its roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Whom to name in errors.
    pub source: Source,
    /// The `source` of its cluster.
    pub cluster: Source,
    /// Such as `vault` of `vault.core.example.com`.
    pub label: String,
    /// Its roles.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// The services that it cannot do without.
    #[serde(default)]
    pub depends_on: Vec<Source>,
}

/// A role of a service: the machines that play it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// Such as `api` of `api.vault.core.example.com`.
    pub name: String,
    /// Selectors; the role's members are all that they select together.
    #[serde(default)]
    pub selectors: Vec<String>,
    /// How many members it may have.
    #[serde(default)]
    pub cardinality: Cardinality,
    /// Ports on which each member serves; a named one gets SRV records.
    #[serde(default)]
    pub ports: Vec<Port>,
}

/// How many members a role may have. "Exactly n" is `min` and `max` of n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cardinality {
    /// At least so many.
    pub min: u32,
    /// At most so many; `None` is without limit.
    #[serde(default)]
    pub max: Option<u32>,
}

/// A named port of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// A service name (RFC 6335 §5.1): 1 to 15 of `a-z`, `0-9` and `-`, at least one letter.
    pub name: String,
    /// 1 to 65535.
    pub port: u16,
    /// The transport.
    #[serde(default)]
    pub protocol: Protocol,
}

/// The transport of a port.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// TCP, and what runs over it.
    #[default]
    Tcp,
    /// UDP, and what runs over it.
    Udp,
}

impl Protocol {
    /// The protocol label of an SRV name (RFC 2782).
    pub fn srv_label(self) -> &'static str {
        match self {
            Self::Tcp => "_tcp",
            Self::Udp => "_udp",
        }
    }
}
