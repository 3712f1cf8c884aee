//! What the controller still waits for, by name.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The list of what is missing. Ready when it is empty.
///
/// Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    missing: Arc<Mutex<BTreeSet<String>>>,
}

impl Readiness {
    /// Adds `what` to the missing things.
    pub fn missing(&self, what: impl Into<String>) {
        self.lock().insert(what.into());
    }

    /// Strikes `what` from the list.
    pub fn present(&self, what: &str) {
        self.lock().remove(what);
    }

    /// What is missing now, sorted.
    pub fn report(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        // The set is whole after every operation, so a panic elsewhere cannot have spoilt it.
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
