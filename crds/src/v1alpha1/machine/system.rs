//! What runs on a machine, what should, and what the machine is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{atomic, set, text};

/// What runs, in one word; for display, nothing is decided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SystemState {
    /// It runs, and will boot, the target.
    InSync,
    /// The target is on the machine and does not run yet.
    Staged,
    /// The target runs and will not survive a reboot.
    TestOnly,
    /// It runs something else than what was last delivered.
    Drifted,
    /// It runs an earlier release; the target is on its way.
    OutOfDate,
    /// The target runs; a reboot is owed for all of it to take effect.
    RebootRequired,
    /// Its store does not hold what it should.
    Corrupt,
    /// It runs no system of ours; one is to be installed.
    Bare,
    /// Its first system is being installed.
    Installing,
    /// It does not answer.
    Unreachable,
    /// Not yet looked at, or what was read makes no sense.
    Unknown,
}

/// What runs, as read from the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct System {
    /// Where `/run/current-system` points: what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(300))]
    pub current: Option<String>,
    /// Where `/run/booted-system` points: what was booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(300))]
    pub booted: Option<String>,
    /// Where `/nix/var/nix/profiles/system` points: what will be booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(300))]
    pub profile: Option<String>,
    /// The number of that profile's generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// The kernel's id of this boot; another one means that it was rebooted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(36))]
    pub boot_id: Option<String>,
    /// The running kernel's release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(128))]
    pub kernel: Option<String>,
    /// The version of Nix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub nix_version: Option<String>,
}

/// What should run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The commit.
    #[schemars(transform = text(64))]
    pub rev: String,
    /// The first 12 characters of the commit, for the column.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(transform = text(12))]
    pub short_rev: String,
    /// The identity of the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub release: Option<String>,
    /// The derivation of the toplevel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(300))]
    pub drv_path: Option<String>,
    /// The store path of the toplevel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(300))]
    pub out_path: Option<String>,
    /// The NAR hash of the toplevel, once built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub nar_hash: Option<String>,
    /// The names of the keys that signed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(253), transform = set(8))]
    pub signed_by: Vec<String>,
}

/// A delivery that failed. It is not tried again until the release changes or somebody asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedDelivery {
    /// The identity of the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub release: Option<String>,
    /// The attempt of the Cluster's rollout in which it failed.
    #[serde(default)]
    pub attempt: u32,
    /// The store path of the toplevel.
    #[schemars(transform = text(300))]
    pub out_path: String,
    /// The class of what happened: `RolledBack`, `UnitsFailed`.
    #[schemars(transform = text(64))]
    pub reason: String,
    /// What happened.
    #[schemars(transform = text(1024))]
    pub message: String,
    /// When it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// The attempt that was begun since and has not ended yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<BegunAgain>,
}

/// Another attempt at a delivery that failed, written down before its first effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BegunAgain {
    /// The attempt of the Cluster's rollout.
    #[serde(default)]
    pub attempt: u32,
    /// The value of the annotation `cim.dev/retry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(253))]
    pub retry: Option<String>,
    /// When the machine had gone back from the closure before, by its own clock and in its own words. A
    /// machine that tells another time went back from this attempt. Absent: it had not gone back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub went_back_at: Option<String>,
}

/// What the activation of a closure would do to systemd's units, as the closure itself tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The toplevel.
    #[schemars(transform = text(300))]
    pub out_path: String,
    /// Units that would be stopped; the first 50, as of each list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(255), transform = atomic(50))]
    pub stop: Vec<String>,
    /// Units that would be restarted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(255), transform = atomic(50))]
    pub restart: Vec<String>,
    /// Units that would be reloaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(255), transform = atomic(50))]
    pub reload: Vec<String>,
    /// Units that would be started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(255), transform = atomic(50))]
    pub start: Vec<String>,
}

/// The last reading of a machine's whole closure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// When it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// The toplevel that was read.
    #[schemars(transform = text(300))]
    pub out_path: String,
    /// Store paths whose content is not what it should be; the first 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(300), transform = atomic(10))]
    pub corrupt: Vec<String>,
}

/// How far a delivery has come; for display, nothing is decided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DeliveryPhase {
    /// Waits for its wave, a window, or an approval.
    Waiting,
    /// The closure is being built.
    Building,
    /// The closure is being copied.
    Copying,
    /// The closure is on the machine.
    Staged,
    /// The closure is being activated.
    Activating,
    /// It runs and is being checked.
    Confirming,
    /// The machine is being rebooted.
    Rebooting,
    /// It runs, is confirmed and will be booted.
    Complete,
    /// The machine is going, or went, back.
    RolledBack,
    /// It failed; the condition Ready says why.
    Failed,
}

/// The hardware, as the machine or its provider tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// As Nix names it. Example: `x86_64-linux`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub system: Option<String>,
    /// Logical processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Memory, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(128))]
    pub vendor: Option<String>,
    /// What they call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(128))]
    pub model: Option<String>,
    /// Its serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(128))]
    pub serial: Option<String>,
    /// What virtualises it, as `systemd-detect-virt` names it; `none` for hardware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub virtualization: Option<String>,
}
