//! What the specs of all kinds share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::Duration;
use crate::schema::{dns_name, flake, git_ref, git_rev, nar_hash, rule};

/// How far the controller may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Look and report drift; change nothing.
    Observe,
    /// Also say in status.plan what would be done; change nothing.
    Plan,
    /// Remove the difference.
    #[default]
    Correct,
}

/// What happens to the outside thing when its resource is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Remove what this resource made; what it did not make stays.
    Delete,
    /// Leave everything outside as it is and forget it.
    Orphan,
}

impl DeletionPolicy {
    pub(crate) const fn delete() -> Self {
        Self::Delete
    }

    pub(crate) const fn orphan() -> Self {
        Self::Orphan
    }
}

/// The fields that every kind has; `deletionPolicy`, whose default differs, is beside them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommonSpec {
    /// How far the controller may go. Default: Correct.
    #[serde(default)]
    pub mode: Mode,

    /// How often the outside is observed again when nothing told of a change, with jitter, as days,
    /// hours, minutes and seconds: `30s`, `5m`, `1h30m`. At least 10s. Default: 5m.
    #[serde(default = "default_interval")]
    #[schemars(transform = rule(
        "!self.matches('^(0+d)?(0+h)?(0+m)?(0*[0-9]s)?$')",
        "interval must be at least 10s",
    ))]
    pub interval: Duration,

    /// Stop reconciling this object until it is false again. Deletion is still reported, drift is
    /// shown as not evaluated. Default: false.
    #[serde(default)]
    pub suspend: bool,
}

fn default_interval() -> Duration {
    Duration::from_mins(5)
}

impl Default for CommonSpec {
    fn default() -> Self {
        Self { mode: Mode::default(), interval: default_interval(), suspend: false }
    }
}

/// The name of a Secret in the namespace of the object that refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// The name of the Secret. Example: `deploy-key`.
    #[schemars(transform = dns_name)]
    pub name: String,
}

/// How many verified copies there must, should and may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(
    "self.min <= self.desired",
    "replicas.min must not be above replicas.desired",
))]
#[schemars(transform = rule(
    "!has(self.max) || self.desired <= self.max",
    "replicas.max must not be below replicas.desired",
))]
pub struct Replicas {
    /// Fewer verified copies than this is a failure: the resource is not Ready. 1 to 64. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub min: u32,

    /// The number of copies that the controller keeps, 1 to 64. Example: 3.
    #[schemars(range(min = 1, max = 64))]
    pub desired: u32,

    /// More copies than this are removed, 1 to 64. Default: as many as desired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub max: Option<u32>,
}

fn one() -> u32 {
    1
}

impl Replicas {
    /// The effective upper bound.
    pub fn max(self) -> u32 {
        self.max.unwrap_or(self.desired)
    }
}

/// Where a configuration or service comes from: a Nix flake at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(
    "has(self.rev) == has(self.narHash)",
    "rev and narHash go together: a revision is accepted only with the hash of its source tree",
))]
pub struct Source {
    /// The flake as Nix writes it, without revision. Example: `git+https://git.example.com/infra`.
    #[schemars(transform = flake)]
    pub flake: String,

    /// The branch or tag to follow; each new commit becomes a release. With `rev` it is not followed
    /// until `rev` is removed. Example: `main`.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = git_ref)]
    pub ref_: Option<String>,

    /// The commit to stay at, 40 hexadecimal digits, as `cimctl rollback` pins it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = git_rev)]
    pub rev: Option<String>,

    /// The hash of the source tree at that commit, as in flake.lock:
    /// `sha256-` and 44 characters of base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = nar_hash)]
    pub nar_hash: Option<String>,

    /// The Secret by which the flake is fetched: `ssh-privatekey` and `known_hosts`, or `username`
    /// and `password`. Default: none needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
}

/// Where a service comes from: a Nix flake at one fixed revision, accepted only with its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PinnedSource {
    /// The flake as Nix writes it, without revision. Example: `git+https://git.example.com/vault`.
    #[schemars(transform = flake)]
    pub flake: String,

    /// The commit, 40 hexadecimal digits. A branch or tag is not accepted: it may move.
    #[schemars(transform = git_rev)]
    pub rev: String,

    /// The hash of the source tree at that commit, as in flake.lock:
    /// `sha256-` and 44 characters of base64.
    #[schemars(transform = nar_hash)]
    pub nar_hash: String,

    /// The Secret by which the flake is fetched: `ssh-privatekey` and `known_hosts`, or `username`
    /// and `password`. Default: none needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
}
