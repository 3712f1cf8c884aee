//! Service: one discrete function, with roles placed on machines.

pub mod nats;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::nats::{RoleNats, ServiceNats, ServiceNatsStatus};
use super::common::{CommonSpec, DeletionPolicy, PinnedSource};
use super::machine::activation::Check;
use super::status::CommonStatus;
use crate::schema::{
    atomic, dns_label, dns_name, map, non_empty, observed, port_name, preserve, rule, selector,
    set, structural, text,
};

/// What a Service should be.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "cim.dev",
    version = "v1alpha1",
    kind = "Service",
    namespaced,
    status = "ServiceStatus",
    shortname = "csvc",
    category = "cim",
    selectable = ".spec.cluster",
    derive = "PartialEq",
    doc = "One discrete function, from its own git repository, with roles placed on machines by selectors. It owns NATS users and permissions, streams and buckets, endpoints and checks.",
    validation = Rule::new("(has(self.spec.label) ? self.spec.label : self.metadata.name) == (has(oldSelf.spec.label) ? oldSelf.spec.label : oldSelf.metadata.name)")
        .message("label is immutable: names of its roles depend on it; make a new Service instead").field_path(".spec.label"),
    validation = Rule::new("has(self.spec.label) || (self.metadata.name.size() <= 63 && !self.metadata.name.contains('.'))")
        .message("label is required when the object's name is no DNS label (at most 63 characters, no dots)").field_path(".spec.label"),
    validation = Rule::new("!has(self.spec.dependsOn) || self.spec.dependsOn.all(d, !has(d.service) || d.service != self.metadata.name)")
        .message("dependsOn must not name the Service itself").field_path(".spec.dependsOn"),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Available", type_ = "string", json_path = r#".status.conditions[?(@.type=="Available")].status"#),
    printcolumn(name = "Drifted", type_ = "string", json_path = r#".status.conditions[?(@.type=="Drifted")].status"#),
    printcolumn(name = "Machines", type_ = "string", json_path = ".status.machineCount"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Account", type_ = "string", json_path = ".spec.nats.account", priority = 10),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", priority = 10),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 10),
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = structural)]
#[schemars(transform = rule(
    "!has(self.endpoints) || self.endpoints.all(e, self.roles.exists(r, r.name == e.role && has(r.ports) && r.ports.exists(p, p.name == (has(e.port) ? e.port : e.name))))",
    "each endpoint must name one of the roles, and one of that role's ports (port; default: the endpoint's name)",
))]
#[schemars(transform = rule(
    "has(self.nats) || self.roles.all(r, !has(r.nats))",
    "roles[].nats needs nats.account of the Service",
))]
#[schemars(transform = rule(
    "!has(self.checks) || self.checks.all(c, !has(c.nats) || (has(self.nats) && !has(c.nats.account)))",
    "a nats check of a Service is asked in nats.account of the Service: set that, and no account in the check",
))]
pub struct ServiceSpec {
    /// The Cluster (name of the object) that this service runs in. Immutable. Example: `core`.
    #[schemars(transform = dns_name)]
    #[schemars(transform = rule(
        "self == oldSelf",
        "cluster is immutable: the service's names end with it; make a new Service instead",
    ))]
    pub cluster: String,

    /// The DNS label of this service: with label `vault` in Cluster core.example.com its name is
    /// `vault.core.example.com`. Immutable. Default: the name of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = dns_label)]
    pub label: Option<String>,

    /// What this service does, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub description: Option<String>,

    /// Words by which people find it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = dns_label, transform = set(32))]
    pub tags: Vec<String>,

    /// The tenant of the Domain for whom it runs. Default: the Domain itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = dns_label)]
    pub tenant: Option<String>,

    /// The service's own flake at a fixed revision. Default: the Cluster's flake defines it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PinnedSource>,

    /// What the service consists of, each by its DNS label.
    #[schemars(transform = map("name", 32), transform = non_empty)]
    pub roles: Vec<Role>,

    /// Its part in NATS. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<ServiceNats>,

    /// Where it is reached, each by its DNS label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 64))]
    pub endpoints: Vec<Endpoint>,

    /// What must hold on each of its machines for the service to be Available; a nats check holds for
    /// the service as a whole. A rollout goes on to its next wave only where they hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = atomic(32))]
    pub checks: Vec<Check>,

    /// What it cannot do without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = atomic(64))]
    pub depends_on: Vec<Dependency>,

    /// What happens to its NATS users, streams and buckets when this object is deleted; a stream or
    /// bucket that holds messages is never deleted. Default: Delete.
    #[serde(default = "DeletionPolicy::delete")]
    pub deletion_policy: DeletionPolicy,

    /// What all kinds share.
    #[serde(flatten)]
    pub common: CommonSpec,
}

