//! How and when a release reaches the machines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{atomic, pattern, positive, selector, text};
use crate::v1alpha1::duration::Duration;

/// How a release reaches the machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Groups of machines, one after the other; machines that no wave selects come last, together.
    /// Default: no waves, all machines at once within maxUnavailable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = atomic(32))]
    pub waves: Vec<Wave>,

    /// How many machines of the Cluster may be unavailable at a time, 1 to 1000; those that are for
    /// other reasons count. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_unavailable: u32,

    /// How long a wave must stay healthy before the next one begins. Default: 1m.
    #[serde(default = "default_soak")]
    pub soak: Duration,

    /// How many machines may fail before the rollout is aborted, 1 to 1000. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub abort_after: u32,

    /// What an aborted rollout does to the machines that have the new release. Default: Revoke.
    #[serde(default)]
    pub on_abort: OnAbort,

    /// How many machines are copied to at a time, 1 to 256. Default: 10.
    #[serde(default = "default_parallelism")]
    #[schemars(range(min = 1, max = 256))]
    pub parallelism: u32,

    /// Begin no further machine until it is false again; machines that were begun are finished.
    /// Default: false.
    #[serde(default)]
    pub paused: bool,
}

fn one() -> u32 {
    1
}

fn default_soak() -> Duration {
    Duration::from_mins(1)
}

fn default_parallelism() -> u32 {
    10
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            waves: Vec::new(),
            max_unavailable: one(),
            soak: default_soak(),
            abort_after: one(),
            on_abort: OnAbort::default(),
            parallelism: default_parallelism(),
            paused: false,
        }
    }
}

/// One group of machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wave {
    /// Which machines: a selector as in the roles of a Service. `label/canary` are those with this
    /// metadata label or tag, `host1` or `machine/host1` is one machine, `role/db` are those of a role.
    /// A bare word that is no name in the Cluster is read as a label: `canary`.
    #[schemars(transform = selector)]
    pub selector: String,
}

/// What an aborted rollout does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnAbort {
    /// Take every machine back to the release it had.
    #[default]
    Revoke,
    /// Leave each machine as it is and wait for a person.
    Hold,
}

/// When machines may, or must not, be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// When it opens: minute, hour, day of month, month, day of week. Example: `0 2 * * *`.
    #[schemars(transform = pattern(100, r"[0-9*/,-]+(\s+[0-9A-Za-z*/,?#-]+){4}", "must be five fields: minute, hour, day of month, month, day of week, such as 0 2 * * *"))]
    pub cron: String,

    /// How long it stays open. Example: `2h`.
    #[schemars(transform = positive)]
    pub duration: Duration,

    /// The IANA time zone in which cron is read; daylight saving is followed. Default: UTC.
    /// Example: `Europe/Brussels`.
    #[serde(default = "default_timezone")]
    #[schemars(transform = pattern(64, r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", "must be an IANA time zone, such as UTC or Europe/Brussels"))]
    pub timezone: String,

    /// Whether changes are allowed or denied within it. Default: Allow.
    #[serde(default)]
    pub kind: WindowKind,

    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(256))]
    pub description: Option<String>,
}

fn default_timezone() -> String {
    "UTC".to_owned()
}

/// The effect of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WindowKind {
    /// Changes only within it (or another Allow window).
    #[default]
    Allow,
    /// No changes within it, whatever else allows them.
    Deny,
}
