//! How a visit to an object ends.
//!
//! Waiting is an outcome with a reason; a failure is something that should not have happened. Both
//! reach status, metrics and the schedule, but only a failure counts as one.

use std::error::Error;
use std::time::Duration;

/// How a visit ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The object is as its mode wants it. `message` says so to people; it holds nothing that
    /// moves while nothing changes.
    Done {
        /// What was achieved.
        message: String,
        /// When to look again, if sooner than the object's interval.
        requeue: Option<Duration>,
    },
    /// Something else must happen first.
    Wait(Wait),
    /// A step of several was taken; the next one follows at once.
    Transition {
        /// The step that follows, CamelCase.
        next: &'static str,
        /// The same for people.
        message: String,
    },
}

impl Outcome {
    /// Done, to be looked at again at the object's own interval.
    pub fn done(message: impl Into<String>) -> Self {
        Self::Done { message: message.into(), requeue: None }
    }
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Why, CamelCase; the reason of the condition Ready.
    pub reason: &'static str,
    /// What for, for people.
    pub message: String,
    /// When to look again if nothing tells before.
    pub after: Duration,
}

impl Wait {
    /// Waits for `message` because of `reason`; looks again after 30 s if nothing tells before.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), after: Duration::from_secs(30) }
    }

    /// The same, looking again after `after`.
    #[must_use]
    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}

/// What a failure asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may pass by itself: condition Reconciling.
    Retry,
    /// A person is needed: condition Stalled. It is still tried again, with backoff, since what a
    /// person mends outside does not tell us.
    Stalled,
}

/// A failure of one kind's reconciler. `Display` never holds a secret, nor anything that differs
/// between two attempts with the same cause.
pub trait Failure: Error + Send + Sync + 'static {
    /// Why, CamelCase: the reason of the condition Ready and a label of
    /// `cim_reconcile_failures_total`. One of a fixed set.
    fn reason(&self) -> &'static str;

    /// What it asks for.
    fn class(&self) -> Class;
}

/// A failure that several readers see.
impl<F: Failure> Failure for std::sync::Arc<F> {
    fn reason(&self) -> &'static str {
        (**self).reason()
    }

    fn class(&self) -> Class {
        (**self).class()
    }
}

/// Why a step gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop<F> {
    /// Something else must happen first.
    Wait(Wait),
    /// It failed.
    Fail(F),
}

impl<F: Failure> From<F> for Stop<F> {
    fn from(failure: F) -> Self {
        Self::Fail(failure)
    }
}

impl<F> From<Wait> for Stop<F> {
    fn from(wait: Wait) -> Self {
        Self::Wait(wait)
    }
}
