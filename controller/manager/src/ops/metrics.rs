//! What Prometheus sees.
//!
//! Counters and histograms never name an object. The one family that does ([`ObjectSeries`]) can be
//! switched off, and its series go when the object goes.

mod delivery;
mod objects;

use std::time::{Duration, Instant};

use cim_plan::DriftClass;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use delivery::DeliverySeries;
pub use objects::{ObjectKey, ObjectSeries};

/// All series of the process. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    failures: IntCounterVec,
    reconcile_duration: HistogramVec,
    time_to_ready: HistogramVec,
    drift_detected: IntCounterVec,
    corrections: IntCounterVec,
    external_calls: IntCounterVec,
    external_duration: HistogramVec,
    api_writes: IntCounterVec,
    api_requests: IntCounterVec,
    watch_errors: IntCounterVec,
    watch_objects: IntGaugeVec,
    wakes: IntCounterVec,
    events: IntCounterVec,
    leader: IntGauge,
    objects: ObjectSeries,
    deliveries: DeliverySeries,
}

/// Seconds from a fast no-op to an evaluation of a large flake.
const RECONCILE_BUCKETS: &[f64] =
    &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0];

/// Seconds from a record to the installation of a fleet.
const READY_BUCKETS: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0];

impl Metrics {
    /// Registers every family; `object_series` switches the family that names objects.
    #[expect(clippy::too_many_lines, reason = "one entry for each family")]
    pub fn new(object_series: bool) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let metrics = Self {
            reconciles: counter(
                &registry,
                "cim_reconcile_total",
                "Reconciles by kind and result (done, wait, transition, paused, deleted, retry, stalled, panic).",
                &["kind", "result"],
            )?,
            failures: counter(
                &registry,
                "cim_reconcile_failures_total",
                "Failed reconciles by kind and reason, as in the condition Ready.",
                &["kind", "reason"],
            )?,
            reconcile_duration: histogram(
                &registry,
                "cim_reconcile_duration_seconds",
                "Duration of one reconcile.",
                &["kind"],
                RECONCILE_BUCKETS,
            )?,
            time_to_ready: histogram(
                &registry,
                "cim_time_to_ready_seconds",
                "Time from a new or changed spec to Ready.",
                &["kind"],
                READY_BUCKETS,
            )?,
            drift_detected: counter(
                &registry,
                "cim_drift_detected_total",
                "Differences between wanted and observed when first seen, by class.",
                &["kind", "namespace", "class"],
            )?,
            corrections: counter(
                &registry,
                "cim_corrections_total",
                "Changes applied to the outside world.",
                &["kind", "namespace"],
            )?,
            external_calls: counter(
                &registry,
                "cim_external_calls_total",
                "Calls to servers outside Kubernetes by provider, operation and result (ok, error).",
                &["provider", "operation", "result"],
            )?,
            external_duration: histogram(
                &registry,
                "cim_external_call_duration_seconds",
                "Duration of calls to servers outside Kubernetes.",
                &["provider", "operation"],
                RECONCILE_BUCKETS,
            )?,
            api_writes: counter(
                &registry,
                "cim_api_writes_total",
                "Writing requests sent to the Kubernetes API server by method and resource.",
                &["method", "resource"],
            )?,
            api_requests: counter(
                &registry,
                "cim_api_requests_total",
                "Requests sent to the Kubernetes API server by method and status code (0: no answer).",
                &["method", "code"],
            )?,
            watch_errors: counter(
                &registry,
                "cim_watch_errors_total",
                "Failures of watches by kind and reason (watch, invalid).",
                &["kind", "reason"],
            )?,
            watch_objects: gauge(
                &registry,
                "cim_watch_objects",
                "Objects in the cache of a watch by kind and watched namespace (empty: all).",
                &["kind", "watched"],
            )?,
            wakes: counter(
                &registry,
                "cim_wakes_total",
                "Reconciles asked for by another object's change, by kind of the woken object and way (one, all).",
                &["kind", "way"],
            )?,
            events: counter(
                &registry,
                "cim_events_total",
                "Kubernetes Events published by type and result (ok, error).",
                &["type", "result"],
            )?,
            leader: register(
                &registry,
                IntGauge::new("cim_leader", "1 while this process holds the leader Lease.")?,
            )?,
            objects: ObjectSeries::new(&registry, object_series)?,
            deliveries: DeliverySeries::new(&registry, object_series)?,
            registry,
        };
        let build = gauge(
            &metrics.registry,
            "cim_build_info",
            "1; the labels say which build this is.",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        #[cfg(target_os = "linux")]
        metrics
            .registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// All series in Prometheus' text format.
    pub fn encode(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// The series that name objects.
    pub fn objects(&self) -> &ObjectSeries {
        &self.objects
    }

    /// The series of releases on their way.
    pub fn deliveries(&self) -> &DeliverySeries {
        &self.deliveries
    }

    /// Counts one reconcile of `kind` that took `duration` and ended in `result`.
    pub fn reconciled(&self, kind: &'static str, result: &'static str, duration: Duration) {
        self.reconciles.with_label_values(&[kind, result]).inc();
        self.reconcile_duration.with_label_values(&[kind]).observe(duration.as_secs_f64());
    }

    /// Counts one failure of `kind` for `reason`.
    pub fn failed(&self, kind: &'static str, reason: &'static str) {
        self.failures.with_label_values(&[kind, reason]).inc();
    }

    /// An object of `kind` became ready `duration` after its spec was new.
    pub fn became_ready(&self, kind: &'static str, duration: Duration) {
        self.time_to_ready.with_label_values(&[kind]).observe(duration.as_secs_f64());
    }

    /// Counts one difference of `class` that was not there when an object of `kind` in `namespace`
    /// was visited before.
    pub fn drift_detected(&self, kind: &'static str, namespace: &str, class: DriftClass) {
        self.drift_detected.with_label_values(&[kind, namespace, class.as_str()]).inc();
    }

    /// Counts `changes` applied for an object of `kind` in `namespace`.
    pub fn corrected(&self, kind: &'static str, namespace: &str, changes: usize) {
        let changes = u64::try_from(changes).unwrap_or(u64::MAX);
        self.corrections.with_label_values(&[kind, namespace]).inc_by(changes);
    }

    /// Counts one call to `provider` outside Kubernetes; `result` is ok or error.
    pub fn external_call(
        &self,
        provider: &'static str,
        operation: &'static str,
        result: &'static str,
        duration: Duration,
    ) {
        self.external_calls.with_label_values(&[provider, operation, result]).inc();
        self.external_duration
            .with_label_values(&[provider, operation])
            .observe(duration.as_secs_f64());
    }

    /// Waits for a call to `provider` outside Kubernetes, and counts it.
    pub async fn external<T, E>(
        &self,
        provider: &'static str,
        operation: &'static str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let started = Instant::now();
        let answer = call.await;
        let result = if answer.is_ok() { "ok" } else { "error" };
        self.external_call(provider, operation, result, started.elapsed());
        answer
    }

    /// Counts one writing request to the API server.
    pub fn api_write(&self, method: &str, resource: &str) {
        self.api_writes.with_label_values(&[method, resource]).inc();
    }

    /// Counts one request to the API server; `code` 0 means that none was received.
    pub fn api_request(&self, method: &str, code: u16) {
        self.api_requests.with_label_values(&[method, &code.to_string()]).inc();
    }

    /// Counts one failure of the watch on `kind`.
    pub fn watch_error(&self, kind: &'static str, reason: &'static str) {
        self.watch_errors.with_label_values(&[kind, reason]).inc();
    }

    /// The number of cached objects of `kind` in the watched `namespace` (empty: all).
    pub fn watch_objects(&self, kind: &'static str, namespace: &str, objects: usize) {
        let objects = i64::try_from(objects).unwrap_or(i64::MAX);
        self.watch_objects.with_label_values(&[kind, namespace]).set(objects);
    }

    /// Counts one wake of an object of `kind`, or of all of them.
    pub fn woken(&self, kind: &'static str, way: &'static str) {
        self.wakes.with_label_values(&[kind, way]).inc();
    }

    /// Counts one Event sent.
    pub fn event(&self, severity: &'static str, sent: bool) {
        self.events.with_label_values(&[severity, if sent { "ok" } else { "error" }]).inc();
    }

    /// Whether this process holds the Lease.
    pub fn leader(&self, holds: bool) {
        self.leader.set(i64::from(holds));
    }
}

fn counter(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauge(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntGaugeVec> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> prometheus::Result<HistogramVec> {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    register(registry, HistogramVec::new(options, labels)?)
}

fn register<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
