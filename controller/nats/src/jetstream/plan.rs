//! The difference between the streams that are wanted and those of the account.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use cim_plan::{Finding, Plan};
use serde::Serialize;
use serde_json::{Map, Value};

use super::client::{FoundStream, Observed};
use super::config::Resource;
use crate::error::{Error, Result};

/// The streams and buckets that one owner wants in an account.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Who wants them: kept in the streams' metadata, so that two owners do not take each other's.
    pub owner: String,
    /// What is wanted.
    pub resources: Vec<Resource>,
    /// Streams that may be taken over although somebody else made them.
    pub adopt: BTreeSet<String>,
}

/// One thing that is done in the account. A stream is never deleted: its messages may be the only
/// ones there are.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum Change {
    /// Create a stream.
    Create {
        /// The stream.
        stream: String,
        /// Its configuration.
        config: Map<String, Value>,
    },
    /// Change a stream's configuration.
    Update {
        /// The stream.
        stream: String,
        /// The whole configuration: what was found, with our fields.
        config: Map<String, Value>,
    },
}

impl Change {
    /// The stream.
    pub fn stream(&self) -> &str {
        match self {
            Self::Create { stream, .. } | Self::Update { stream, .. } => stream,
        }
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { stream, .. } => write!(f, "create stream {stream}"),
            Self::Update { stream, .. } => write!(f, "update stream {stream}"),
        }
    }
}

/// Compares the fields that are wanted, and only those. Refused if two resources are one stream.
pub fn plan(desired: &Desired, observed: &Observed) -> Result<Plan<Change>> {
    let (mut changes, mut findings) = (Vec::new(), Vec::new());
    let mut wanted = BTreeSet::new();
    for resource in &desired.resources {
        let (stream, config) = (resource.stream(), resource.config(&desired.owner));
        match observed.streams.get(&stream) {
            None if observed.silent.contains(&stream) => {
                let why = "none of its servers answered";
                findings.push(Finding::unverified(subject(&stream), "a stream", why));
            }
            None => {
                findings.push(Finding::missing(subject(&stream), "a stream"));
                changes.push(Change::Create { stream: stream.clone(), config });
            }
            Some(found) => {
                let (change, finding) = compare(desired, &stream, &config, found);
                changes.extend(change);
                findings.extend(finding);
            }
        }
        if !wanted.insert(stream.clone()) {
            let why = "two resources are kept in it; rename one of them".into();
            return Err(Error::Desired { field: subject(&stream), why });
        }
    }
    for (stream, found) in &observed.streams {
        if found.owner() == Some(&desired.owner) && !wanted.contains(stream) {
            let why = format!("no longer wanted, {} messages; delete it by hand", found.messages);
            findings.push(Finding::unexpected(subject(stream), why));
        }
    }
    Ok(Plan::new(changes, findings))
}

fn compare(
    desired: &Desired,
    stream: &str,
    wanted: &Map<String, Value>,
    found: &FoundStream,
) -> (Option<Change>, Option<Finding>) {
    let ours = found.owner() == Some(&desired.owner);
    if !ours && !desired.adopt.contains(stream) {
        let owner = found.owner().unwrap_or("somebody else");
        let finding = Finding::unexpected(subject(stream), format!("exists, made by {owner}"));
        return (None, Some(finding));
    }
    let differing: Vec<_> =
        wanted.iter().filter(|(field, value)| !equal(value, found.config.get(*field))).collect();
    if differing.is_empty() {
        return (None, None);
    }
    let values = |of: fn(&(&String, &Value), &FoundStream) -> String| {
        differing.iter().map(|field| of(field, found)).collect::<Vec<_>>().join(", ")
    };
    let expected = values(|(field, value), _| format!("{field} {value}"));
    let is = values(|(field, _), found| match found.config.get(*field) {
        Some(value) => format!("{field} {value}"),
        None => format!("{field} absent"),
    });
    let fixed = differing.iter().any(|(field, value)| is_fixed(field, value, &found.config));
    if fixed {
        let is = format!("{is}; a server cannot change this, only a new stream has it");
        return (None, Some(Finding::changed(subject(stream), expected, is)));
    }
    let config = merged(&found.config, wanted);
    let change = Change::Update { stream: stream.to_owned(), config };
    (Some(change), Some(Finding::changed(subject(stream), expected, is)))
}

/// Whether the server refuses to change the field (nats-server `server/stream.go`).
fn is_fixed(field: &str, wanted: &Value, found: &Map<String, Value>) -> bool {
    match field {
        "storage" => true,
        "retention" => *wanted == "workqueue" || found.get(field).is_some_and(|f| f == "workqueue"),
        // What is once denied stays denied.
        "deny_delete" => *wanted == false,
        _ => false,
    }
}

/// A field as wanted. The server leaves out what is zero; sets have no order; metadata may have more.
fn equal(wanted: &Value, found: Option<&Value>) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Some(Value::Object(found))) => {
            wanted.iter().all(|(key, value)| found.get(key) == Some(value))
        }
        (Value::Array(wanted), Some(Value::Array(found))) => {
            let set =
                |items: &[Value]| items.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
            set(wanted) == set(found)
        }
        (wanted, Some(found)) => wanted == found,
        (wanted, None) => *wanted == false || *wanted == 0,
    }
}

/// `found` with the wanted fields; of metadata the wanted entries.
fn merged(found: &Map<String, Value>, wanted: &Map<String, Value>) -> Map<String, Value> {
    let mut config = found.clone();
    for (field, value) in wanted {
        match (config.get_mut(field), value) {
            (Some(Value::Object(found)), Value::Object(wanted)) => found.extend(wanted.clone()),
            _ => drop(config.insert(field.clone(), value.clone())),
        }
    }
    config
}

fn subject(stream: &str) -> String {
    format!("stream {stream}")
}
