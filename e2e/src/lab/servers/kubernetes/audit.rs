//! The API server's audit log: what was asked by whom, and what the answer was.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use serde::Deserialize;

use crate::lab::error::{During, LabError, Result};

/// One answered request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Who asked, such as `system:serviceaccount:cim-system:cim-controller`.
    pub user: String,
    /// From which address.
    pub source: String,
    /// get, list, watch, create, update, patch, delete, deletecollection.
    pub verb: String,
    /// The path with its query.
    pub uri: String,
    /// The API group, empty for the core group and for paths that are no resource.
    pub group: String,
    /// The resource, such as `machines`; empty for paths that are no resource.
    pub resource: String,
    /// Such as `status`, else empty.
    pub subresource: String,
    /// Empty for cluster-wide requests.
    pub namespace: String,
    /// Empty for lists and creations.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// What admission wrote beside it, such as `approval.cim.dev/approval`.
    pub annotations: BTreeMap<String, String>,
}

impl AuditEvent {
    /// Whether the request could change something.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}

/// A line of the log, of which the schema is audit.k8s.io/v1.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    user: User,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    stage: String,
    #[serde(rename = "sourceIPs", default)]
    source_ips: Vec<String>,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: Status,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// The events in `path`, in order. A long watch appears when it begins and not again when it ends.
pub(super) fn read(path: &Path) -> Result<Vec<AuditEvent>> {
    let file = File::open(path).during("open", path)?;
    let mut events = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.during("read", path)?;
        let event: Line = serde_json::from_str(&line).map_err(|error| LabError::Unexpected {
            what: format!("a line of {}", path.display()),
            why: format!("{error}: {line}"),
        })?;
        let first = if event.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
        if event.stage == first {
            events.push(event.into());
        }
    }
    Ok(events)
}

impl From<Line> for AuditEvent {
    fn from(line: Line) -> Self {
        Self {
            user: line.user.username,
            source: line.source_ips.into_iter().next().unwrap_or_default(),
            verb: line.verb,
            uri: line.request_uri,
            group: line.object_ref.api_group,
            resource: line.object_ref.resource,
            subresource: line.object_ref.subresource,
            namespace: line.object_ref.namespace,
            name: line.object_ref.name,
            code: line.response_status.code,
            annotations: line.annotations,
        }
    }
}
