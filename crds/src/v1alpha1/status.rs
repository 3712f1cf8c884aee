//! What the statuses of all kinds share.
//!
//! A status says only what was observed. It holds no time that moves while nothing changes, so an
//! unchanged world gives an unchanged status and no write.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::schema::{atomic, text};

/// How many changes of a plan, and how many differences, a status lists.
pub const MAX_LISTED: usize = 50;
/// How long, in characters, each of them may be.
pub const MAX_LINE: usize = 1024;

/// The fields that every status has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommonStatus {
    /// The generation of the spec that this status speaks of; -1 until the controller has looked
    /// once, so that a fresh object never counts as ready.
    #[serde(default = "never")]
    pub observed_generation: i64,

    /// Typed, dated truths about this object. Ready, Drifted and Paused are always there;
    /// Reconciling and Stalled only while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,

    /// The last value of the annotation `cim.dev/requestedAt` that was handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(253))]
    pub last_handled_reconcile_at: Option<String>,

    /// What would be done to the outside, or is being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,

    /// How the outside differs from what is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

const fn never() -> i64 {
    -1
}

impl Default for CommonStatus {
    fn default() -> Self {
        Self {
            observed_generation: never(),
            conditions: Vec::new(),
            last_handled_reconcile_at: None,
            plan: None,
            drift: None,
        }
    }
}

/// Long work under way, as far as it can be counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What is being done: `building`, `copying`.
    #[schemars(transform = text(253))]
    pub step: String,
    /// How much of it is done.
    pub done: u64,
    /// How much of it is known to be wanted; it grows while more becomes known.
    pub expected: u64,
    /// What is counted: `derivations`, `bytes`, `machines`.
    #[schemars(transform = text(32))]
    pub unit: String,
}

/// A plan as people see it. Never secret, never applied from here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// One line for each change, in the order in which they would happen; the first 50.
    #[serde(default)]
    #[schemars(transform = text(MAX_LINE), transform = atomic(MAX_LISTED))]
    pub changes: Vec<String>,

    /// Names this very plan; the annotation `cim.dev/confirm` with this value releases it when it is
    /// held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub hash: Option<String>,

    /// Whether there are more changes than are shown.
    #[serde(default)]
    pub truncated: bool,
}

/// The difference between what is wanted and what was observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// How many things differ, also those not listed.
    #[serde(default)]
    pub count: u32,

    /// When the first of the present differences was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,

    /// The first 50 differences, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = atomic(MAX_LISTED))]
    pub items: Vec<DriftItem>,

    /// Whether there are more differences than are shown.
    #[serde(default)]
    pub truncated: bool,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftItem {
    /// In which way it differs.
    pub class: DriftClass,

    /// What differs, in its field's own notation: `host1.core.example.com. A`.
    #[schemars(transform = text(512))]
    pub subject: String,

    /// The wanted value, where one is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(MAX_LINE))]
    pub expected: Option<String>,

    /// The observed value, where one was observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(MAX_LINE))]
    pub found: Option<String>,
}

/// In which way the outside differs; the label values of the metric `cim_drift_items`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DriftClass {
    /// Wanted, and not there.
    Missing,
    /// There, with another value than the wanted one.
    Changed,
    /// There, and neither wanted nor made by us: reported, never removed.
    Unexpected,
    /// Wanted and perhaps there: it could not be checked.
    Unverified,
}

/// `metav1.Condition` with the bounds that Kubernetes' own types have.
fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let time = generator.subschema_for::<Time>();
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "type": "string", "maxLength": 316,
                    "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                    "description": "What the condition speaks of, in CamelCase: Ready, Drifted, …",
                },
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"],
                    "description": "True, False or Unknown.",
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The generation of the spec that the condition was judged by.",
                },
                "lastTransitionTime": time,
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Why, as one CamelCase word for programs.",
                },
                "message": {
                    "type": "string", "maxLength": 32768,
                    "description": "Why, for people; what to do about it.",
                },
            },
        },
    })
}
