//! What the checks of the Services on a machine say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{atomic, text};

/// The checks of one Service, as they were seen from one of its machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceChecks {
    /// The Service (name of the object).
    #[schemars(transform = text(253))]
    pub name: String,
    /// The generation of the Service whose checks were made.
    pub generation: i64,
    /// Those that do not hold; the others do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = atomic(32))]
    pub troubles: Vec<CheckTrouble>,
}

/// A check that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckTrouble {
    /// Its place in `spec.checks` of the Service, from 0.
    #[schemars(range(min = 0, max = 31))]
    pub check: u32,
    /// What it says.
    pub result: CheckResult,
    /// What was found, for people.
    #[schemars(transform = text(1024))]
    pub message: String,
}

/// What a check says that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CheckResult {
    /// Something else was found than what must hold.
    Failing,
    /// It could not be asked, so nobody knows.
    Unknown,
}
