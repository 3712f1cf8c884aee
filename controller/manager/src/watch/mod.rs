//! IN: what the API server tells, kept in caches and passed on as wakes.
//!
//! ```text
//! API server ── watch ──► guard ──► trim ──► cache ──► what changed? ──► sinks: wake this, wake those
//!               own        a bad     managed  plain     compared with     bounded; when full,
//!               backoff    object    fields   store     what was seen     everything is woken once
//!                          is named
//! ```
//!
//! Each watch is a task of its own with its own backoff, so one that fails (no CRD, no right) delays
//! no other. Errors are logged, counted and dropped here; the `Controller` of a kind gets nothing
//! but wakes. Shared reflectors are not used: they stall when an object goes before a subscriber has
//! looked, and do not tell deletions.

mod cache;
mod crds;
mod ledger;
#[cfg(test)]
mod tests;
mod wake;

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::core::NamespaceResourceScope;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::ops::metrics::Metrics;
use crate::ops::readiness::Readiness;
use crate::ops::telemetry::chain;

pub use cache::Cache;
pub use crds::wait_for_crds;
pub use ledger::{Fingerprint, Seen};
pub use wake::{Wake, Wakes, wake};

use ledger::Ledger;

/// What a watch needs of a kind.
pub trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Whoever wants to know of changes. Called on the watch's task: must not block.
pub type Sink<K> = Box<dyn Fn(&Seen<K>) + Send>;

/// One watch on one kind, in one namespace or in all.
pub struct Watch<K: Watched> {
    kind: &'static str,
    /// The namespace that is watched; empty: all.
    watched: String,
    api: Api<DeserializeGuard<K>>,
    writer: reflector::store::Writer<K>,
    cache: Cache<K>,
    complete: tokio::sync::watch::Sender<bool>,
    ledger: Ledger<K>,
    sinks: Vec<Sink<K>>,
    metrics: Metrics,
}

impl<K: Watched> Watch<K> {
    /// A watch of `kind` in `namespace` (all without) that nobody listens to yet.
    ///
    /// `fingerprint` is what listeners care for: an update that leaves it the same wakes nobody.
    pub fn new(
        kind: &'static str,
        client: Client,
        namespace: Option<&str>,
        fingerprint: fn(&K) -> Fingerprint,
        metrics: Metrics,
    ) -> Self {
        let (store, writer) = reflector::store();
        let (complete, completed) = tokio::sync::watch::channel(false);
        let api = match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        Self {
            kind,
            watched: namespace.unwrap_or_default().to_owned(),
            api,
            writer,
            cache: Cache::new(store, completed),
            complete,
            ledger: Ledger::new(fingerprint),
            sinks: Vec::new(),
            metrics,
        }
    }

    /// What the watch knows. Clones share it.
    pub fn cache(&self) -> Cache<K> {
        self.cache.clone()
    }

    /// Adds a listener.
    #[must_use]
    pub fn tell(mut self, sink: impl Fn(&Seen<K>) + Send + 'static) -> Self {
        self.sinks.push(Box::new(sink));
        self
    }

