//! The world as one pass found it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{Attributes, Cid, Entry, StoreId, Stray, Version};

/// What [`crate::observe()`] found, and what [`crate::plan()`] decides by.
#[derive(Clone, Debug)]
pub struct Observed {
    /// When the pass began.
    pub at: Timestamp,
    /// The state of each declared store.
    pub stores: BTreeMap<StoreId, StoreState>,
    /// Each selected object.
    pub objects: BTreeMap<Cid, Object>,
    /// What else lies in the stores that could be listed.
    pub strays: BTreeMap<StoreId, Vec<Stray>>,
}

/// The state of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It was listed to the end.
    Ready {
        /// Bytes in use.
        used: u64,
        /// Bytes left, where it is limited.
        free: Option<u64>,
    },
    /// It does not exist and can be created.
    Absent,
    /// It could not be listed: what it holds is unknown.
    Unreachable {
        /// What went wrong.
        why: String,
        /// Since when.
        since: Timestamp,
    },
}

/// One object and its copies.
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// Its bytes, as its copies declare them.
    pub size: u64,
    /// What its copies say about it.
    pub attributes: Attributes,
    /// The copies found, by store. A ready store that is not listed here has none.
    pub copies: BTreeMap<StoreId, Copy>,
    /// Since when there have been more verified copies than wanted.
    pub surplus_since: Option<Timestamp>,
    /// Whether it ever had a verified copy.
    pub known: bool,
}

/// One copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copy {
    /// Rehashed, within the age limit, and unchanged since.
    Verified {
        /// The bytes that were read.
        version: Version,
        /// When.
        at: Timestamp,
    },
    /// There, and not (yet, or no longer) known to be good: it counts neither as a copy nor as a gap.
    Unverified {
        /// Why not.
        why: String,
    },
    /// Rehashed, and not the object.
    Corrupt {
        /// The copy.
        entry: Entry,
        /// What is wrong with it.
        why: String,
    },
    /// Its store is unreachable and may hold it.
    Presumed,
}
