//! What can go wrong, with the place it went wrong in.

use std::fmt::Display;
use std::time::Duration;

use crate::{Cid, Mismatch, StoreId};

/// Everything that this crate refuses or fails at. Waiting and drift are not errors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text that is no CID.
    #[error("{text:?} is not a CID: {why}; write it as ipfs prints it, like bafkrei…")]
    Cid {
        /// What was given, at most 80 characters of it.
        text: String,
        /// Why it was refused.
        why: String,
    },
    /// A CID whose bytes cannot be checked here. Such copies stay unverified and untouched.
    #[error("{cid} cannot be verified: it uses {what}, and only {want} is supported")]
    Unsupported {
        /// The object.
        cid: Cid,
        /// Its hash function or codec.
        what: String,
        /// Those that are supported.
        want: &'static str,
    },
    /// A setting that contradicts itself or is out of range.
    #[error("{field} is {got}: {want}")]
    Setting {
        /// The setting, as the user wrote it.
        field: String,
        /// Its value.
        got: String,
        /// What is accepted.
        want: String,
    },
    /// Bytes that are not those which their CID names.
    #[error("{cid} was expected: {mismatch}", cid = .0.expected, mismatch = .0)]
    Mismatch(Box<Mismatch>),
    /// A store that failed or could not be reached: the truth about its copies is unknown.
    #[error("store {store}: {action}: {why}")]
    Store {
        /// The store.
        store: StoreId,
        /// What was being done.
        action: &'static str,
        /// What the server or the connection said.
        why: String,
    },
    /// A store did not answer in time: the truth about its copies is unknown.
    #[error(
        "store {store}: {action}: no answer within {after:?}; its server is down or cut off, or the \
         user may not ask"
    )]
    Deadline {
        /// The store.
        store: StoreId,
        /// What was being done.
        action: &'static str,
        /// The time it was given.
        after: Duration,
    },
    /// Somebody else changed the object in between; look again.
    #[error("store {store}: {cid} was changed by somebody else while it was written")]
    Conflict {
        /// The store.
        store: StoreId,
        /// The object.
        cid: Cid,
    },
    /// A copy that is being dropped, or kept for a drop, by another controller.
    #[error("store {store}: {cid} is locked by {by}")]
    Locked {
        /// The store.
        store: StoreId,
        /// The object.
        cid: Cid,
        /// Who holds the lock, and until when.
        by: String,
    },
    /// A deletion that could not be proved safe. Nothing was deleted.
    #[error("{cid} stays in {store}: {why}")]
    Unsafe {
        /// The store whose copy was to go.
        store: StoreId,
        /// The object.
        cid: Cid,
        /// Which part of the proof is missing.
        why: String,
    },
    /// A step that refers to a store which the caller did not pass.
    #[error("there is no store {0}")]
    NoStore(StoreId),
    /// An object that is not where it was a moment ago.
    #[error("store {store}: {cid} is not there")]
    Absent {
        /// The store.
        store: StoreId,
        /// The object.
        cid: Cid,
    },
}

impl Error {
    pub(crate) fn cid(text: &str, why: impl Into<String>) -> Self {
        Self::Cid { text: text.chars().take(80).collect(), why: why.into() }
    }

    pub(crate) fn setting(
        field: impl Into<String>,
        got: impl Into<String>,
        want: impl Into<String>,
    ) -> Self {
        Self::Setting { field: field.into(), got: got.into(), want: want.into() }
    }

    pub(crate) fn store(store: &StoreId, action: &'static str, why: &dyn Display) -> Self {
        Self::Store { store: store.clone(), action, why: why.to_string() }
    }

    /// The store that failed, if one did.
    pub(crate) const fn place(&self) -> Option<&StoreId> {
        match self {
            Self::Store { store, .. }
            | Self::Deadline { store, .. }
            | Self::Conflict { store, .. }
            | Self::Locked { store, .. }
            | Self::Unsafe { store, .. }
            | Self::NoStore(store)
            | Self::Absent { store, .. } => Some(store),
            Self::Cid { .. }
            | Self::Unsupported { .. }
            | Self::Setting { .. }
            | Self::Mismatch(_) => None,
        }
    }

    /// A short stable name of the variant, for metric labels and condition reasons.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Cid { .. } => "BadCid",
            Self::Unsupported { .. } => "UnsupportedCid",
            Self::Setting { .. } => "BadSetting",
            Self::Mismatch(..) => "Mismatch",
            Self::Store { .. } => "StoreFailed",
            Self::Deadline { .. } => "StoreTimeout",
            Self::Conflict { .. } => "Conflict",
            Self::Locked { .. } => "Locked",
            Self::Unsafe { .. } => "UnsafeDrop",
            Self::NoStore(_) => "NoStore",
            Self::Absent { .. } => "Absent",
        }
    }
}

impl From<Box<Mismatch>> for Error {
    fn from(mismatch: Box<Mismatch>) -> Self {
        Self::Mismatch(mismatch)
    }
}
