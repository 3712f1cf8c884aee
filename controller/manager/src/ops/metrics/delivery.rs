//! Releases on their way to machines: evaluations, builds, deliveries, rollouts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cim_crds::cluster::rollout_status::RolloutStatus;
use cim_crds::machine::system::SystemState;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Registry};

use super::objects::ObjectKey;
use super::{RECONCILE_BUCKETS, counter, gauge, register};

/// Bytes from a small flake to the bound of one evaluator.
const MEMORY_BUCKETS: &[f64] = &[
    67_108_864.0,
    134_217_728.0,
    268_435_456.0,
    536_870_912.0,
    1_073_741_824.0,
    2_147_483_648.0,
    4_294_967_296.0,
    8_589_934_592.0,
];

/// The labels of an object whose kind the series' name tells.
const OBJECT: [&str; 2] = ["namespace", "name"];

/// What is counted on the way of a release, and the rollouts by Cluster.
#[derive(Clone, Debug)]
pub struct DeliverySeries {
    evaluations: IntCounterVec,
    evaluation_duration: Histogram,
    evaluation_memory: Histogram,
    builds: IntCounterVec,
    deliveries: IntCounterVec,
    /// Whether those below, which name objects, are told.
    enabled: bool,
    machines: IntGaugeVec,
    wave: IntGaugeVec,
    waves: IntGaugeVec,
    started: IntGaugeVec,
    settled: IntGaugeVec,
    phase: States,
    approval_waiting: IntGaugeVec,
    machine_state: States,
}

/// Says of each object in which of several states it is, by the one series of that state.
#[derive(Clone, Debug)]
struct States {
    series: IntGaugeVec,
    known: Arc<Mutex<BTreeMap<ObjectKey, String>>>,
}

impl States {
    fn new(registry: &Registry, name: &str, help: &str, label: &str) -> prometheus::Result<Self> {
        let series = gauge(registry, name, help, &[OBJECT[0], OBJECT[1], label])?;
        Ok(Self { series, known: Arc::default() })
    }

    /// `None`: it has none any more.
    fn set(&self, object: &ObjectKey, state: Option<String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match &state {
            Some(state) => known.insert(object.clone(), state.clone()),
            None => known.remove(object),
        };
        let labels =
            |state: &str| [object.namespace.clone(), object.name.clone(), state.to_owned()];
        if let Some(before) = before.filter(|before| Some(before) != state.as_ref()) {
            drop(self.series.remove_label_values(&labels(&before)));
        }
        if let Some(state) = state {
            self.series.with_label_values(&labels(&state)).set(1);
        }
    }
}

