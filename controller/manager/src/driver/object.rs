//! What the driver reads of an object, whatever its kind.

use std::time::Duration;

use cim_crds::conditions::{ConditionType, find, reasons};
use cim_crds::{Kind, annotations};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;

use super::memory::{Entry, Name};
use crate::ops::metrics::ObjectKey;
use crate::status::Phase;
use crate::watch::{Fingerprint, digest};

/// Whether the object is suspended, and by what.
pub(super) fn paused<K: Kind>(object: &K) -> Option<Phase> {
    let by = |reason, message: &str| Some(Phase::Paused { reason, message: message.to_owned() });
    if object.suspend() {
        by(reasons::SUSPENDED, "suspended by spec.suspend")
    } else if object.annotations().contains_key(annotations::PAUSED) {
        by(reasons::PAUSED, "suspended by the annotation cim.dev/paused")
    } else {
        None
    }
}

/// What makes an object itself due, and what its dependents read of it.
pub fn fingerprint<K: Kind>(object: &K) -> Fingerprint {
    let meta = object.meta();
    let own = digest(&(wish(object), meta.deletion_timestamp.is_some(), has_finalizer(object)));
    let mut seen = object.clone();
    let common = seen.status_common_mut();
    for condition in &mut common.conditions {
        // Neither times nor the generation of a condition are anything to act upon.
        condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
        condition.observed_generation = None;
    }
    common.drift = None;
    common.plan = None;
    common.last_handled_reconcile_at = None;
    let mut status = seen.status().and_then(|status| serde_json::to_value(status).ok());
    if let Some(status) = status.as_mut().and_then(serde_json::Value::as_object_mut) {
        // For people; it moves all the time.
        status.remove("progress");
    }
    let status = status.map(|status| status.to_string());
    Fingerprint { own, dependents: digest(&(own, object.labels(), status)) }
}

/// What a person wants of the object now: the spec, and the annotations that speak to us.
pub(super) fn wish<K: Kind>(object: &K) -> u64 {
    let ours = |key: &str| key.starts_with("cim.dev/") || key == annotations::FLUX_REQUESTED_AT;
    let annotations: Vec<_> =
        object.annotations().iter().filter(|(key, _)| ours(key.as_str())).collect();
    digest(&(object.meta().generation, annotations))
}

/// The token of the last wish to reconcile now; ours before Flux's.
pub(super) fn requested_at<K: Kind>(object: &K) -> Option<String> {
    let annotations = object.annotations();
    annotations
        .get(annotations::REQUESTED_AT)
        .or_else(|| annotations.get(annotations::FLUX_REQUESTED_AT))
        .map(|token| token.chars().take(253).collect())
        .filter(|token: &String| !token.is_empty())
}

/// The object with the newer of the cached status and the one that we wrote ourselves: the cache may
/// not have heard of it yet, and a difference to the older one would be written again.
pub(super) fn freshest<K: Kind>(object: &K, entry: &mut Entry<K::Status>) -> K {
    let mut object = object.clone();
    let cached = version(&object);
    match &entry.written {
        Some((written, status)) if cached.is_some_and(|cached| cached < *written) => {
            *object.status_mut() = Some(status.clone());
        }
        // The cache has caught up.
        _ => entry.written = None,
    }
    object
}

/// resourceVersions of one resource are ordered numbers (Kubernetes 1.35, KEP-5504).
pub(super) fn version<K: Kind>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

pub(super) fn has_finalizer<K: Kind>(object: &K) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == annotations::FINALIZER)
}

pub(super) fn ready_of<K: Kind>(object: &K) -> Option<&Condition> {
    find(&object.status_common()?.conditions, ConditionType::Ready)
}

pub(super) fn is_ready<K: Kind>(object: &K) -> bool {
    ready_of(object).is_some_and(|ready| ready.status == "True")
}

/// How long the object took to become ready: since its creation when this is its first status, else
/// since its present wish was seen; unknown when it was ready for the same generation before us.
pub(super) fn ready_after<K: Kind>(before: &K, entry: &Entry<K::Status>) -> Option<Duration> {
    let observed = before.status_common().map_or(-1, |common| common.observed_generation);
    if observed == before.meta().generation.unwrap_or(0) && is_ready(before) {
        return None;
    }
    let created = before.meta().creation_timestamp.as_ref().filter(|_| observed < 0);
    let since_creation = created
        .and_then(|created| Duration::try_from(Timestamp::now().duration_since(created.0)).ok());
    Some(since_creation.unwrap_or_else(|| entry.since.elapsed()))
}

/// The clock, in the seconds that a status keeps.
pub(super) fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

pub(super) fn key<K: Kind>(object: &K) -> ObjectKey {
    ObjectKey {
        kind: K::KIND,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

pub(super) fn name(key: &ObjectKey) -> Name {
    (key.namespace.clone(), key.name.clone())
}
