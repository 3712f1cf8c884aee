//! What can go wrong with a Machine.

use cim_crds::conditions::reasons;

use crate::kube::ApiError;
use crate::outcome::{Class, Failure};
use crate::secret::SecretError;

/// The reason of a machine without a closure.
const NO_CLOSURE: &str = "NoClosure";

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
        /// Whether it may well succeed at another time.
        passing: bool,
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
    /// Its first system cannot be installed; nothing was changed.
    #[error("its first system cannot be installed: {message}")]
    CannotInstall {
        /// The class.
        reason: &'static str,
        /// What speaks against it, and what to do.
        message: String,
    },
    /// A phase of its first installation failed, and is not tried again by itself.
    #[error(
        "{0}; it is tried again when spec or release change, or when somebody asks (cimctl reconcile \
         --retry)"
    )]
    InstallFailed(String),
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

impl MachineFailure {
    /// The reason of a delivery that failed, as the status remembers it in `text`. Another text was
    /// written by another version.
    pub(super) fn remembered(text: &str) -> &'static str {
        let known = [cim_nixos::Outcome::REASONS, cim_nixos::Error::REASONS, &[NO_CLOSURE]];
        let mut known = known.into_iter().flatten();
        known.find(|known| **known == text).copied().unwrap_or("DeliveryFailed")
    }
}

impl Failure for MachineFailure {
    fn reason(&self) -> &'static str {
        match self {
            Self::Unsupported { .. } => "Unsupported",
            Self::Invalid { .. } => reasons::INVALID_SPEC,
            Self::Secret(error) => error.reason(),
            Self::Api(error) => error.reason(),
            Self::NoClosure(_) => NO_CLOSURE,
            Self::Corrupt(_) => "Corrupt",
            Self::InstallFailed(_) => "InstallFailed",
            Self::Unreachable { reason, .. }
            | Self::CannotInstall { reason, .. }
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
            | Self::CannotInstall { .. }
            | Self::InstallFailed(_)
            | Self::Corrupt(_)
            | Self::Failed { .. }
            | Self::Delivery(_) => Class::Stalled,
        }
    }
}

fn needs_a_person(reason: &str) -> bool {
    matches!(reason, "HostKeyMismatch" | "AuthFailed" | "BadOutput")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_its_reason_when_it_is_remembered() {
        let closure = || "/nix/store/x".to_owned();
        let activation = |outcome: cim_nixos::Outcome| MachineFailure::Activation {
            reason: outcome.reason(),
            closure: closure(),
            outcome: outcome.to_string(),
            passing: outcome.is_passing(),
        };
        let failures = [
            activation(cim_nixos::Outcome::RolledBack),
            activation(cim_nixos::Outcome::Failed { status: 3 }),
            MachineFailure::NoClosure("lost".to_owned()),
            MachineFailure::Delivery(cim_nixos::Error::NixTooOld {
                found: "2.3".to_owned(),
                wants: "2.18",
            }),
            MachineFailure::Delivery(cim_nixos::Error::DiskFull {
                host: "host1".to_owned(),
                what: "copying".to_owned(),
                stderr: "no space".to_owned(),
            }),
        ];
        for failure in failures {
            let again = MachineFailure::Failed {
                reason: MachineFailure::remembered(failure.reason()),
                closure: closure(),
                message: failure.to_string(),
            };
            assert_eq!(again.reason(), failure.reason());
        }
        assert_eq!(MachineFailure::remembered("OfAnotherVersion"), "DeliveryFailed");
    }
}
