//! What all kinds have in common, written once.
//!
//! ```text
//!             ┌────────────────────────── one visit to one object ──────────────────────────┐
//! wake ──►    deleted? suspended? ──► gather ──► validate ──► observe ──► plan ──► gate ──► apply
//!             finalizer                cluster    pure         outside     pure     mode,    outside
//!                                                                                   hold       │
//!  requeue ◄── record ◄── write the ◄── compose ◄── report ◄── plan ◄── observe again ◄────────┘
//!              log, Event,  status, if                          truth is read back
//!              metric       it differs
//!             └──────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A kind offers the steps ([`Reconciler`]); the driver keeps to the object's mode, holds plans that
//! need a person's word, turns outcomes and failures into conditions, writes a status only when it
//! differs, and decides when to come back. A visit has a deadline, and a panic in one ends only it.

mod delete;
mod gate;
mod memory;
mod object;
mod reconciler;
mod schedule;
mod steps;
#[cfg(test)]
mod tests;
mod trouble;
mod visit;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use cim_crds::conditions::reasons;
use cim_crds::{DeletionPolicy, Kind};
use cim_plan::Finding;
use futures::FutureExt;
use kube::core::object::HasStatus;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use crate::kube::{ApiError, Kube};
use crate::ops::metrics::{Metrics, ObjectKey};
use crate::outcome::{Failure, Outcome, Wait};
use crate::result::{Ending, Record, Recorder};
use crate::status::{Judgement, Phase};

pub use gate::Hold;
pub use object::fingerprint;
pub use reconciler::{Reconciler, Report, StatusOf, Step};
pub use schedule::Schedule;
pub use visit::Visit;

use memory::{Entry, Memory};
use object::{
    freshest, has_finalizer, is_ready, key, name, now, paused, ready_after, ready_of, requested_at,
    wish,
};
use steps::Looked;
use trouble::{Trouble, ended, phase};

/// How long conditions keep what was last seen of an outside that cannot be seen.
const GRACE: Duration = Duration::from_mins(1);

/// Visits the objects of one kind.
pub struct Driver<R: Reconciler> {
    reconciler: R,
    kube: Kube,
    metrics: Metrics,
    recorder: Recorder,
    schedule: Schedule,
    deadline: Duration,
    memory: Memory<StatusOf<R>>,
}

/// What every driver is made of beside its reconciler.
#[derive(Clone)]
pub struct Means {
    /// Writes to Kubernetes.
    pub kube: Kube,
    /// Series.
    pub metrics: Metrics,
    /// Logs and Events.
    pub recorder: Recorder,
    /// Delays.
    pub schedule: Schedule,
}

/// How a visit ended.
struct Ended<F: Failure> {
    ending: Result<Ending, Trouble<F>>,
    /// When to come back, if nothing tells before; failures come back by their backoff.
    requeue: Option<Duration>,
    /// One line for each change that was made outside.
    applied: Vec<String>,
}

impl<F: Failure> Ended<F> {
    fn new(ending: Ending) -> Self {
        Self { ending: Ok(ending), requeue: None, applied: Vec::new() }
    }

    fn troubled(trouble: impl Into<Trouble<F>>) -> Self {
        Self { ending: Err(trouble.into()), requeue: None, applied: Vec::new() }
    }
}

impl<R: Reconciler> Driver<R> {
    /// A driver of `reconciler`; one visit takes `deadline` at most.
    pub fn new(reconciler: R, means: Means, deadline: Duration) -> Self {
        let Means { kube, metrics, recorder, schedule } = means;
        Self { reconciler, kube, metrics, recorder, schedule, deadline, memory: Memory::default() }
    }

    /// Visits `object` and says when to come back.
    pub async fn reconcile(self: Arc<Self>, object: Arc<R::Kind>) -> Action {
        let key = key(&*object);
        let span = tracing::info_span!(
            "reconcile",
            kind = key.kind,
            namespace = key.namespace,
            name = key.name,
            generation = object.meta().generation,
            id = format!("{:08x}", rand::random::<u32>()),
        );
        self.visit(&object, &key).instrument(span).await
    }

    /// To be called once, when all caches are complete and before the first visit.
    pub fn begin(&self) {
        self.reconciler.begin();
    }

    /// The object is gone: nothing is remembered of it, and its series end.
    pub fn forget(&self, object: &R::Kind) {
        let key = key(object);
        self.memory.forget(&name(&key));
        self.metrics.objects().forget(&key);
        self.reconciler.forget(&key.namespace, &key.name);
    }

    async fn visit(&self, object: &R::Kind, key: &ObjectKey) -> Action {
        let started = Instant::now();
        let mut entry = self.memory.visit(&name(key), object.uid().as_deref(), wish(object));
        let visit = Visit::new(freshest(object, &mut entry), &self.kube, R::CONDITIONS, now());
        let ended = if object.meta().deletion_timestamp.is_some() {
            self.delete(&visit).await
        } else if let Some(phase) = paused(object) {
            self.pause(&visit, phase).await
        } else {
            self.attend(&visit, &mut entry).await
        };
        self.conclude(visit, ended, entry, key, started).await
    }

    /// Suspended: says so, and does nothing else.
    async fn pause(&self, visit: &Visit<'_, R::Kind>, phase: Phase) -> Ended<R::Failure> {
        match visit.write(visit.current().await, phase, &Seen::nothing()).await {
            Ok(()) => Ended::new(Ending::Paused),
            Err(error) => Ended::troubled(error),
        }
    }

