//! The release: which revision, and what it evaluates to.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{atomic, map, set, text};

/// The revision that the machines should run, and what it evaluates to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The flake without revision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(transform = text(512))]
    pub flake: String,

    /// The branch or tag that was followed.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(253))]
    pub ref_: Option<String>,

    /// The commit.
    #[schemars(transform = text(64))]
    pub rev: String,

    /// The first 12 characters of the commit, for the column.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(transform = text(12))]
    pub short_rev: String,

    /// The hash of the source tree, as Nix locks it.
    #[schemars(transform = text(128))]
    pub nar_hash: String,

    /// The hash of the inventory that was given to the evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(128))]
    pub inventory_hash: Option<String>,

    /// The identity of this release: the hash of its commit, source, inventory, closures and services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub digest: Option<String>,

    /// When this revision was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,

    /// What it evaluates to for each machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 1000))]
    pub machines: Vec<ReleaseMachine>,

    /// The closures of the services in it, as the configurations name them in `config.cim.closures`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 1000))]
    pub services: Vec<NamedPath>,
}

/// A store path and what it is called.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct NamedPath {
    /// The service, or the configuration of the flake.
    #[schemars(transform = text(128))]
    pub name: String,
    /// The store path.
    #[schemars(transform = text(300))]
    pub out_path: String,
}

/// A release of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastRelease {
    /// The commit.
    #[schemars(transform = text(64))]
    pub rev: String,
    /// The hash of the source tree.
    #[schemars(transform = text(128))]
    pub nar_hash: String,
    /// The identity of the release.
    #[schemars(transform = text(64))]
    pub digest: String,
    /// How far it came.
    pub result: ReleaseResult,
    /// When it became the wanted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When that was settled: complete, aborted or superseded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Time>,
    /// Who approved it, for a Cluster with promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(253))]
    pub approved_by: Option<String>,
}

/// How far a release came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ReleaseResult {
    /// Every machine ran it.
    Complete,
    /// Its rollout was aborted.
    Aborted,
    /// Another one came before it was complete.
    Superseded,
}

/// What a release evaluates to for one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseMachine {
    /// The Machine (name of the object).
    #[schemars(transform = text(253))]
    pub name: String,
    /// The configuration of the flake that it was evaluated for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(transform = text(128))]
    pub configuration: String,
    /// The derivation of its toplevel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(300))]
    pub drv_path: Option<String>,
    /// The store path of its toplevel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(300))]
    pub out_path: Option<String>,
    /// The NAR hash of that path, once built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub nar_hash: Option<String>,
    /// The names of the keys that signed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(253), transform = set(8))]
    pub signed_by: Vec<String>,
    /// What its first installation takes, as long as it waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<ReleaseInstall>,
    /// Why there is no closure: the evaluation's or build's last words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub error: Option<String>,
}

/// What the first installation of a machine takes, from the same revision as its closure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseInstall {
    /// The disk layout; absent for a configuration that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<BuildOutput>,
    /// The devices that the layout names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(253), transform = atomic(32))]
    pub devices: Vec<String>,
    /// The output of the flake that was asked for as the installer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(253))]
    pub kexec_output: Option<String>,
    /// The installer; absent where the flake has no such output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kexec: Option<BuildOutput>,
    /// Whether both are built.
    #[serde(default)]
    pub built: bool,
}

/// A store path and how it is built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuildOutput {
    /// The derivation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(300))]
    pub drv_path: Option<String>,
    /// The store path.
    #[schemars(transform = text(512))]
    pub out_path: String,
}