impl DeliverySeries {
    pub(super) fn new(registry: &Registry, enabled: bool) -> prometheus::Result<Self> {
        let of_object = |name: &str, help: &str| gauge(registry, name, help, &OBJECT);
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            register(registry, Histogram::with_opts(options)?)
        };
        Ok(Self {
            evaluations: counter(
                registry,
                "cim_evaluations_total",
                "Evaluations of a release by result (ok, incomplete, or the reason of the failure).",
                &["result"],
            )?,
            evaluation_duration: histogram(
                "cim_evaluation_duration_seconds",
                "Duration of one evaluation, for all machines of a Cluster.",
                RECONCILE_BUCKETS,
            )?,
            evaluation_memory: histogram(
                "cim_evaluation_peak_memory_bytes",
                "The most memory that one evaluator of an evaluation had.",
                MEMORY_BUCKETS,
            )?,
            builds: counter(
                registry,
                "cim_builds_total",
                "Closures that were to be built and signed, by result (ok, or the reason of the failure).",
                &["result"],
            )?,
            deliveries: counter(
                registry,
                "cim_deliveries_total",
                "Steps of deliveries by step (ahead, copy, activate, confirm, revert, reboot, wait) and outcome (ok, or the reason of the failure).",
                &["step", "outcome"],
            )?,
            enabled,
            machines: gauge(
                registry,
                "cim_rollout_machines",
                "Machines of a Cluster's rollout by state (wanted, done, failed).",
                &["namespace", "name", "state"],
            )?,
            wave: of_object(
                "cim_rollout_wave",
                "The wave that a Cluster's rollout is in, counted from 1.",
            )?,
            waves: of_object("cim_rollout_waves", "How many waves a Cluster's rollout has.")?,
            started: of_object(
                "cim_rollout_started_timestamp_seconds",
                "Unix time at which a Cluster's rollout began.",
            )?,
            settled: of_object(
                "cim_rollout_settled_timestamp_seconds",
                "Unix time since which a Cluster's rollout has been complete or aborted; absent while it goes on.",
            )?,
            phase: States::new(
                registry,
                "cim_rollout_phase",
                "1 for the phase that a Cluster's rollout is in; other phases are absent.",
                "phase",
            )?,
            approval_waiting: of_object(
                "cim_approval_waiting",
                "1 while the sending Cluster is complete with a release that nobody has approved for this one.",
            )?,
            machine_state: States::new(
                registry,
                "cim_machine_state",
                "1 for the state that a Machine's system is in; other states are absent.",
                "state",
            )?,
        })
    }

    /// Counts one evaluation; `result` is ok, incomplete or the reason of a failure.
    pub fn evaluated(&self, result: &'static str, duration: Duration, peak_memory: Option<u64>) {
        self.evaluations.with_label_values(&[result]).inc();
        self.evaluation_duration.observe(duration.as_secs_f64());
        if let Some(bytes) = peak_memory {
            #[expect(clippy::cast_precision_loss, reason = "exact up to 8 PiB")]
            self.evaluation_memory.observe(bytes as f64);
        }
    }

    /// Counts one closure that was to be built and signed.
    pub fn built(&self, result: &'static str) {
        self.builds.with_label_values(&[result]).inc();
    }

    /// Counts one step of a delivery.
    pub fn delivered(&self, step: &'static str, outcome: &'static str) {
        self.deliveries.with_label_values(&[step, outcome]).inc();
    }

    /// Shows the rollout of a Cluster; `None`: it has none.
    pub fn rollout(&self, cluster: &ObjectKey, rollout: Option<&RolloutStatus>) {
        if !self.enabled {
            return;
        }
        let Some(rollout) = rollout else { return self.no_rollout(cluster) };
        let labels = [cluster.namespace.as_str(), cluster.name.as_str()];
        let failed = i64::try_from(rollout.failed.len()).unwrap_or(i64::MAX);
        let counted = [rollout.total.into(), rollout.updated.into(), failed];
        for (state, count) in STATES.into_iter().zip(counted) {
            self.machines.with_label_values(&[labels[0], labels[1], state]).set(count);
        }
        let waves = i64::from(rollout.waves);
        self.wave.with_label_values(&labels).set((i64::from(rollout.wave) + 1).min(waves));
        self.waves.with_label_values(&labels).set(waves);
        for (series, time) in [(&self.started, &rollout.started), (&self.settled, &rollout.settled)]
        {
            match time {
                Some(Time(time)) => series.with_label_values(&labels).set(time.as_second()),
                // Removing what is not there is an error that says nothing new.
                None => drop(series.remove_label_values(&labels)),
            }
        }
        self.phase.set(cluster, Some(format!("{:?}", rollout.phase)));
    }

    /// Shows whether an approval is waited for.
    pub fn approval_waiting(&self, cluster: &ObjectKey, waits: bool) {
        if self.enabled {
            let labels = [&cluster.namespace, &cluster.name];
            self.approval_waiting.with_label_values(&labels).set(i64::from(waits));
        }
    }

    /// Shows the state of a Machine's system; `None`: it was not seen.
    pub fn machine(&self, machine: &ObjectKey, state: Option<SystemState>) {
        if self.enabled {
            self.machine_state.set(machine, state.map(|state| format!("{state:?}")));
        }
    }

    /// The object is gone, and so are its series.
    pub fn forget(&self, object: &ObjectKey) {
        self.machine_state.set(object, None);
        self.no_rollout(object);
        drop(self.approval_waiting.remove_label_values(&[&object.namespace, &object.name]));
    }

    fn no_rollout(&self, cluster: &ObjectKey) {
        let labels = [cluster.namespace.as_str(), cluster.name.as_str()];
        for state in STATES {
            drop(self.machines.remove_label_values(&[labels[0], labels[1], state]));
        }
        for series in [&self.wave, &self.waves, &self.started, &self.settled] {
            drop(series.remove_label_values(&labels));
        }
        self.phase.set(cluster, None);
    }
}