    /// Watches for ever. `readiness` names the watch until its first list is complete.
    pub async fn run(mut self, readiness: Readiness) {
        let place = if self.watched.is_empty() { "all namespaces" } else { &self.watched };
        let missing = format!("watch {} in {place}", K::plural(&()));
        readiness.missing(missing.as_str());
        let events = watcher(self.api.clone(), watcher::Config::default()).default_backoff();
        pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if self.handle(event) {
                        readiness.present(&missing);
                    }
                }
                Err(error) => {
                    self.metrics.watch_error(self.kind, "watch");
                    tracing::warn!(
                        kind = self.kind,
                        error = chain(&error),
                        "watch failed; trying again"
                    );
                }
            }
        }
    }

    /// Takes in one event; `true` when a list is complete.
    fn handle(&mut self, event: Event<DeserializeGuard<K>>) -> bool {
        match event {
            Event::Apply(DeserializeGuard(Ok(object))) => self.apply(object),
            Event::Apply(DeserializeGuard(Err(invalid))) => self.unreadable(&invalid),
            Event::Delete(guard) => self.delete(guard),
            Event::Init => {
                self.cache.unreadable.clear();
                self.ledger.begin();
                self.writer.apply_watcher_event(&Event::Init);
            }
            Event::InitApply(DeserializeGuard(Ok(object))) => self.list(object),
            Event::InitApply(DeserializeGuard(Err(invalid))) => {
                self.unreadable(&invalid);
                // What could be read before is a better guess than absence, which others act upon.
                if let Some(object) = self.cache.store.get(&reference_of(&invalid.metadata)) {
                    self.list(Arc::unwrap_or_clone(object));
                }
            }
            Event::InitDone => {
                self.listed();
                return true;
            }
        }
        false
    }

    fn apply(&mut self, mut object: K) {
        trim(&mut object);
        self.cache.unreadable.remove(object.meta());
        let (own, dependents) = self.ledger.update(&object);
        let object = self.store(&Event::Apply(object));
        self.count();
        if let Some(object) = object.filter(|_| own || dependents) {
            self.send(&Seen::Changed { object, own, dependents });
        }
    }

    fn delete(&mut self, guard: DeserializeGuard<K>) {
        self.cache.unreadable.remove(guard.meta());
        let reference = reference_of::<K>(guard.meta());
        self.ledger.remove(&reference);
        let known = self.cache.store.get(&reference);
        let Some(object) = known.or_else(|| guard.0.ok().map(Arc::new)) else { return };
        self.store(&Event::Delete(K::clone(&object)));
        self.count();
        self.send(&Seen::Gone { object });
    }

    fn list(&mut self, mut object: K) {
        trim(&mut object);
        self.ledger.list(&object);
        self.writer.apply_watcher_event(&Event::InitApply(object));
    }

    /// The list is complete: objects that it lacks were deleted while nobody watched.
    fn listed(&mut self) {
        let listing = self.ledger.listed();
        let gone: Vec<Arc<K>> =
            listing.gone.iter().filter_map(|reference| self.cache.store.get(reference)).collect();
        self.writer.apply_watcher_event(&Event::InitDone);
        self.complete.send_replace(true);
        self.count();
        for (reference, own, dependents) in listing.changed {
            if let Some(object) = self.cache.store.get(&reference) {
                self.send(&Seen::Changed { object, own, dependents });
            }
        }
        for object in gone {
            self.send(&Seen::Gone { object });
        }
    }

    fn unreadable(&self, invalid: &InvalidObject) {
        self.metrics.watch_error(self.kind, "invalid");
        self.cache.unreadable.insert(&invalid.metadata);
        tracing::error!(
            kind = self.kind,
            namespace = invalid.metadata.namespace,
            name = invalid.metadata.name,
            error = invalid.error,
            "this object does not fit its schema; what was read of it before stays in force"
        );
    }

    fn store(&mut self, event: &Event<K>) -> Option<Arc<K>> {
        self.writer.apply_watcher_event(event);
        match event {
            Event::Apply(object) => self.cache.store.get(&ObjectRef::from_obj(object)),
            _ => None,
        }
    }

    fn count(&self) {
        self.metrics.watch_objects(self.kind, &self.watched, self.cache.store.len());
    }

    fn send(&self, seen: &Seen<K>) {
        for sink in &self.sinks {
            sink(seen);
        }
    }
}

/// Half of an object is bookkeeping of field managers that nobody here reads.
fn trim<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
}

fn reference_of<K: Watched>(metadata: &ObjectMeta) -> ObjectRef<K> {
    let reference = ObjectRef::new(metadata.name.as_deref().unwrap_or_default());
    match &metadata.namespace {
        Some(namespace) => reference.within(namespace),
        None => reference,
    }
}

/// A hash of `value`, for fingerprints. Stable within a process, which is all they need.
pub fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
