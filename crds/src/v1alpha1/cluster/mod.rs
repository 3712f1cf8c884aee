//! Cluster: the machines and services of one environment under one name.

pub mod promotion;
pub mod release;
pub mod rollout;
pub mod rollout_status;
pub mod store;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    promotion::{Approval, Promotion},
    release::{PastRelease, Release},
    rollout::{Rollout, Window},
    rollout_status::RolloutStatus,
    store::ObjectStore,
};
use super::common::{CommonSpec, DeletionPolicy, SecretRef, Source};
use super::status::{CommonStatus, Progress};
use crate::schema::{
    atomic, cidr, dns_label, dns_name, http_url, map, observed, rule, set, structural, text,
};

/// What a Cluster should be.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "cim.dev",
    version = "v1alpha1",
    kind = "Cluster",
    namespaced,
    status = "ClusterStatus",
    shortname = "cl",
    category = "cim",
    selectable = ".spec.domain",
    derive = "PartialEq",
    doc = "The machines and services of one environment (dev, prod) under one name. It holds the release that its machines run, how that is rolled out and promoted, and the object stores.",
    validation = Rule::new("(has(self.spec.label) ? self.spec.label : self.metadata.name) == (has(oldSelf.spec.label) ? oldSelf.spec.label : oldSelf.metadata.name)")
        .message("label is immutable: names of machines and services depend on it; make a new Cluster instead").field_path(".spec.label"),
    validation = Rule::new("has(self.spec.label) || (self.metadata.name.size() <= 63 && !self.metadata.name.contains('.'))")
        .message("label is required when the object's name is no DNS label (at most 63 characters, no dots)").field_path(".spec.label"),
    validation = Rule::new("!has(self.spec.promotion) || self.spec.promotion.from != self.metadata.name")
        .message("promotion.from must name another Cluster: a Cluster cannot receive what itself approved").field_path(".spec.promotion.from"),
    printcolumn(name = "Domain", type_ = "string", json_path = ".spec.domain"),
    printcolumn(name = "Environment", type_ = "string", json_path = ".spec.environment"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Available", type_ = "string", json_path = r#".status.conditions[?(@.type=="Available")].status"#),
    printcolumn(name = "Drifted", type_ = "string", json_path = r#".status.conditions[?(@.type=="Drifted")].status"#),
    printcolumn(name = "Machines", type_ = "string", json_path = ".status.machineCount"),
    printcolumn(name = "Services", type_ = "string", json_path = ".status.serviceCount"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.release.shortRev"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Rollout", type_ = "string", json_path = ".status.rollout.phase", priority = 10),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", priority = 10),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 10),
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = structural)]
#[schemars(transform = rule(
    "!has(self.promotion) || !has(self.source) || !(has(self.source.ref) || has(self.source.rev))",
    "with promotion the revision comes from the approval: source must not set ref or rev",
))]
#[schemars(transform = rule(
    "has(self.promotion) || !has(self.source) || has(self.source.ref) || has(self.source.rev)",
    "source must set ref (a branch or tag to follow) or rev with narHash (a fixed revision)",
))]
pub struct ClusterSpec {
    /// The Domain (name of the object) that this Cluster belongs to. Immutable. Example: `example-com`.
    #[schemars(transform = dns_name)]
    #[schemars(transform = rule(
        "self == oldSelf",
        "domain is immutable: every name in the Cluster ends with its suffix; make a new Cluster instead",
    ))]
    pub domain: String,

    /// The DNS label of this Cluster: with label `core` in Domain example.com its name is
    /// `core.example.com`. Immutable. Default: the name of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = dns_label)]
    pub label: Option<String>,

    /// What this Cluster is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub description: Option<String>,

    /// Words by which people find it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = dns_label, transform = set(32))]
    pub tags: Vec<String>,

    /// The purpose of this Cluster. Examples: `dev`, `prod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = dns_label)]
    pub environment: Option<String>,

    /// The flake that defines the machines' configurations, and which revision of it is wanted.
    /// Default: none; then machines are observed and named, and nothing is delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,

    /// Receive the revision that another Cluster ran and somebody approved, instead of following a
    /// branch. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Promotion>,

    /// How a new release reaches the machines.
    #[serde(default)]
    pub rollout: Rollout,

    /// When machines may be changed. Without an Allow window: always, except in Deny windows. Deny
    /// wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = atomic(32))]
    pub windows: Vec<Window>,

    /// Where copies of objects are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        transform = map("name", 64),
        transform = rule(
            "self.all(a, !has(a.nats) || self.exists_one(b, has(b.nats) && a.nats.account == b.nats.account && a.nats.bucket == b.nats.bucket && (has(a.nats.jetstreamDomain) ? a.nats.jetstreamDomain : '') == (has(b.nats.jetstreamDomain) ? b.nats.jetstreamDomain : '')))",
            "two stores must not share a bucket: each copy in it would count twice",
        ),
    )]
    pub object_stores: Vec<ObjectStore>,

    /// The network of this Cluster. Default: none stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,

    /// The Secret with the Nix key that signs what is delivered, in the key `signing-key`, as made by
    /// `nix key generate-secret`. The machines must trust its public half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key_secret_ref: Option<SecretRef>,

    /// Names by which users enter this environment. Example: `www.example.com`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = dns_name, transform = set(32))]
    pub entrypoints: Vec<String>,

    /// URLs that tell whether this environment is well: a status of 2xx is.
    /// Example: `http://www.example.com/health`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = http_url, transform = set(32))]
    pub status_endpoints: Vec<String>,

    /// What happens to what this Cluster made when it is deleted. Machines are their own objects and
    /// follow their own policy. Default: Delete.
    #[serde(default = "DeletionPolicy::delete")]
    pub deletion_policy: DeletionPolicy,

    /// What all kinds share.
    #[serde(flatten)]
    pub common: CommonSpec,
}

/// The network of a Cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The ranges from which its machines have their addresses. Example: `10.0.0.0/24`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        transform = cidr, transform = set(16),
    )]
    pub cidrs: Vec<String>,
}

/// What was observed of a Cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = observed)]
pub struct ClusterStatus {
    /// What all kinds share.
    #[serde(flatten)]
    pub common: CommonStatus,

    /// The name of this Cluster: `core.example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(253))]
    pub fqdn: Option<String>,

    /// The revision that the machines should run, and what it evaluates to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,

    /// How far the release has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,

    /// The approval that the release rests on, for a Cluster with promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,

    /// The releases before this one, newest first, at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = atomic(10))]
    pub history: Vec<PastRelease>,

    /// The work under way, while there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,

    /// How many Machines name this Cluster.
    #[serde(default)]
    pub machines: u32,
    /// How many of them are Ready.
    #[serde(default)]
    pub machines_ready: u32,
    /// The same as READY/ALL, for the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(32))]
    pub machine_count: Option<String>,

    /// How many Services name this Cluster.
    #[serde(default)]
    pub services: u32,
    /// How many of them are Ready.
    #[serde(default)]
    pub services_ready: u32,
    /// The same as READY/ALL, for the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(32))]
    pub service_count: Option<String>,

    /// Each object store as it was last seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 64))]
    pub object_stores: Vec<store::ObjectStoreStatus>,
}

impl Cluster {
    /// The DNS label of this Cluster.
    pub fn label(&self) -> &str {
        self.spec.label.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }
}
