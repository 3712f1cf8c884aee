//! What can go wrong with a Domain.

use std::sync::Arc;

use cim_crds::conditions::reasons;

use crate::inventory::Unreadable;
use crate::kube::ApiError;
use crate::outcome::{Class, Failure};
use crate::secret::SecretError;

/// What can go wrong with a Domain.
#[derive(Debug, thiserror::Error)]
pub enum DomainFailure {
    /// Objects that name something cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Some names, or their records, are refused.
    #[error("{}", listed(.problems))]
    Names {
        /// The kind of the first problem.
        reason: &'static str,
        /// Each with its object, field and remedy.
        problems: Vec<String>,
    },
    /// A Secret is missing or wrong.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Kubernetes.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// What is ours in a zone is not known.
    #[error("ConfigMap {name}: {why}; delete it to start with a ledger in which nothing is ours")]
    Ledger {
        /// The ConfigMap.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A zone.
    #[error("zone {zone}: {source}")]
    Zone {
        /// Its apex.
        zone: String,
        /// What is wrong.
        #[source]
        source: Box<cim_dns::Error>,
    },
    /// A server did not make changes that were sent to it.
    #[error("zone {zone}: the server did not make {} changes: {}", .changes.len(), listed(.changes))]
    NotMade {
        /// Its apex.
        zone: String,
        /// Each with the server's answer.
        changes: Vec<String>,
    },
    /// Wanted records are somebody else's.
    #[error("zone {zone}: {}", listed(.conflicts))]
    Conflicts {
        /// Its apex.
        zone: String,
        /// Each with its remedy.
        conflicts: Vec<String>,
    },
    /// Deletions wait for a person.
    #[error(
        "zone {zone}: {why}; to let these deletions go on, annotate the Domain with cim.dev/confirm={hash}"
    )]
    DeletionHeld {
        /// Its apex.
        zone: String,
        /// Why.
        why: String,
        /// Their hash.
        hash: String,
    },
    /// NATS.
    #[error(transparent)]
    Nats(#[from] cim_nats::Error),
    /// The servers do not trust the operator's key.
    #[error(
        "the NATS servers do not trust the operator key {0}; start them with the operator JWT of the Secret"
    )]
    NotTrusted(String),
    /// Some accounts cannot be compiled, or were refused by a server.
    #[error("{}", listed(.0))]
    Accounts(Vec<String>),
    /// Several parts.
    #[error("{}", listed(.0))]
    Parts(Vec<Arc<DomainFailure>>),
}

impl DomainFailure {
    /// One failure of many; `None` when there are none. Those that need a person come first.
    pub(super) fn of_parts(mut parts: Vec<Arc<Self>>) -> Option<Self> {
        parts.sort_by_key(|part| part.class() != Class::Stalled);
        (!parts.is_empty()).then_some(Self::Parts(parts))
    }
}

impl Failure for DomainFailure {
    fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "UnreadableObjects",
            Self::Names { reason, .. } => reason,
            Self::Secret(error) => error.reason(),
            Self::Api(error) => error.reason(),
            Self::Ledger { .. } => "InvalidLedger",
            Self::Zone { source, .. } => source.reason(),
            Self::NotMade { .. } => "UpdateRefused",
            Self::Conflicts { .. } => "RecordConflict",
            Self::DeletionHeld { .. } => "DeletionHeld",
            Self::Nats(error) => nats_reason(error),
            Self::NotTrusted(_) => "OperatorNotTrusted",
            Self::Accounts(_) => "AccountRefused",
            Self::Parts(parts) => parts.first().map_or("Failed", |part| part.reason()),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Secret(error) => error.class(),
            Self::Api(error) => error.class(),
            Self::Zone { source, .. } => zone_class(source),
            Self::Nats(error) => nats_class(error),
            Self::Unreadable(_) | Self::NotMade { .. } => Class::Retry,
            Self::Names { .. }
            | Self::Ledger { .. }
            | Self::Conflicts { .. }
            | Self::DeletionHeld { .. }
            | Self::NotTrusted(_)
            | Self::Accounts(_) => Class::Stalled,
            Self::Parts(parts) => parts.first().map_or(Class::Retry, |part| Self::class(part)),
        }
    }
}

fn zone_class(error: &cim_dns::Error) -> Class {
    use cim_dns::Error;
    match error {
        Error::Connect { .. }
        | Error::Io { .. }
        | Error::Timeout { .. }
        | Error::Malformed { .. }
        | Error::Incomplete { .. }
        // The server may be loading the zone, and clocks get set.
        | Error::NotAuthoritative { .. }
        | Error::Tsig { failure: cim_dns::TsigFailure::BadTime { .. }, .. } => Class::Retry,
        _ => Class::Stalled,
    }
}

/// The reason for an error of NATS.
pub fn nats_reason(error: &cim_nats::Error) -> &'static str {
    use cim_nats::Error;
    match error {
        Error::Key { .. } | Error::Seed { .. } | Error::Token { .. } | Error::Bundle { .. } => {
            "InvalidSecret"
        }
        Error::Unreachable { why, .. } if refused(why) => reasons::AUTHENTICATION_FAILED,
        Error::Unreachable { .. } | Error::Request { .. } => reasons::UNREACHABLE,
        _ => reasons::INVALID_SPEC,
    }
}

/// What an error of NATS asks for.
pub fn nats_class(error: &cim_nats::Error) -> Class {
    use cim_nats::Error;
    match error {
        Error::Unreachable { why, .. } if refused(why) => Class::Stalled,
        Error::Unreachable { .. } | Error::Request { .. } => Class::Retry,
        _ => Class::Stalled,
    }
}

/// The server answers so when it does not accept the credentials.
fn refused(why: &str) -> bool {
    why.to_ascii_lowercase().contains("authorization violation")
}

/// The first few of `what`, and how many more there are.
fn listed(what: &[impl ToString]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = what.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = what.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{more}", shown.join("; "))
}
