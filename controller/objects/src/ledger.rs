//! What was found earlier, so that a pass over an unchanged world reads nothing.
//!
//! The caller keeps the ledger between passes, in memory or (it is plain data) anywhere else. Losing
//! it loses no truth: everything is listed and rehashed once more. Nothing is ever dropped on its word
//! alone.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Cid, Entry, Mark, StoreId, Stray, Version};

/// What a rehash found, and of which bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The bytes that were read.
    pub version: Version,
    /// When the pass that read them began.
    pub at: Timestamp,
    /// The finding.
    pub outcome: Outcome,
}

/// The finding of a [`Check`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// They are the object.
    Verified,
    /// They are not, and why.
    Corrupt(String),
}

/// Earlier findings about all stores.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    pub(crate) shelves: BTreeMap<StoreId, Shelf>,
    pub(crate) known: BTreeMap<Cid, Known>,
}

/// Earlier findings about one store.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Shelf {
    /// The fingerprint under which `entries` and `strays` were listed; none before the first time.
    pub(crate) mark: Option<Mark>,
    pub(crate) entries: BTreeMap<Cid, Entry>,
    pub(crate) strays: Vec<Stray>,
    pub(crate) checks: BTreeMap<Cid, Check>,
    pub(crate) unreachable_since: Option<Timestamp>,
}

/// An object that had a verified copy at some time: if it has none now, it is lost, not new.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) size: u64,
    /// Since when there have been more copies than wanted.
    pub(crate) surplus_since: Option<Timestamp>,
}

impl Ledger {
    /// A ledger of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The last check of a copy, if it was of the bytes that were there at the last look.
    pub fn check(&self, cid: &Cid, store: &StoreId) -> Option<&Check> {
        let Shelf { entries, checks, .. } = self.shelves.get(store)?;
        let check = checks.get(cid)?;
        (entries.get(cid)?.version == check.version).then_some(check)
    }

    /// Forgets an object that is meant to be gone: if no store has a copy, it is no longer reported
    /// as lost. An object with copies is found again at the next look.
    pub fn forget(&mut self, cid: &Cid) {
        self.known.remove(cid);
        for shelf in self.shelves.values_mut() {
            shelf.checks.remove(cid);
        }
    }

    /// Notes a copy that was just read or written and found good.
    pub(crate) fn verified(&mut self, store: &StoreId, entry: Entry, at: Timestamp) {
        self.known.entry(entry.cid).or_insert(Known { size: entry.size, surplus_since: None });
        self.note(store, entry, at, Outcome::Verified);
    }

    /// Notes a copy that was just read and found bad.
    pub(crate) fn corrupt(&mut self, store: &StoreId, entry: Entry, at: Timestamp, why: String) {
        self.note(store, entry, at, Outcome::Corrupt(why));
    }

    /// Takes back what was said of a copy that gave other bytes since: it is read again.
    pub(crate) fn suspect(&mut self, store: &StoreId, cid: &Cid) {
        if let Some(shelf) = self.shelves.get_mut(store) {
            shelf.checks.remove(cid);
        }
    }

    /// Notes that a copy is gone.
    pub(crate) fn gone(&mut self, store: &StoreId, cid: &Cid) {
        if let Some(shelf) = self.shelves.get_mut(store) {
            shelf.entries.remove(cid);
            shelf.checks.remove(cid);
        }
    }

    fn note(&mut self, store: &StoreId, entry: Entry, at: Timestamp, outcome: Outcome) {
        let Shelf { entries, checks, .. } = self.shelves.entry(store.clone()).or_default();
        let check = Check { version: entry.version.clone(), at, outcome };
        checks.insert(entry.cid, check);
        entries.insert(entry.cid, entry);
    }
}
