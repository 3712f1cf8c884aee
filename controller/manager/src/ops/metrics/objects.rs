//! The series that name single objects, and their removal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cim_plan::DriftClass;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry};

use super::{gauge, register};

/// Names an object in labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Kind, as in `kind:`.
    pub kind: &'static str,
    /// Namespace.
    pub namespace: String,
    /// Name within the namespace.
    pub name: String,
}

impl ObjectKey {
    fn labels(&self) -> [&str; 3] {
        [self.kind, &self.namespace, &self.name]
    }

    fn labels_with<'a>(&'a self, one: &'a str) -> [&'a str; 4] {
        [self.kind, &self.namespace, &self.name, one]
    }
}

const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// The series that name single objects: conditions, drift.
#[derive(Clone, Debug)]
pub struct ObjectSeries {
    enabled: bool,
    conditions: IntGaugeVec,
    drift: IntGaugeVec,
    first_seen: GaugeVec,
    /// Condition types that each object has series for.
    known: Arc<Mutex<BTreeMap<ObjectKey, BTreeSet<String>>>>,
}

impl ObjectSeries {
    pub(super) fn new(registry: &Registry, enabled: bool) -> prometheus::Result<Self> {
        Ok(Self {
            enabled,
            conditions: gauge(
                registry,
                "cim_condition",
                "1 for the status that a condition of an object has, 0 for the others.",
                &["kind", "namespace", "name", "type", "status"],
            )?,
            drift: gauge(
                registry,
                "cim_drift_items",
                "Differences between wanted and observed by class (missing, changed, unexpected, unverified).",
                &["kind", "namespace", "name", "class"],
            )?,
            first_seen: register(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "cim_drift_first_seen_seconds",
                        "Unix time since which an object has differed without a break.",
                    ),
                    &["kind", "namespace", "name"],
                )?,
            )?,
            known: Arc::default(),
        })
    }

    /// Shows the conditions of an object; types it no longer has lose their series.
    pub fn conditions(&self, object: &ObjectKey, conditions: &[Condition]) {
        if !self.enabled {
            return;
        }
        let now: BTreeSet<String> =
            conditions.iter().map(|condition| condition.type_.clone()).collect();
        for condition in conditions {
            for status in STATUSES {
                self.conditions
                    .with_label_values(&condition_labels(object, &condition.type_, status))
                    .set(i64::from(condition.status == status));
            }
        }
        let before = self.known().insert(object.clone(), now.clone()).unwrap_or_default();
        for gone in before.difference(&now) {
            self.remove_condition(object, gone);
        }
    }

    /// Shows the drift of an object: the number of differences of each class, and since when.
    pub fn drift(
        &self,
        object: &ObjectKey,
        count: impl Fn(DriftClass) -> usize,
        since: Option<Timestamp>,
    ) {
        if !self.enabled {
            return;
        }
        self.known().entry(object.clone()).or_default();
        for class in DriftClass::ALL {
            self.drift
                .with_label_values(&object.labels_with(class.as_str()))
                .set(i64::try_from(count(class)).unwrap_or(i64::MAX));
        }
        match since {
            Some(since) => self
                .first_seen
                .with_label_values(&object.labels())
                .set(since.as_duration().as_secs_f64()),
            // Removing what is not there is an error that says nothing new.
            None => drop(self.first_seen.remove_label_values(&object.labels())),
        }
    }

    /// Drift was not evaluated: a number, even zero, would be a claim.
    pub fn drift_unknown(&self, object: &ObjectKey) {
        for class in DriftClass::ALL {
            drop(self.drift.remove_label_values(&object.labels_with(class.as_str())));
        }
        drop(self.first_seen.remove_label_values(&object.labels()));
    }

    /// The object is gone, and so are its series.
    pub fn forget(&self, object: &ObjectKey) {
        let Some(types) = self.known().remove(object) else { return };
        for type_ in &types {
            self.remove_condition(object, type_);
        }
        self.drift_unknown(object);
    }

    fn remove_condition(&self, object: &ObjectKey, type_: &str) {
        for status in STATUSES {
            drop(self.conditions.remove_label_values(&condition_labels(object, type_, status)));
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, BTreeSet<String>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn condition_labels<'a>(object: &'a ObjectKey, type_: &'a str, status: &'a str) -> [&'a str; 5] {
    [object.kind, &object.namespace, &object.name, type_, status]
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::super::Metrics;
    use super::*;

    fn key() -> ObjectKey {
        ObjectKey { kind: "Domain", namespace: "home".into(), name: "example-com".into() }
    }

    fn condition(type_: &str, status: &str) -> Condition {
        Condition {
            type_: type_.into(),
            status: status.into(),
            reason: "Test".into(),
            message: String::new(),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    fn lines(metrics: &Metrics) -> Vec<String> {
        let text = metrics.encode().expect("encoded");
        text.lines().filter(|line| line.contains("example-com")).map(str::to_owned).collect()
    }

    #[test]
    fn series_show_one_status_of_each_condition() {
        let metrics = Metrics::new(true).expect("metrics");
        metrics.objects().conditions(&key(), &[condition("Ready", "False")]);
        let labels = r#"kind="Domain",name="example-com",namespace="home""#;
        let mut expected: Vec<_> = [("False", 1), ("True", 0), ("Unknown", 0)]
            .map(|(status, value)| {
                format!(r#"cim_condition{{{labels},status="{status}",type="Ready"}} {value}"#)
            })
            .into();
        let mut found = lines(&metrics);
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn series_go_with_the_condition_and_with_the_object() {
        let metrics = Metrics::new(true).expect("metrics");
        let objects = metrics.objects();
        objects.conditions(&key(), &[condition("Ready", "False"), condition("Stalled", "True")]);
        objects.conditions(&key(), &[condition("Ready", "True")]);
        assert!(!lines(&metrics).iter().any(|line| line.contains("Stalled")));
        objects.drift(&key(), |_| 2, Some(Timestamp::UNIX_EPOCH));
        assert!(
            lines(&metrics).iter().any(|line| line.starts_with("cim_drift_first_seen_seconds"))
        );
        objects.drift(&key(), |_| 0, None);
        assert!(
            !lines(&metrics).iter().any(|line| line.starts_with("cim_drift_first_seen_seconds"))
        );
        objects.forget(&key());
        assert_eq!(lines(&metrics), Vec::<String>::new());
    }

    #[test]
    fn switched_off_nothing_names_an_object() {
        let metrics = Metrics::new(false).expect("metrics");
        metrics.objects().conditions(&key(), &[condition("Ready", "True")]);
        metrics.objects().drift(&key(), |_| 1, Some(Timestamp::UNIX_EPOCH));
        assert_eq!(lines(&metrics), Vec::<String>::new());
    }
}
