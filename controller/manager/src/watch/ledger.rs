//! What was seen of each object, so that an update which changes nothing wakes nobody.

use std::collections::HashMap;
use std::sync::Arc;

use kube::runtime::reflector::ObjectRef;

use super::Watched;

/// What listeners care for in an object, as two hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// What makes the object itself due.
    pub own: u64,
    /// What objects that depend on it read.
    pub dependents: u64,
}

/// One thing worth telling.
#[derive(Clone, Debug)]
pub enum Seen<K> {
    /// New or changed.
    Changed {
        /// As it is now.
        object: Arc<K>,
        /// The object itself is due.
        own: bool,
        /// Something that dependents read has changed.
        dependents: bool,
    },
    /// Deleted, perhaps while nobody watched.
    Gone {
        /// As it was last seen.
        object: Arc<K>,
    },
}

impl<K> Seen<K> {
    /// The object when something that its dependents read has changed, its deletion included.
    pub fn for_dependents(&self) -> Option<&Arc<K>> {
        match self {
            Self::Changed { object, dependents: true, .. } | Self::Gone { object } => Some(object),
            Self::Changed { .. } => None,
        }
    }
}

/// The differences that a complete list brought to light.
pub(super) struct Listing<K: Watched> {
    pub(super) changed: Vec<(ObjectRef<K>, bool, bool)>,
    pub(super) gone: Vec<ObjectRef<K>>,
}

pub(super) struct Ledger<K: Watched> {
    fingerprint: fn(&K) -> Fingerprint,
    known: HashMap<ObjectRef<K>, Fingerprint>,
    listing: HashMap<ObjectRef<K>, Fingerprint>,
}

impl<K: Watched> Ledger<K> {
    pub(super) fn new(fingerprint: fn(&K) -> Fingerprint) -> Self {
        Self { fingerprint, known: HashMap::new(), listing: HashMap::new() }
    }

    /// Notes an object; tells whether its own and its dependents' view have changed.
    pub(super) fn update(&mut self, object: &K) -> (bool, bool) {
        let now = (self.fingerprint)(object);
        let before = self.known.insert(ObjectRef::from_obj(object), now);
        difference(before, now)
    }

    pub(super) fn remove(&mut self, reference: &ObjectRef<K>) {
        self.known.remove(reference);
    }

    pub(super) fn begin(&mut self) {
        self.listing = HashMap::new();
    }

    pub(super) fn list(&mut self, object: &K) {
        self.listing.insert(ObjectRef::from_obj(object), (self.fingerprint)(object));
    }

    /// Makes the listing what is known, and tells how it differs from before.
    pub(super) fn listed(&mut self) -> Listing<K> {
        let mut before = std::mem::replace(&mut self.known, std::mem::take(&mut self.listing));
        let mut changed = Vec::new();
        for (reference, now) in &self.known {
            let (own, dependents) = difference(before.remove(reference), *now);
            if own || dependents {
                changed.push((reference.clone(), own, dependents));
            }
        }
        Listing { changed, gone: before.into_keys().collect() }
    }
}

fn difference(before: Option<Fingerprint>, now: Fingerprint) -> (bool, bool) {
    before
        .map_or((true, true), |before| (before.own != now.own, before.dependents != now.dependents))
}
