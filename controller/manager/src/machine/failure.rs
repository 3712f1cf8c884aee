//! What can go wrong with a Machine.

use cim_crds::conditions::reasons;

use crate::kube::ApiError;
use crate::outcome::{Class, Failure};
use crate::secret::SecretError;

/// What can go wrong with a Machine.
#[derive(Debug, thiserror::Error)]
pub enum MachineFailure {
    /// The spec asks for what this version cannot do.
    #[error("{field}: {why}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// What it asks for, and what to write instead.
        why: String,
    },
    /// The spec contradicts itself or its Secrets.
    #[error("{field}: {why}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What it has, and what is wanted.
        why: String,
    },
    /// A credential is missing or unusable.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The Cluster's release holds no closure for this machine.
    #[error("the release has no closure for this machine: {0}")]
    NoClosure(String),
    /// The machine could not be seen.
    #[error("{message}")]
    Unreachable {
        /// The class, as `cim-nixos` names it.
        reason: &'static str,
        /// What happened.
        message: String,
    },
    /// The closure was activated, and that did not succeed.
    #[error("activation of {closure} did not succeed: {outcome}")]
    Activation {
        /// The class, as `cim-nixos` names it.
        reason: &'static str,
        /// The closure.
        closure: String,
        /// How it ended, and the end of its log.
        outcome: String,
    },
    /// What the release holds for it failed on it, and is not tried again by itself.
    #[error(
        "{closure} failed: {message}; it is tried again in another release, or when somebody asks \
         (cimctl reconcile --retry)"
    )]
    Failed {
        /// The class.
        reason: &'static str,
        /// The closure.
        closure: String,
        /// What happened.
        message: String,
    },
    /// Its store does not hold what was delivered.
    #[error(
        "these paths of its store were changed or lost behind Nix's back: {}: \
         mend them there (nix store repair), and look who did it", .0.join(", ")
    )]
    Corrupt(Vec<String>),
    /// What is about to be done could not be written down, so it was not done.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Building, signing, copying or activating failed.
    #[error(transparent)]
    Delivery(#[from] cim_nixos::Error),
}

impl Failure for MachineFailure {
    fn reason(&self) -> &'static str {
        match self {
            Self::Unsupported { .. } => "Unsupported",
            Self::Invalid { .. } => reasons::INVALID_SPEC,
            Self::Secret(error) => error.reason(),
            Self::Api(error) => error.reason(),
            Self::NoClosure(_) => "NoClosure",
            Self::Corrupt(_) => "Corrupt",
            Self::Unreachable { reason, .. }
            | Self::Activation { reason, .. }
            | Self::Failed { reason, .. } => reason,
            Self::Delivery(error) => error.reason(),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Secret(error) => error.class(),
            Self::Api(error) => error.class(),
            // Another key, or a key that is not let in, needs a person; a dead host may come back.
            Self::Unreachable { reason, .. } if needs_a_person(reason) => Class::Stalled,
            Self::Unreachable { .. } | Self::Activation { .. } => Class::Retry,
            Self::Delivery(error) if error.is_transient() => Class::Retry,
            Self::Unsupported { .. }
            | Self::Invalid { .. }
            | Self::NoClosure(_)
            | Self::Corrupt(_)
            | Self::Failed { .. }
            | Self::Delivery(_) => Class::Stalled,
        }
    }
}

fn needs_a_person(reason: &str) -> bool {
    matches!(reason, "HostKeyMismatch" | "AuthFailed" | "BadOutput")
}
