//! The release: which revision, approved by whom, and how far it has come.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{dns_name, map, set, text};

/// Receive what another Cluster ran and somebody approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Promotion {
    /// The Cluster (name of the object) whose approved release this one receives. Example: `core-dev`.
    #[schemars(transform = dns_name)]
    pub from: String,

    /// Who approves. Default: Manual.
    #[serde(default)]
    pub approval: ApprovalPolicy,
}

/// Who approves a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalPolicy {
    /// A person with the right to (`cimctl approve`).
    #[default]
    Manual,
    /// The checks of the other Cluster: it is Ready with that release.
    Automatic,
}

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

    /// When this revision was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,

    /// What it evaluates to for each machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 1000))]
    pub machines: Vec<ReleaseMachine>,
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
    /// Why there is no closure: the evaluation's or build's last words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub error: Option<String>,
}

/// How far a release has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// In one word.
    #[serde(default)]
    pub phase: RolloutPhase,
    /// The wave that is being worked on, counted from 0.
    #[serde(default)]
    pub wave: u32,
    /// How many waves there are, the one of the remaining machines included.
    #[serde(default)]
    pub waves: u32,
    /// How many machines run the release.
    #[serde(default)]
    pub updated: u32,
    /// How many machines are to run it.
    #[serde(default)]
    pub total: u32,
    /// The machines that failed; the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(253), transform = set(20))]
    pub failed: Vec<String>,
    /// The revision to which an abort goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub previous_rev: Option<String>,
    /// Since when the present wave is healthy and soaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soaking_since: Option<Time>,
    /// When the next window opens, while the rollout waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_window: Option<Time>,
}

/// The state of a rollout; for display, nothing is decided by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RolloutPhase {
    /// Not begun.
    #[default]
    Pending,
    /// The closures are being built.
    Building,
    /// Machines are being changed.
    Progressing,
    /// A wave is done and watched.
    Soaking,
    /// Waits for a window.
    WaitingForWindow,
    /// Waits for an approval.
    WaitingForApproval,
    /// Paused by `rollout.paused`.
    Paused,
    /// Every machine runs the release.
    Complete,
    /// Machines are being taken back.
    Revoking,
    /// Aborted; a person is needed.
    Aborted,
}

/// Signed record that one revision passed in an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The Cluster (name of the object) in which it passed.
    #[schemars(transform = text(253))]
    pub from: String,
    /// That Cluster's environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(63))]
    pub environment: Option<String>,
    /// The commit.
    #[schemars(transform = text(64))]
    pub rev: String,
    /// The hash of the source tree.
    #[schemars(transform = text(128))]
    pub nar_hash: String,
    /// Who approved: a user name of Kubernetes, or `checks`.
    #[schemars(transform = text(253))]
    pub by: String,
    /// When.
    pub time: Time,
}
