//! What an object of the five kinds says of itself.

use std::fmt::{self, Display};

use serde_json::Value;

use crate::lab::{LabError, Result, servers::kubernetes::Kubectl};

/// An object as the API server has it.
#[derive(Clone, Debug)]
pub struct Object(Value);

impl Object {
    /// Takes an object that was read.
    pub fn new(value: Value) -> Self {
        Self(value)
    }

    /// All objects of the category `cim` in a namespace.
    pub(super) async fn all(kubectl: &Kubectl, namespace: &str) -> Result<Vec<Self>> {
        let text = kubectl.run(&["get", "cim", "--namespace", namespace, "--output=json"]).await?;
        let list: Value = serde_json::from_str(&text).map_err(|error| LabError::Unexpected {
            what: "the list of objects".into(),
            why: error.to_string(),
        })?;
        Ok(list["items"].as_array().into_iter().flatten().cloned().map(Self).collect())
    }

    /// `Machine`, and so on.
    pub fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap_or_default()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Its spec.
    pub fn spec(&self) -> &Value {
        &self.0["spec"]
    }

    /// Its status; null before it has one.
    pub fn status(&self) -> &Value {
        &self.0["status"]
    }

    /// Its resourceVersion.
    pub fn version(&self) -> &str {
        self.0["metadata"]["resourceVersion"].as_str().unwrap_or_default()
    }

    /// The status, reason and message of a condition.
    pub fn condition(&self, condition: &str) -> Option<(&str, &str, &str)> {
        let conditions = self.status()["conditions"].as_array()?;
        let found = conditions.iter().find(|it| it["type"] == condition)?;
        let text = |key: &str| found[key].as_str().unwrap_or_default();
        Some((text("status"), text("reason"), text("message")))
    }

    /// Whether a condition is True.
    pub fn is(&self, condition: &str) -> bool {
        self.condition(condition).is_some_and(|(status, ..)| status == "True")
    }

    /// Whether it is Ready, and for the spec that it has now.
    pub fn is_ready(&self) -> bool {
        self.status()["observedGeneration"] == self.0["metadata"]["generation"] && self.is("Ready")
    }
}

impl Display for Object {
    /// `Machine/host1: Ready=False (Unreachable: …)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}: ", self.kind(), self.name())?;
        match self.condition("Ready") {
            Some((status, reason, message)) => write!(f, "Ready={status} ({reason}: {message})"),
            None => f.write_str("never looked at"),
        }
    }
}
