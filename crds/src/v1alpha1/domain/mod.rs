//! Domain: a name and the boundary within which names, authority and policy hold.

pub mod dns;
pub mod nats;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    dns::{DomainDns, ZoneStatus},
    nats::{DomainNats, DomainNatsStatus},
};
use super::common::{CommonSpec, DeletionPolicy, Replicas};
use super::status::CommonStatus;
use crate::schema::{atomic, dns_label, map, observed, rule, set, structural, suffix, text};

/// What a Domain should be.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "cim.dev",
    version = "v1alpha1",
    kind = "Domain",
    namespaced,
    status = "DomainStatus",
    shortname = "dom",
    category = "cim",
    derive = "PartialEq",
    doc = "A name (suffix) and the boundary within which names, authority and policy hold. It owns DNS zones and NATS accounts; Clusters, Machines and Services live under it.",
    printcolumn(name = "Suffix", type_ = "string", json_path = ".spec.suffix"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Drifted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Drifted")].status"#
    ),
    printcolumn(name = "Clusters", type_ = "integer", json_path = ".status.clusters"),
    printcolumn(name = "Machines", type_ = "integer", json_path = ".status.machines"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", priority = 10),
    printcolumn(
        name = "Drift",
        type_ = "integer",
        json_path = ".status.drift.count",
        priority = 10
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 10
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = structural)]
#[schemars(transform = rule(
    "!has(self.dns) || !has(self.dns.zones) || self.dns.zones.all(z, z.name == self.suffix || z.name.endsWith('.' + self.suffix) || self.suffix.endsWith('.' + z.name) || z.name.endsWith('.in-addr.arpa') || z.name.endsWith('.ip6.arpa'))",
    "each zone must hold names of this Domain: the suffix, a part or parent of it, or a reverse zone (in-addr.arpa, ip6.arpa)",
))]
pub struct DomainSpec {
    /// The name under which everything in this Domain is named, in lower case and without trailing
    /// dot. Immutable. Example: `example.com`.
    #[schemars(transform = suffix)]
    #[schemars(transform = rule(
        "self == oldSelf",
        "suffix is immutable: every name under the Domain depends on it; make a new Domain instead",
    ))]
    pub suffix: String,

    /// What this Domain is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub description: Option<String>,

    /// Words by which people find it. Example: `[home, lab]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = dns_label, transform = set(32))]
    pub tags: Vec<String>,

    /// The customers who order services in this Domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 256))]
    pub tenants: Vec<Tenant>,

    /// The DNS zones in which the names of this Domain are published. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DomainDns>,

    /// The NATS operator, its servers and accounts. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<DomainNats>,

    /// Defaults for the objects of this Domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<DomainObjects>,

    /// What happens to zones' records and accounts when this object is deleted. Default: Orphan.
    #[serde(default = "DeletionPolicy::orphan")]
    pub deletion_policy: DeletionPolicy,

    /// What all kinds share.
    #[serde(flatten)]
    pub common: CommonSpec,
}

/// A customer who orders services; an entry here, not a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    /// A DNS label, unique in the Domain. Services name it in `spec.tenant`. Example: `library`.
    #[schemars(transform = dns_label)]
    pub name: String,

    /// Who this is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub description: Option<String>,
}

/// Defaults for the objects of a Domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainObjects {
    /// How many copies an ObjectReplica wants that does not say so itself.
    pub replicas: Replicas,
}

/// What was observed of a Domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = observed)]
pub struct DomainStatus {
    /// What all kinds share.
    #[serde(flatten)]
    pub common: CommonStatus,

    /// Each zone as it was last transferred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 64))]
    pub zones: Vec<ZoneStatus>,

    /// The NATS operator and its accounts as the servers have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<DomainNatsStatus>,

    /// How many Clusters name this Domain.
    #[serde(default)]
    pub clusters: u32,

    /// How many Machines are under this Domain.
    #[serde(default)]
    pub machines: u32,

    /// How many Services are under this Domain.
    #[serde(default)]
    pub services: u32,

    /// The names that more than one element claims, sorted; the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(253), transform = atomic(20))]
    pub conflicts: Vec<String>,
}
