//! What can go wrong with a Service.

use cim_crds::conditions::reasons;

use crate::domain::{nats_class, nats_reason};
use crate::inventory::Unreadable;
use crate::kube::ApiError;
use crate::outcome::{Class, Failure};
use crate::secret::SecretError;

/// What can go wrong with a Service.
#[derive(Debug, thiserror::Error)]
pub enum ServiceFailure {
    /// Objects that name something cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Its roles cannot be placed, or something that it refers to does not exist.
    #[error("{}", .problems.join("; "))]
    Names {
        /// The kind of the first problem.
        reason: &'static str,
        /// Each with its field and remedy.
        problems: Vec<String>,
    },
    /// The account that it names is not declared.
    #[error(
        "spec.nats.account: Domain {domain} has no account {account}; declare it in its spec.nats.accounts"
    )]
    NoAccount {
        /// The Domain.
        domain: String,
        /// The account.
        account: String,
    },
    /// A Secret is missing or wrong.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Kubernetes.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// NATS.
    #[error(transparent)]
    Nats(#[from] cim_nats::Error),
    /// A part of NATS that is told when all parts were looked at.
    #[error("{0}")]
    Told(std::sync::Arc<cim_nats::Error>),
    /// Streams or buckets are somebody else's, or cannot be made.
    #[error("{}", .0.join("; "))]
    Streams(Vec<String>),
}

impl Failure for ServiceFailure {
    fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "UnreadableObjects",
            Self::Names { reason, .. } => reason,
            Self::NoAccount { .. } => reasons::REFERENCE_NOT_FOUND,
            Self::Secret(error) => error.reason(),
            Self::Api(error) => error.reason(),
            Self::Nats(error) => nats_reason(error),
            Self::Told(error) => nats_reason(error),
            Self::Streams(_) => "StreamRefused",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Unreadable(_) => Class::Retry,
            Self::Secret(error) => error.class(),
            Self::Api(error) => error.class(),
            Self::Nats(error) => nats_class(error),
            Self::Told(error) => nats_class(error),
            Self::Names { .. } | Self::NoAccount { .. } | Self::Streams(_) => Class::Stalled,
        }
    }
}
