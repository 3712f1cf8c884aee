//! What can go wrong with an ObjectReplica.

use cim_crds::conditions::reasons;

use crate::outcome::{Class, Failure};
use crate::secret::SecretError;

/// What can go wrong with an ObjectReplica.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaFailure {
    /// The spec asks for what this version cannot do.
    #[error("{field}: {why}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// What it asks for, and what to write instead.
        why: &'static str,
    },
    /// The spec, or a store of a Cluster, is not one that can be carried out.
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
    /// Objects have no good copy anywhere.
    #[error(
        "no good copy of {count} objects is left anywhere: {which}; nothing is deleted, restore them from a backup"
    )]
    Lost {
        /// How many.
        count: u64,
        /// The first of them.
        which: String,
    },
    /// Copies that are wanted have no place.
    #[error("{count} copies have no place: {why}")]
    Unschedulable {
        /// How many.
        count: u64,
        /// Why each store takes none.
        why: String,
    },
    /// A store does not answer.
    #[error("{0}")]
    StoreUnreachable(String),
    /// A step of the plan failed.
    #[error("{step}: {why}")]
    Step {
        /// The step.
        step: String,
        /// Why it failed.
        why: String,
    },
}

impl Failure for ReplicaFailure {
    fn reason(&self) -> &'static str {
        match self {
            Self::Unsupported { .. } => "Unsupported",
            Self::Invalid { .. } => reasons::INVALID_SPEC,
            Self::Secret(error) => error.reason(),
            Self::Lost { .. } => "Unrecoverable",
            Self::Unschedulable { .. } => "Unschedulable",
            Self::StoreUnreachable(_) => reasons::UNREACHABLE,
            Self::Step { .. } => "StepFailed",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Unsupported { .. } | Self::Invalid { .. } | Self::Lost { .. } => Class::Stalled,
            Self::Secret(error) => error.class(),
            Self::Unschedulable { .. } | Self::StoreUnreachable(_) | Self::Step { .. } => {
                Class::Retry
            }
        }
    }
}
