//! One visit to one object: the object, the clock, and the only way to its status.

use cim_crds::Kind;
use cim_crds::annotations::CONFIRM;
use cim_crds::conditions::ConditionType;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::core::object::HasStatus;
use tokio::sync::Mutex;
use tokio::time::{Duration, interval};

use super::Seen;
use super::object::version;
use crate::kube::{ApiError, Kube};
use crate::ops::telemetry::chain;
use crate::status::{Facts, Phase, compose};

/// How often people are told of a long step.
const TELL: Duration = Duration::from_secs(3);

/// What the steps of a kind get to know of the visit.
pub struct Visit<'a, K: Kind> {
    object: K,
    namespace: String,
    name: String,
    now: Time,
    own: &'static [ConditionType],
    kube: &'a Kube,
    state: Mutex<State<K>>,
}

/// A resourceVersion, and the status that has it.
pub(super) type Written<K> = (u64, <K as HasStatus>::Status);

struct State<K: Kind> {
    /// The object with the status that it has now.
    current: K,
    written: Option<Written<K>>,
}

impl<'a, K: Kind> Visit<'a, K> {
    pub(super) fn new(object: K, kube: &'a Kube, own: &'static [ConditionType], now: Time) -> Self {
        let namespace = object.namespace().unwrap_or_default();
        let name = object.name_any();
        let state = Mutex::new(State { current: object.clone(), written: None });
        Self { object, namespace, name, now, own, kube, state }
    }

    /// The object as it was when the visit began.
    pub fn object(&self) -> &K {
        &self.object
    }

    /// Its namespace, in which all its references are.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When the visit began, in whole seconds.
    pub fn now(&self) -> &Time {
        &self.now
    }

    /// The way to Secrets and to objects that the kind makes.
    pub fn kube(&self) -> &Kube {
        self.kube
    }

    /// The hash of the held plan that a person has released, if any.
    pub fn confirmed(&self) -> Option<&str> {
        self.object.annotations().get(CONFIRM).map(String::as_str)
    }

    /// Tells people, in the conditions Ready and Reconciling, that a long step has begun. Calling it
    /// again with the same words writes nothing. A failure to tell is no reason to stop.
    pub async fn progress(&self, reason: &'static str, message: impl Into<String>) {
        self.progress_with(reason, message, |_| ()).await;
    }

    /// The same, and lets `edit` tell more in the kind's own part of the status.
    pub async fn progress_with(
        &self,
        reason: &'static str,
        message: impl Into<String>,
        edit: impl FnOnce(&mut K::Status),
    ) {
        if let Err(error) = self.commit(reason, message, edit).await {
            tracing::warn!(error = chain(&error), "cannot tell the progress");
        }
    }

    /// Waits for `work`, and tells meanwhile, again and again, how far it is: `edit` puts that into
    /// the kind's own part of the status. The work goes on while the API server is slow, and what
    /// is being written when it ends is written to the end.
    pub async fn tell_while<T>(
        &self,
        reason: &'static str,
        message: &str,
        edit: impl Fn(&mut K::Status),
        work: impl Future<Output = T>,
    ) -> T {
        let mut ticks = interval(TELL);
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = ticks.tick() => {}
            }
            let telling = self.progress_with(reason, message, &edit);
            tokio::pin!(telling);
            tokio::select! {
                biased;
                done = &mut work => {
                    telling.await;
                    return done;
                }
                () = &mut telling => {}
            }
        }
    }

    /// As [`Self::progress_with`], for what must be known before the next effect: a controller that dies right after it
    /// finds it, and so does the next look of this visit.
    ///
    /// # Errors
    /// When it could not be written; then the effect must not be made.
    pub async fn commit(
        &self,
        reason: &'static str,
        message: impl Into<String>,
        edit: impl FnOnce(&mut K::Status),
    ) -> Result<(), ApiError> {
        let phase = Phase::Working { reason, message: message.into() };
        let mut next = self.current().await;
        edit(next.status_mut().get_or_insert_default());
        self.write(next, phase, &Seen::nothing()).await
    }

    /// The object with the status that it has now.
    pub async fn current(&self) -> K {
        self.state.lock().await.current.clone()
    }

    /// Writes the status of `next`, with the conditions that `phase` and `seen` make, if it differs
    /// from the present one.
    pub(super) async fn write(
        &self,
        mut next: K,
        phase: Phase,
        seen: &Seen,
    ) -> Result<(), ApiError> {
        let mut state = self.state.lock().await;
        let before = state.current.status_common().cloned().unwrap_or_default();
        let mode = next.mode();
        let common = next.status_common_mut();
        // Conditions and drift follow from what is written now; the rest is the caller's.
        common.conditions = before.conditions;
        common.drift = before.drift;
        *common = compose(
            common,
            &Facts {
                generation: self.object.meta().generation.unwrap_or(0),
                now: self.now.clone(),
                mode,
                phase,
                own: self.own,
                judged: &seen.judged,
                stale: seen.stale,
                findings: seen.findings.as_deref(),
            },
        );
        let Some(status) = next.status() else { return Ok(()) };
        if state.current.status() == Some(status) {
            return Ok(());
        }
        let written = self.kube.apply_status(&self.object, status).await?;
        if let (Some(version), Some(status)) = (version(&written), written.status()) {
            state.written = Some((version, status.clone()));
        }
        *state.current.status_mut() = written.status().cloned();
        Ok(())
    }

    /// The object as it is now, and what was written last, if anything.
    pub(super) fn into_parts(self) -> (K, Option<Written<K>>) {
        let State { current, written } = self.state.into_inner();
        (current, written)
    }
}
