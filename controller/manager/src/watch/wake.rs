//! Bounded wakes: "look at this object again".

use futures::Stream;
use futures::stream::poll_fn;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;

use super::Watched;
use crate::ops::metrics::Metrics;

/// Wakes in flight, per kind, before they are replaced by one wake of everything.
const CAPACITY: usize = 1024;

/// The sending end: wakes objects of kind `K`. Never blocks, never grows, never loses a wake.
pub struct Wake<K: Watched> {
    one: mpsc::Sender<ObjectRef<K>>,
    all: mpsc::Sender<()>,
    kind: &'static str,
    metrics: Metrics,
}

impl<K: Watched> Clone for Wake<K> {
    fn clone(&self) -> Self {
        Self {
            one: self.one.clone(),
            all: self.all.clone(),
            kind: self.kind,
            metrics: self.metrics.clone(),
        }
    }
}

/// The receiving ends, for `Controller::reconcile_on` and `reconcile_all_on`.
pub struct Wakes<K: Watched> {
    one: mpsc::Receiver<ObjectRef<K>>,
    all: mpsc::Receiver<()>,
}

impl<K: Watched> Wakes<K> {
    /// Wakes of single objects, and wakes of everything in the cache.
    pub fn streams(
        self,
    ) -> (impl Stream<Item = ObjectRef<K>> + Send, impl Stream<Item = ()> + Send) {
        let Self { mut one, mut all } = self;
        (
            poll_fn(move |context| one.poll_recv(context)),
            poll_fn(move |context| all.poll_recv(context)),
        )
    }
}

/// A channel of wakes for objects of `kind`.
pub fn wake<K: Watched>(kind: &'static str, metrics: Metrics) -> (Wake<K>, Wakes<K>) {
    with_capacity(kind, metrics, CAPACITY)
}

fn with_capacity<K: Watched>(
    kind: &'static str,
    metrics: Metrics,
    capacity: usize,
) -> (Wake<K>, Wakes<K>) {
    let (one, one_receiver) = mpsc::channel(capacity);
    let (all, all_receiver) = mpsc::channel(1);
    (Wake { one, all, kind, metrics }, Wakes { one: one_receiver, all: all_receiver })
}

impl<K: Watched> Wake<K> {
    /// Wakes one object; when too many wakes are in flight, all of them.
    pub fn one(&self, object: ObjectRef<K>) {
        match self.one.try_send(object) {
            Ok(()) => self.metrics.woken(self.kind, "one"),
            Err(_) => self.all(),
        }
    }

    /// Wakes one object by its names.
    pub fn named(&self, namespace: &str, name: &str) {
        self.one(ObjectRef::new(name).within(namespace));
    }

    /// Wakes everything. Further calls are one with this until it was taken up.
    pub fn all(&self) {
        self.metrics.woken(self.kind, "all");
        // Full means that such a wake is waiting already; closed, that the process is stopping.
        let _ = self.all.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, pin_mut};
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[test]
    fn a_full_channel_becomes_one_wake_of_everything() {
        let metrics = Metrics::new(false).expect("metrics");
        let (wake, wakes) = with_capacity::<ConfigMap>("ConfigMap", metrics, 4);
        let (one, all) = wakes.streams();
        pin_mut!(one, all);
        for number in 0..100 {
            wake.named("home", &number.to_string());
        }
        for number in 0..4 {
            let woken = one.next().now_or_never().flatten().expect("a single wake");
            assert_eq!(woken.name, number.to_string());
        }
        assert!(one.next().now_or_never().is_none());
        assert!(all.next().now_or_never().is_some());
        assert!(all.next().now_or_never().is_none());
        // Room again: single wakes again.
        wake.named("home", "later");
        assert!(one.next().now_or_never().is_some());
        assert!(all.next().now_or_never().is_none());
    }
}
