//! Promotion: receiving what another Cluster ran and somebody approved.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::release::NamedPath;
use crate::schema::{dns_name, git_rev, map, nar_hash, text};

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

    /// What a person approved, as `cimctl approve` writes it; not kept in git. The API server admits
    /// a change of it only from the user that `by` names, who needs the verb `approve` on this
    /// Cluster. Default: nothing is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approved>,
}

/// Who approves a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalPolicy {
    /// A person with the right to (`cimctl approve`).
    #[default]
    Manual,
    /// The checks of the other Cluster: all its machines run the release, and it is Ready.
    Automatic,
}

/// What was approved: a list of hashes, by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approved {
    /// The commit.
    #[schemars(transform = git_rev)]
    pub rev: String,
    /// The hash of the source tree at that commit.
    #[schemars(transform = nar_hash)]
    pub nar_hash: String,
    /// The identity of the release that was approved: the other Cluster's, or, to go back to it, one
    /// of this Cluster's own history. Example: `sha256-…`.
    #[schemars(transform = nar_hash)]
    pub digest: String,
    /// The toplevels of the other Cluster by their configuration; a configuration that this Cluster
    /// also uses must have the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 1000))]
    pub configurations: Vec<NamedPath>,
    /// The closures of the services. This Cluster may contain no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 1000))]
    pub services: Vec<NamedPath>,
    /// Who approved: the user name by which the API server knows them.
    #[schemars(transform = text(253))]
    pub by: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub comment: Option<String>,
}

/// The approval that a release rests on.
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
    /// What was approved, and by whom: a user name of Kubernetes, or `checks`.
    #[serde(flatten)]
    pub approved: Approved,
    /// When the controller first saw it.
    pub time: Time,
}
