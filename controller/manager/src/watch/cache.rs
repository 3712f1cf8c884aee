//! What a watch knows, for readers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use kube::api::ObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::watch;

use super::Watched;

/// The objects of one kind, as the API server last told. Clones share them.
#[derive(Clone)]
pub struct Cache<K: Watched> {
    pub(super) store: Store<K>,
    pub(super) unreadable: Unreadable,
    /// Not the store's own signal: that wakes only the last of several who wait for it.
    complete: watch::Receiver<bool>,
}

impl<K: Watched> Cache<K> {
    pub(super) fn new(store: Store<K>, complete: watch::Receiver<bool>) -> Self {
        Self { store, unreadable: Unreadable::default(), complete }
    }

    /// The store that a `Controller` reads from.
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// All objects of a namespace, sorted by name.
    pub fn list(&self, namespace: &str) -> Vec<Arc<K>> {
        let mut objects =
            self.store.state_filter(|object| object.meta().namespace.as_deref() == Some(namespace));
        objects.sort_by_cached_key(|object| object.name_any());
        objects
    }

    /// Objects of a namespace that do not fit their schema. Whoever concludes anything from an
    /// object's absence must first see that there is none.
    pub fn unreadable(&self, namespace: &str) -> Vec<String> {
        let set = self.unreadable.lock();
        set.iter().filter(|(of, _)| of == namespace).map(|(_, name)| name.clone()).collect()
    }

    /// Waits until the first list is complete; `false` when the watch has ended before.
    pub async fn synced(&self) -> bool {
        self.complete.clone().wait_for(|complete| *complete).await.is_ok()
    }
}

/// Namespaces and names of objects that could not be read.
#[derive(Clone, Debug, Default)]
pub(super) struct Unreadable(Arc<Mutex<BTreeSet<(String, String)>>>);

impl Unreadable {
    pub(super) fn insert(&self, metadata: &ObjectMeta) {
        self.lock().insert(key(metadata));
    }

    pub(super) fn remove(&self, metadata: &ObjectMeta) {
        let mut set = self.lock();
        // Nearly always empty: spare the two strings.
        if !set.is_empty() {
            set.remove(&key(metadata));
        }
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(String, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(metadata: &ObjectMeta) -> (String, String) {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}
