//! Executes a plan.

use cim_plan::Plan;
use serde_json::Value;

use super::client::AccountClient;
use super::plan::Change;
use crate::error::{Error, Result};

/// A change that the server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stream.
    pub stream: String,
    /// The server's reason.
    pub why: String,
}

/// Executes `plan`; a refusal of one change does not stop the others. What is true is said by the next
/// observation.
pub async fn apply(client: &AccountClient, plan: &Plan<Change>) -> Result<Vec<Failure>> {
    let mut failures = Vec::new();
    for change in &plan.changes {
        let (verb, config) = match change {
            Change::Create { config, .. } => ("CREATE", config),
            Change::Update { config, .. } => ("UPDATE", config),
        };
        let subject = format!("$JS.API.STREAM.{verb}.{}", change.stream());
        match client.request(&subject, &Value::Object(config.clone())).await {
            Ok(_) => {}
            Err(Error::Request { why, .. }) => {
                failures.push(Failure { stream: change.stream().to_owned(), why });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(failures)
}
