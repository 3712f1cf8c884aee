//! How far a release has come.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{map, set, text};

/// How far a release has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The identity of the release that is rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub release: Option<String>,
    /// In one word.
    #[serde(default)]
    pub phase: RolloutPhase,
    /// What it does, or waits for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(transform = text(1024))]
    pub message: String,
    /// The machines that may take the release. A machine takes it only while it is listed here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(253), transform = set(1000))]
    pub admitted: Vec<String>,
    /// The machines that are to go back to what they had before this release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(253), transform = set(1000))]
    pub revoked: Vec<String>,
    /// The machines that may reboot now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(253), transform = set(1000))]
    pub rebooting: Vec<String>,
    /// Which machines it is that these lists, and `failed`, name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 1000))]
    pub machines: Vec<RolloutMachine>,
    /// Whether nothing new is begun: paused, no window open, or aborted.
    #[serde(default)]
    pub held: bool,
    /// The number of this beginning; it grows with each release and each wish to try again.
    #[serde(default)]
    pub attempt: u32,
    /// Whether every wave has passed once.
    #[serde(default)]
    pub completed: bool,
    /// Whether too many machines failed.
    #[serde(default)]
    pub aborted: bool,
    /// The last value of the annotation `cim.dev/retry` that was handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(253))]
    pub retry: Option<String>,
    /// When the rollout began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// Since when every machine has run the release, or it has been aborted. Absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Time>,
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
    /// The machines that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(253), transform = set(1000))]
    pub failed: Vec<String>,
    /// The identity of the last release that was complete, to which an abort goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub previous: Option<String>,
    /// Since when the present wave is healthy and soaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soaking_since: Option<Time>,
    /// When the next window opens, while the rollout waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_window: Option<Time>,
}

/// A machine that a rollout has to do with. One that is made later under its name is another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutMachine {
    /// The name of the Machine.
    #[schemars(transform = text(253))]
    pub name: String,
    /// Its `metadata.uid`.
    #[schemars(transform = text(64))]
    pub uid: String,
}

impl RolloutStatus {
    /// Whether what these lists say of `name` is said of the Machine with this uid. Where no uid is
    /// kept for the name it is.
    pub fn means(&self, name: &str, uid: Option<&str>) -> bool {
        let known = self.machines.iter().find(|machine| machine.name == name);
        known.is_none_or(|known| Some(known.uid.as_str()) == uid)
    }
}

/// The state of a rollout; `admitted` says what it means for a machine.
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