const STATES: [&str; 3] = ["wanted", "done", "failed"];

#[cfg(test)]
mod tests {
    use cim_crds::cluster::rollout_status::RolloutPhase;
    use jiff::Timestamp;

    use super::super::Metrics;
    use super::*;

    fn key(kind: &'static str, name: &str) -> ObjectKey {
        ObjectKey { kind, namespace: "home".to_owned(), name: name.to_owned() }
    }

    fn lines(metrics: &Metrics) -> Vec<String> {
        let text = metrics.encode().expect("encoded");
        let ours = text.lines().filter(|line| line.contains("name=\"core\""));
        ours.map(str::to_owned).collect()
    }

    fn rollout(phase: RolloutPhase, settled: Option<Time>) -> RolloutStatus {
        RolloutStatus { phase, settled, total: 3, updated: 1, waves: 2, ..RolloutStatus::default() }
    }

    #[test]
    fn a_rollout_is_shown_in_the_one_phase_that_it_is_in_and_goes_with_its_cluster() {
        let metrics = Metrics::new(true).expect("metrics");
        let (core, deliveries) = (key("Cluster", "core"), metrics.deliveries());
        let at = Time(Timestamp::from_second(7).expect("a time"));
        deliveries.rollout(&core, Some(&rollout(RolloutPhase::Aborted, Some(at))));
        deliveries.rollout(&core, Some(&rollout(RolloutPhase::Progressing, None)));
        deliveries.approval_waiting(&core, true);
        let labels = r#"name="core",namespace="home""#;
        let mut found = lines(&metrics);
        found.sort();
        assert_eq!(
            found,
            [
                format!("cim_approval_waiting{{{labels}}} 1"),
                format!(r#"cim_rollout_machines{{{labels},state="done"}} 1"#),
                format!(r#"cim_rollout_machines{{{labels},state="failed"}} 0"#),
                format!(r#"cim_rollout_machines{{{labels},state="wanted"}} 3"#),
                format!(r#"cim_rollout_phase{{{labels},phase="Progressing"}} 1"#),
                format!("cim_rollout_waves{{{labels}}} 2"),
                format!("cim_rollout_wave{{{labels}}} 1"),
            ]
        );
        deliveries.forget(&core);
        assert_eq!(lines(&metrics), [""; 0]);
    }

    #[test]
    fn switched_off_no_rollout_names_its_cluster() {
        let metrics = Metrics::new(false).expect("metrics");
        let core = key("Cluster", "core");
        metrics.deliveries().rollout(&core, Some(&rollout(RolloutPhase::Complete, None)));
        metrics.deliveries().approval_waiting(&core, true);
        metrics.deliveries().machine(&key("Machine", "core"), Some(SystemState::Corrupt));
        assert_eq!(lines(&metrics), [""; 0]);
    }

    #[test]
    fn every_series_is_documented() {
        let metrics = Metrics::new(true).expect("metrics");
        let (core, deliveries) = (key("Cluster", "core"), metrics.deliveries());
        let at = Some(Time(Timestamp::UNIX_EPOCH));
        let all = RolloutStatus { started: at.clone(), ..rollout(RolloutPhase::Complete, at) };
        deliveries.rollout(&core, Some(&all));
        deliveries.approval_waiting(&core, false);
        deliveries.machine(&key("Machine", "host1"), Some(SystemState::InSync));
        deliveries.evaluated("ok", Duration::from_secs(1), Some(1 << 20));
        deliveries.built("ok");
        deliveries.delivered("copy", "ok");
        let page = include_str!("../../../../../docs/reference/metrics.md");
        let text = metrics.encode().expect("encoded");
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE cim_"));
        let names = names.filter_map(|line| line.split(' ').next());
        let missing: Vec<_> =
            names.filter(|name| !page.contains(&format!("`cim_{name}`"))).collect();
        assert_eq!(missing, [""; 0]);
    }
}
