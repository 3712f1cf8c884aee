//! ObjectReplica: the wish for verified copies of objects, and their places.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{CommonSpec, DeletionPolicy, Replicas};
use super::duration::Duration;
use super::status::CommonStatus;
use crate::schema::{
    atomic, dns_name, labels, map, non_empty, observed, pattern, positive, rule, set, structural,
    text,
};

/// What copies there should be.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "cim.dev",
    version = "v1alpha1",
    kind = "ObjectReplica",
    namespaced,
    status = "ObjectReplicaStatus",
    shortname = "objr",
    category = "cim",
    derive = "PartialEq",
    doc = "A policy: the selected objects have so many verified copies, in different failure domains of the Clusters' object stores.",
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas.desired"),
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
    printcolumn(name = "Objects", type_ = "integer", json_path = ".status.objects"),
    printcolumn(name = "Satisfied", type_ = "integer", json_path = ".status.satisfied"),
    printcolumn(name = "Copies", type_ = "integer", json_path = ".status.copies"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Verified",
        type_ = "integer",
        json_path = ".status.verified",
        priority = 10
    ),
    printcolumn(name = "Corrupt", type_ = "integer", json_path = ".status.corrupt", priority = 10),
    printcolumn(name = "Missing", type_ = "integer", json_path = ".status.missing", priority = 10),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", priority = 10),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 10
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = structural)]
pub struct ObjectReplicaSpec {
    /// Which objects: exactly one way of naming them.
    pub select: Select,

    /// The Cluster (name of the object) whose stores are used. Default: the stores of all Clusters of
    /// the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = dns_name)]
    pub cluster: Option<String>,

    /// How many copies. Default: `spec.objects.replicas` of the Domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,

    /// Where the copies go.
    #[serde(default)]
    pub placement: Placement,

    /// How copies are verified.
    #[serde(default)]
    pub verify: Verify,

    /// What happens to the copies when this object is deleted; the last good copy of an object is
    /// never deleted. Default: Orphan.
    #[serde(default = "DeletionPolicy::orphan")]
    pub deletion_policy: DeletionPolicy,

    /// What all kinds share.
    #[serde(flatten)]
    pub common: CommonSpec,
}

/// Which objects. Exactly one way is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Select {
    /// Every object in the stores. Only `true` is meaningful.
    All(
        #[schemars(transform = rule("self", "select.all must be true; select objects by cids, names or labels instead"))]
         bool,
    ),
    /// The objects with these CIDs (version 1, base32 lower case). Example: `bafkrei…`.
    Cids(
        #[schemars(transform = pattern(128, "b[a-z2-7]{16,127}|Qm[1-9A-HJ-NP-Za-km-z]{44}", "must be a CID: version 1 in lower-case base32 (bafkrei…) or version 0 (Qm…)"), transform = set(1000), transform = non_empty)]
         Vec<String>,
    ),
    /// The objects with these names in the Domain; `*` stands for any characters.
    Names(
        #[schemars(transform = text(512), transform = set(256), transform = non_empty)] Vec<String>,
    ),
    /// The objects that have all these labels.
    Labels(#[schemars(transform = labels(32))] BTreeMap<String, String>),
}

/// Where copies go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The parts of the failure domain in which copies must differ, most important first. Default:
    /// each copy in its own store. Example: `[region, zone]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = set(3))]
    pub spread: Vec<SpreadKey>,

    /// Near whom copies are preferred, where the spread allows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = atomic(16))]
    pub near: Vec<Near>,
}

/// A part of a failure domain.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum SpreadKey {
    /// `failureDomain.region` of the store.
    Region,
    /// `failureDomain.zone` of the store.
    Zone,
    /// `failureDomain.provider` of the store.
    Provider,
}

/// Near whom. Exactly one kind is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Near {
    /// The machines of a Service (name of the object).
    Service(#[schemars(transform = dns_name)] String),
    /// A Machine (name of the object).
    Machine(#[schemars(transform = dns_name)] String),
}

/// How copies are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verify {
    /// A copy counts as verified when it was read whole and hashed no longer ago than this.
    /// Default: 30d.
    #[serde(default = "default_max_age")]
    #[schemars(transform = positive)]
    pub max_age: Duration,
}

fn default_max_age() -> Duration {
    Duration::from_days(30)
}

impl Default for Verify {
    fn default() -> Self {
        Self { max_age: default_max_age() }
    }
}

/// What copies were observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = observed)]
pub struct ObjectReplicaStatus {
    /// What all kinds share.
    #[serde(flatten)]
    pub common: CommonStatus,

    /// How many objects are selected.
    #[serde(default)]
    pub objects: u64,
    /// How many of them have all the copies that are wanted, verified.
    #[serde(default)]
    pub satisfied: u64,
    /// How many copies there are, good or not.
    #[serde(default)]
    pub copies: u64,
    /// How many copies were verified within `verify.maxAge`.
    #[serde(default)]
    pub verified: u64,
    /// How many copies do not match their CID.
    #[serde(default)]
    pub corrupt: u64,
    /// How many copies are still to be made.
    #[serde(default)]
    pub missing: u64,
    /// How many copies are more than allowed.
    #[serde(default)]
    pub surplus: u64,

    /// The objects that are worst off; the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("cid", 20))]
    pub worst: Vec<WorstObject>,
}

/// An object that lacks copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorstObject {
    /// Its CID.
    #[schemars(transform = text(128))]
    pub cid: String,
    /// How many verified copies it has.
    pub verified: u32,
    /// How many it should have.
    pub desired: u32,
    /// Why, in one sentence.
    #[schemars(transform = text(1024))]
    pub reason: String,
}
