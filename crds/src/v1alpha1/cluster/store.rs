//! Where copies of objects are kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{dns_label, nats_name, nats_url, pattern, rule, set, text};
use crate::v1alpha1::common::SecretRef;

/// One store of objects. Exactly one engine is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(
    "has(self.nats)",
    "nats must be set",
))]
pub struct ObjectStore {
    /// Unique in the Cluster. Example: `a`.
    #[schemars(transform = dns_label)]
    pub name: String,

    /// A JetStream object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = rule(
        "self.account == oldSelf.account && self.bucket == oldSelf.bucket",
        "account and bucket of a store are immutable: its copies would be lost from sight; add another store, then remove this one",
    ))]
    pub nats: Option<NatsObjectStore>,

    /// What can be lost together with this store. Copies are spread over different ones.
    #[serde(default)]
    pub failure_domain: FailureDomain,

    /// The share of objects that this store takes, relative to the others, 0 to 10000; 0 takes no
    /// new ones. Default: 100.
    #[serde(default = "default_weight")]
    #[schemars(range(min = 0, max = 10_000))]
    pub weight: u32,

    /// How much it may hold, in bytes. Default: as much as the engine allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_bytes: Option<u64>,
}

fn default_weight() -> u32 {
    100
}

/// A JetStream object store (NATS ADR-20).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NatsObjectStore {
    /// The account that owns the bucket. Example: `comms`.
    #[schemars(transform = nats_name)]
    pub account: String,

    /// The bucket; it is made when it does not exist. Example: `CAS_a`.
    #[schemars(transform = nats_name)]
    pub bucket: String,

    /// The servers to connect to. Default: those of the Domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        transform = nats_url,
        transform = set(16),
    )]
    pub servers: Vec<String>,

    /// The JetStream domain of the bucket, for a leaf node's own JetStream. Default: that of the
    /// servers connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = nats_name)]
    pub jetstream_domain: Option<String>,

    /// Server tags that the bucket's server must have, so that each store is on its own server.
    /// Example: `node:a`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = pattern(64, r"[A-Za-z0-9_.:=/-]+", "must be a server tag of letters, digits, _ . : = / and -, such as node:a"), transform = set(16))]
    pub placement_tags: Vec<String>,

    /// The Secret with a credentials file for the account, in the key `user.creds`. Default:
    /// credentials that the controller issues itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,

    /// The size of a chunk, in bytes, 1024 to 8388608. Default: 131072.
    #[serde(default = "default_chunk_size_bytes")]
    #[schemars(range(min = 1024, max = 8_388_608))]
    pub chunk_size_bytes: u32,
}

fn default_chunk_size_bytes() -> u32 {
    131_072
}

/// What can be lost at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureDomain {
    /// Example: `be`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = dns_label)]
    pub region: Option<String>,
    /// Example: `a`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = dns_label)]
    pub zone: Option<String>,
    /// Example: `own`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = dns_label)]
    pub provider: Option<String>,
}

/// A store as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStoreStatus {
    /// Its name.
    #[schemars(transform = text(63))]
    pub name: String,
    /// Whether it answered.
    pub reachable: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub error: Option<String>,
}