    /// Looks, and does what the mode allows.
    async fn attend(
        &self,
        visit: &Visit<'_, R::Kind>,
        entry: &mut Entry<StatusOf<R>>,
    ) -> Ended<R::Failure> {
        if let Err(error) = self.settle(visit).await {
            return Ended::troubled(error);
        }
        let steps = AssertUnwindSafe(self.steps(visit, entry)).catch_unwind();
        let looked = match timeout(self.deadline, steps).await {
            Ok(Ok(looked)) => looked,
            Ok(Err(_)) => Looked::troubled(Trouble::Panic),
            Err(_) => Looked::troubled(Trouble::Deadline(self.deadline)),
        };
        let stale = entry.sighted(looked.findings.is_some(), GRACE);
        let mut next = visit.current().await;
        if let Some(status) = looked.status {
            *next.status_mut() = Some(status);
        }
        let common = next.status_common_mut();
        common.plan = looked.plan;
        if let Some(handled) = requested_at(visit.object()) {
            common.last_handled_reconcile_at = Some(handled);
        }
        let seen = Seen { judged: looked.judged, findings: looked.findings, stale };
        let phase = phase(&looked.outcome);
        if let Err(error) = visit.write(next, phase, &seen).await {
            return Ended { applied: looked.applied, ..Ended::troubled(error) };
        }
        let interval = visit.object().interval().as_std();
        let (ending, requeue) = match looked.outcome {
            Ok(Outcome::Done { requeue, .. }) => {
                (Ok(Ending::Done), requeue.map_or(interval, |sooner| sooner.min(interval)))
            }
            Ok(Outcome::Wait(Wait { after, .. })) => (Ok(Ending::Wait), after.min(interval)),
            Ok(Outcome::Transition { .. }) => (Ok(Ending::Transition), Duration::ZERO),
            Err(trouble) => (Err(trouble), interval),
        };
        Ended { ending, requeue: Some(requeue), applied: looked.applied }
    }

    /// Before the first look: the finalizer, and a status that does not claim anything.
    async fn settle(&self, visit: &Visit<'_, R::Kind>) -> Result<(), ApiError> {
        let object = visit.object();
        // Without it deletion never waits for us; with it, what we made outside can be removed.
        let wanted = object.deletion_policy() == DeletionPolicy::Delete;
        if has_finalizer(object) != wanted {
            self.kube.set_finalizer(object, wanted).await?;
        }
        let observed = object.status_common().map_or(-1, |common| common.observed_generation);
        if observed < 0 {
            let phase = Phase::Working {
                reason: reasons::PROGRESSING,
                message: "not looked at yet".to_owned(),
            };
            visit.write(visit.current().await, phase, &Seen::nothing()).await?;
        }
        Ok(())
    }

    /// Remembers, records, and decides when to come back.
    async fn conclude(
        &self,
        visit: Visit<'_, R::Kind>,
        ended: Ended<R::Failure>,
        mut entry: Entry<StatusOf<R>>,
        key: &ObjectKey,
        started: Instant,
    ) -> Action {
        let Ended { ending, requeue, applied } = ended;
        let before = visit.object().clone();
        let (after, written) = visit.into_parts();
        if written.is_some() {
            entry.written = written;
        }
        if let Err(Trouble::Api(error)) = &ending
            && error.is_gone()
        {
            tracing::debug!("the object went while it was visited");
            return Action::await_change();
        }
        let was_ready = std::mem::replace(&mut entry.ready, is_ready(&after));
        let became_ready = (entry.ready && !was_ready).then(|| ready_after(&before, &entry));
        self.recorder
            .record(Record {
                key,
                reference: after.object_ref(&()),
                before: ready_of(&before),
                after: ready_of(&after),
                ending: ending
                    .as_ref()
                    .map(|ending| *ending)
                    .map_err(|trouble| trouble as &dyn Failure),
                applied: &applied,
                became_ready: became_ready.flatten(),
                duration: started.elapsed(),
            })
            .await;
        if matches!(ending, Ok(Ending::Released | Ending::Deleted | Ending::Orphaned)) {
            self.forget(&after);
            return Action::await_change();
        }
        let random = &mut rand::rng();
        let delay = if ending.is_err() {
            entry.failures = entry.failures.saturating_add(1);
            Some(self.schedule.backoff(entry.failures, random))
        } else {
            entry.failures = 0;
            requeue.map(|requeue| match ending {
                Ok(Ending::Done) => self.schedule.interval(requeue, random),
                _ => requeue,
            })
        };
        if !self.memory.keep(&name(key), entry) {
            // It went while it was visited: its series end again.
            self.metrics.objects().forget(key);
            return Action::await_change();
        }
        let common = after.status_common();
        self.metrics.objects().conditions(key, common.map_or(&[], |common| &common.conditions));
        if common.is_none_or(|common| common.drift.is_none()) && paused(&after).is_some() {
            self.metrics.objects().drift_unknown(key);
        }
        delay.map_or_else(Action::await_change, Action::requeue)
    }
}

/// What was seen on a visit, for the status.
#[derive(Default)]
struct Seen {
    judged: Vec<Judgement>,
    findings: Option<Vec<Finding>>,
    stale: bool,
}

impl Seen {
    fn nothing() -> Self {
        Self::default()
    }
}
