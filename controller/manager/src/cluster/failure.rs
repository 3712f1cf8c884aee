//! What can go wrong with a Cluster.

use std::sync::Arc;

use cim_crds::conditions::reasons;

use crate::builders::BuildersError;
use crate::inventory::Unreadable;
use crate::outcome::{Class, Failure};
use crate::secret::SecretError;

/// What can go wrong with a Cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterFailure {
    /// The spec is not one that can be carried out.
    #[error("{field}: {why}")]
    Invalid {
        /// The field.
        field: String,
        /// What it has, and what is wanted.
        why: String,
    },
    /// A credential is missing or unusable.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Some objects cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The source is not the one that was pinned.
    #[error(
        "the source should have the hash {wanted}, but the tree at that revision has {found}: \
         somebody changed what was pinned"
    )]
    HashMismatch {
        /// As the spec or the approval pins it.
        wanted: String,
        /// As Nix found it.
        found: String,
    },
    /// What the approved revision evaluates to here is not what was approved.
    #[error("not what was approved: {}", .0.join("; "))]
    NotApproved(Vec<String>),
    /// The release to go back to comes to something else today.
    #[error(
        "release {approved} comes to {found} today (a Machine or the inventory changed since): \
         approve a release of the other Cluster"
    )]
    NotThatRelease {
        /// The release that was approved.
        approved: String,
        /// What its revision comes to.
        found: String,
    },
    /// The flake could not be resolved or evaluated as a whole.
    #[error(transparent)]
    Source(#[from] cim_nixos::Error),
    /// The list of remote builders cannot be used.
    #[error("--builders: {0}")]
    Builders(#[from] BuildersError),
    /// Some machines have no closure.
    #[error("no closure for {0}")]
    Evaluation(String),
    /// Some closures could not be built or signed.
    #[error("cannot build for {}", told(.0))]
    Build(Vec<(String, Arc<cim_nixos::Error>)>),
    /// Too many machines failed.
    #[error("the rollout was aborted: {0}")]
    Aborted(String),
}

impl ClusterFailure {
    /// A text that Nix would not take.
    pub(super) fn source(why: cim_nixos::ParseError) -> Self {
        Self::Source(why.into())
    }
}

impl From<cim_nixos::ParseError> for ClusterFailure {
    fn from(why: cim_nixos::ParseError) -> Self {
        Self::source(why)
    }
}

fn told(failed: &[(String, Arc<cim_nixos::Error>)]) -> String {
    let told: Vec<String> =
        failed.iter().map(|(machines, error)| format!("{machines}: {error}")).collect();
    told.join("; ")
}

impl Failure for ClusterFailure {
    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => reasons::INVALID_SPEC,
            Self::Secret(error) => error.reason(),
            Self::Unreadable(_) => "Unreadable",
            Self::HashMismatch { .. } => "HashMismatch",
            Self::NotApproved(_) | Self::NotThatRelease { .. } => "NotApproved",
            Self::Source(error) => error.reason(),
            Self::Builders(_) => "BuildersUnusable",
            Self::Evaluation(_) => "EvaluationFailed",
            Self::Build(failed) => {
                failed.first().map_or("BuildFailed", |(_, error)| error.reason())
            }
            Self::Aborted(_) => "RolloutAborted",
        }
    }

    fn class(&self) -> Class {
        let transient = |error: &cim_nixos::Error| error.is_transient();
        match self {
            Self::Source(error) if transient(error) => Class::Retry,
            Self::Build(failed) if failed.iter().any(|(_, error)| transient(error)) => Class::Retry,
            Self::Secret(error) => error.class(),
            // A flake is what it is: only a new commit or another spec changes it.
            _ => Class::Stalled,
        }
    }
}
