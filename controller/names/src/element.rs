use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use crate::{
    Fqdn, Source,
    inventory::{Cardinality, Port},
};

/// What an element is. The order is that in which children are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The root: the suffix of all names.
    Domain,
    /// Below the Domain.
    Cluster,
    /// Below a cluster.
    Service,
    /// Below a service.
    Role,
    /// Below a cluster.
    Machine,
    /// Below a machine.
    Interface,
    /// Below a machine.
    VirtualHost,
}

impl Kind {
    /// Every kind, from the root down.
    pub const ALL: [Self; 7] = [
        Self::Domain,
        Self::Cluster,
        Self::Service,
        Self::Role,
        Self::Machine,
        Self::Interface,
        Self::VirtualHost,
    ];

    /// What stands before the `/` of a selector.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Cluster => "cluster",
            Self::Service => "service",
            Self::Role => "role",
            Self::Machine => "machine",
            Self::Interface => "interface",
            Self::VirtualHost => "host",
        }
    }

    /// The inverse of [`Kind::prefix`], or the sentence that says what is wanted.
    pub(crate) fn from_prefix(written: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.prefix() == written).ok_or_else(|| {
            let known = Self::ALL.map(Self::prefix).join(", ");
            format!("`{written}` is not a kind; wanted is {known} or label before the `/`")
        })
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.prefix())
    }
}

/// One named thing in the hierarchy. Its name is its identity: no two elements share one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Element {
    /// What it is.
    pub kind: Kind,
    /// Its long name.
    pub name: Fqdn,
    /// The element one level up; `None` for the Domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Fqdn>,
    /// The elements one level down, by kind and name. In JSON a [`Node`](crate::Node) has them whole.
    #[serde(skip)]
    pub children: Vec<Fqdn>,
    /// The resource that describes it.
    pub source: Source,
    /// The addresses that its name resolves to: an interface's and a virtual host's own, a
    /// machine's those of its primary interface, a role's those of its members, a service's those
    /// of its roles. Always empty for a Domain and a cluster.
    pub addresses: BTreeSet<IpAddr>,
    /// Whether `addresses` is all there is. False while a problem, its own or of something that it
    /// depends on, may hide an address: what is published at its name should then not be removed.
    pub settled: bool,
    /// Metadata labels; of machines only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Somebody on whom a selector falls: a machine, one of its interfaces or virtual hosts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its host name. It has address records of its own, so SRV records may point to it.
    pub name: Fqdn,
    /// [`Kind::Machine`], [`Kind::Interface`] or [`Kind::VirtualHost`].
    pub kind: Kind,
    /// The machine that it is, or belongs to.
    pub machine: Fqdn,
    /// The resource that describes that machine.
    pub source: Source,
    /// Its addresses.
    pub addresses: BTreeSet<IpAddr>,
}

impl Member {
    /// Whom a cardinality counts: an interface stands for its machine, a virtual host for itself.
    pub fn counted_as(&self) -> &Fqdn {
        if self.kind == Kind::Interface { &self.machine } else { &self.name }
    }
}

/// A role with those who play it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// Its long name.
    pub name: Fqdn,
    /// Its service's long name.
    pub service: Fqdn,
    /// The resource that describes the service.
    pub source: Source,
    /// Whether every selector resolved and the cardinality holds. When not, nothing may be deployed
    /// for this role, and it has no addresses.
    pub placed: bool,
    /// Those whom its selectors found, by name; when it is not placed, those found nevertheless.
    pub members: BTreeMap<Fqdn, Member>,
    /// How many it may have.
    pub cardinality: Cardinality,
    /// Its ports; only those with a usable name.
    pub ports: Vec<Port>,
}

impl Role {
    /// The machines that play the role.
    pub fn machines(&self) -> BTreeSet<&Fqdn> {
        self.members.values().map(|member| &member.machine).collect()
    }

    /// How many members a cardinality counts; see [`Member::counted_as`].
    pub fn count(&self) -> usize {
        self.members.values().map(Member::counted_as).collect::<BTreeSet<_>>().len()
    }
}
