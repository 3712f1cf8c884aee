//! What can go wrong with a Cluster.

use cim_crds::conditions::reasons;

use crate::outcome::{Class, Failure};

/// What can go wrong with a Cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterFailure {
    /// The spec asks for what this version cannot do.
    #[error("{field}: {why}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// What it asks for, and what to write instead.
        why: &'static str,
    },
    /// The spec is not one that can be carried out.
    #[error("{field}: {why}")]
    Invalid {
        /// The field.
        field: String,
        /// What it has, and what is wanted.
        why: String,
    },
    /// The source is not the one that was pinned.
    #[error("spec.source.narHash is {wanted}, but the tree at that revision has {found}")]
    HashMismatch {
        /// As the spec pins it.
        wanted: String,
        /// As Nix found it.
        found: String,
    },
    /// The flake could not be resolved or evaluated as a whole.
    #[error(transparent)]
    Source(#[from] cim_nixos::Error),
    /// Some machines have no closure.
    #[error("no closure for {0}")]
    Evaluation(String),
}

impl Failure for ClusterFailure {
    fn reason(&self) -> &'static str {
        match self {
            Self::Unsupported { .. } => "Unsupported",
            Self::Invalid { .. } => reasons::INVALID_SPEC,
            Self::HashMismatch { .. } => "HashMismatch",
            Self::Source(error) => error.reason(),
            Self::Evaluation(_) => "EvaluationFailed",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Source(error) if error.is_transient() => Class::Retry,
            // A flake is what it is: only a new commit or another spec changes it.
            _ => Class::Stalled,
        }
    }
}