/// A named set of machines of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// A DNS label, unique in the service: `api` of vault.core.example.com is
    /// `api.vault.core.example.com`.
    #[schemars(transform = dns_label)]
    pub name: String,

    /// The machines, each as a name in short or long form, optionally with a kind before it
    /// (`domain/`, `cluster/`, `service/`, `role/`, `machine/`, `interface/`, `host/` for a virtual
    /// host), or as `label/KEY` or `label/KEY=VALUE` for machines with that metadata label. A short
    /// name is looked up from the service outwards; one that could mean several things is refused.
    /// Examples: `host1`, `host1.core.example.com`, `role/db`, `label/rack=b2`.
    #[schemars(transform = selector, transform = set(32), transform = non_empty)]
    pub selectors: Vec<String>,

    /// How many machines the selectors must give. Default: at least one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cardinality: Option<Cardinality>,

    /// Parameters for the service's NixOS module; any JSON object. No secrets: it is readable on the
    /// machines, in the Nix store.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(transform = preserve)]
    pub config: Map<String, Value>,

    /// The ports on which the role listens, each by its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 32))]
    pub ports: Vec<Port>,

    /// What this role may do in NATS beside what the service may. Default: nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<RoleNats>,
}

/// How many machines a role has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(
    "!has(self.exactly) || !(has(self.min) || has(self.max))",
    "cardinality must set either exactly, or min and max",
))]
#[schemars(transform = rule(
    "!has(self.min) || !has(self.max) || self.min <= self.max",
    "cardinality.min must not be above cardinality.max",
))]
pub struct Cardinality {
    /// At least as many, 0 to 1000. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub min: Option<u32>,
    /// At most as many, 1 to 1000. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max: Option<u32>,
    /// Exactly as many, 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub exactly: Option<u32>,
}

impl Cardinality {
    /// The effective bounds: at least, and at most where there is a bound.
    pub fn bounds(self) -> (u32, Option<u32>) {
        match self.exactly {
            Some(n) => (n, Some(n)),
            None => (self.min.unwrap_or(1), self.max),
        }
    }
}

/// A port on which a role listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// A service name (RFC 6335), unique in the role: at most 15 of `a-z`, `0-9` and `-`, with a
    /// letter. SRV records carry it. Example: `http`.
    #[schemars(transform = port_name)]
    pub name: String,
    /// 1 to 65535.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// TCP or UDP. Default: TCP.
    #[serde(default)]
    pub protocol: Protocol,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// A stream of bytes.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// Datagrams.
    #[serde(rename = "UDP")]
    Udp,
}

/// Where a service is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// A DNS label, unique in the service. Example: `http`.
    #[schemars(transform = dns_label)]
    pub name: String,
    /// The role that serves it.
    #[schemars(transform = dns_label)]
    pub role: String,
    /// The name of that role's port. Default: the name of the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = port_name)]
    pub port: Option<String>,
    /// Whether it is published for the outside. In a Cluster with promotion that happens only after
    /// the release has passed there. Default: false.
    #[serde(default)]
    pub public: bool,
}

/// Something that a service cannot do without. Exactly one kind is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Dependency {
    /// Another Service (name of the object).
    Service(#[schemars(transform = dns_name)] String),
    /// The DNS name of something outside this Domain.
    External(#[schemars(transform = dns_name)] String),
}

/// What was observed of a Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = observed)]
pub struct ServiceStatus {
    /// What all kinds share.
    #[serde(flatten)]
    pub common: CommonStatus,

    /// The name of this service: `vault.core.example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(253))]
    pub fqdn: Option<String>,

    /// Each role as it was resolved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 32))]
    pub roles: Vec<RoleStatus>,

    /// Its part in NATS as the servers have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<ServiceNatsStatus>,

    /// Since when its public endpoints may be published: its Cluster ran the release and its checks
    /// held. Until then DNS has no record of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_since: Option<Time>,

    /// On how many machines it is to run.
    #[serde(default)]
    pub machines: u32,
    /// On how many of them its checks hold.
    #[serde(default)]
    pub machines_ready: u32,
    /// The same as READY/ALL, for the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(32))]
    pub machine_count: Option<String>,
}

/// A role as it was resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// Its name.
    #[schemars(transform = text(63))]
    pub name: String,
    /// The Machines (names of the objects), sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(253), transform = set(1000))]
    pub machines: Vec<String>,
    /// Their addresses, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(45), transform = set(1000))]
    pub addresses: Vec<String>,
    /// The public half of the role's scoped signing key (`A…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub signing_key: Option<String>,
    /// The Secret with the role's credentials, in the key `user.creds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(253))]
    pub credentials_secret: Option<String>,
    /// Why it has no machines, or too few or many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub error: Option<String>,
}

impl Service {
    /// The DNS label of this service.
    pub fn label(&self) -> &str {
        self.spec.label.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }
}
