//! What `apply` can do.

use std::fmt::{self, Display};

use serde::Serialize;

use crate::{Cid, StoreId, Stray, Version};

/// One effect on the stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Change {
    /// Create a declared store that does not exist.
    CreateStore {
        /// The store.
        store: StoreId,
    },
    /// Make a copy where there is none, and read it back.
    Copy {
        /// The object.
        cid: Cid,
        /// Its bytes.
        bytes: u64,
        /// Where verified copies are, in the order in which to try them.
        from: Vec<StoreId>,
        /// Where the new copy goes.
        to: StoreId,
    },
    /// Put a good copy in the place of a corrupt one, which is moved aside, and read it back.
    Repair {
        /// The object.
        cid: Cid,
        /// Its bytes.
        bytes: u64,
        /// Where verified copies are, in the order in which to try them.
        from: Vec<StoreId>,
        /// Where the corrupt copy is.
        to: StoreId,
        /// The bytes that were found corrupt; others are not touched.
        bad: Version,
    },
    /// Remove one copy too many, once it is proved that the others are enough.
    Trim {
        /// The object.
        cid: Cid,
        /// Its bytes.
        bytes: u64,
        /// Whose copy goes.
        store: StoreId,
        /// The bytes that go; others are not touched.
        version: Version,
        /// Where the copies that stay are.
        keep: Vec<StoreId>,
        /// How many of those must be verified and locked.
        need: usize,
    },
    /// Remove the leftovers of a repair or of an interrupted copy, under the same proof.
    Expunge {
        /// The object that they were a copy of.
        cid: Cid,
        /// Where they are.
        store: StoreId,
        /// What they are.
        stray: Stray,
        /// Where the object's copies are.
        keep: Vec<StoreId>,
        /// How many of those must be verified and locked.
        need: usize,
    },
}

impl Change {
    /// The object concerned, if it is one.
    pub fn cid(&self) -> Option<&Cid> {
        match self {
            Self::CreateStore { .. } => None,
            Self::Copy { cid, .. }
            | Self::Repair { cid, .. }
            | Self::Trim { cid, .. }
            | Self::Expunge { cid, .. } => Some(cid),
        }
    }

    /// The store that is written.
    pub fn store(&self) -> &StoreId {
        match self {
            Self::CreateStore { store }
            | Self::Trim { store, .. }
            | Self::Expunge { store, .. } => store,
            Self::Copy { to, .. } | Self::Repair { to, .. } => to,
        }
    }

    /// Whether it removes bytes.
    pub fn is_removal(&self) -> bool {
        matches!(self, Self::Trim { .. } | Self::Expunge { .. })
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateStore { store } => write!(f, "create store {store}"),
            Self::Copy { cid, bytes, from, to } => {
                write!(f, "copy {cid} ({bytes} bytes) to {to} from {}", list(from))
            }
            Self::Repair { cid, bytes, from, to, .. } => {
                write!(f, "repair {cid} ({bytes} bytes) in {to} from {}", list(from))
            }
            Self::Trim { cid, store, keep, .. } => {
                write!(f, "trim {cid} in {store}, keeping {}", list(keep))
            }
            Self::Expunge { cid, store, stray, .. } => {
                write!(f, "expunge leftovers {} of {cid} in {store}", stray.id)
            }
        }
    }
}

pub(super) fn list(stores: &[StoreId]) -> String {
    stores.iter().map(StoreId::as_str).collect::<Vec<_>>().join(", ")
}
