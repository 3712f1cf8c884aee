//! What is remembered of each object between visits. All of it may be lost.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Names an object of one kind.
pub(super) type Name = (String, String);

/// What is remembered of the objects of one kind, whose status is `S`.
#[derive(Debug)]
pub(super) struct Memory<S>(Mutex<HashMap<Name, Entry<S>>>);

/// What is remembered of one object.
#[derive(Clone, Debug)]
pub(super) struct Entry<S> {
    uid: Option<String>,
    /// What a person asked for last; a new wish starts the backoff anew.
    wish: u64,
    /// Since when the present wish is known.
    pub since: Instant,
    /// Failures in a row.
    pub failures: u32,
    /// Since when nothing was seen of the outside.
    pub blind_since: Option<Instant>,
    /// What we wrote last, and the resourceVersion that it got: the cache may lag behind.
    pub written: Option<(u64, S)>,
    /// Differences seen at the last visit, so that only new ones are counted.
    pub findings: HashSet<u64>,
    /// Whether the last visit ended ready.
    pub ready: bool,
}

impl<S> Default for Memory<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Clone> Memory<S> {
    /// The entry of `name`. Another uid is another object; another `wish` forgets the failures.
    pub(super) fn visit(&self, name: &Name, uid: Option<&str>, wish: u64) -> Entry<S> {
        let mut entries = self.lock();
        let entry = entries.get(name).filter(|entry| entry.uid.as_deref() == uid);
        let mut entry = entry.cloned().unwrap_or_else(|| Entry {
            uid: uid.map(str::to_owned),
            wish,
            since: Instant::now(),
            failures: 0,
            blind_since: None,
            written: None,
            findings: HashSet::new(),
            ready: false,
        });
        if entry.wish != wish {
            entry.wish = wish;
            entry.since = Instant::now();
            entry.failures = 0;
        }
        entries.insert(name.clone(), entry.clone());
        entry
    }

    /// Remembers `entry`; `false` when the object was forgotten or replaced meanwhile.
    pub(super) fn keep(&self, name: &Name, entry: Entry<S>) -> bool {
        let mut entries = self.lock();
        let present = entries.get_mut(name).filter(|present| present.uid == entry.uid);
        present.map(|present| *present = entry).is_some()
    }

    /// The object is gone.
    pub(super) fn forget(&self, name: &Name) {
        self.lock().remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Entry<S>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Entry<S> {
    /// Notes whether the outside was seen; tells whether it has been out of sight for `grace`.
    pub(super) fn sighted(&mut self, seen: bool, grace: Duration) -> bool {
        if seen {
            self.blind_since = None;
            return false;
        }
        self.blind_since.get_or_insert_with(Instant::now).elapsed() >= grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_wish_forgets_failures_and_a_new_object_everything() {
        let memory = Memory::<u8>::default();
        let name: Name = ("home".into(), "a".into());
        let mut entry = memory.visit(&name, Some("1"), 7);
        entry.failures = 3;
        entry.written = Some((5, 9));
        assert!(memory.keep(&name, entry));
        assert_eq!(memory.visit(&name, Some("1"), 7).failures, 3);
        let entry = memory.visit(&name, Some("1"), 8);
        assert_eq!((entry.failures, entry.written), (0, Some((5, 9))));
        assert_eq!(memory.visit(&name, Some("2"), 8).written, None);
        // A visit that ends after its object was replaced leaves no trace.
        let mut late = memory.visit(&name, Some("2"), 8);
        memory.visit(&name, Some("3"), 8);
        late.failures = 9;
        assert!(!memory.keep(&name, late));
        assert_eq!(memory.visit(&name, Some("3"), 8).failures, 0);
    }
}
