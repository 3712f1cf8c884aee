//! What failed in a visit, and where that leaves the object.

use std::time::Duration;

use super::Hold;
use crate::kube::ApiError;
use crate::ops::telemetry::chain;
use crate::outcome::{Class, Failure, Outcome, Stop, Wait};
use crate::status::Phase;

/// What failed in a visit.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble<F: Failure> {
    #[error(transparent)]
    Kind(F),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("not finished within {0:?}; it is taken up again where it stands")]
    Deadline(Duration),
    #[error("the plan is held: {}", .0.message)]
    Held(Hold),
    #[error("{left} changes are still needed after they were made; first: {first}")]
    NotConverged { left: usize, first: String },
    #[error("{0}, and nothing that can be done about it here")]
    Drifted(String),
    #[error("the reconciler panicked; this is a defect of the controller")]
    Panic,
}

impl<F: Failure> Failure for Trouble<F> {
    fn reason(&self) -> &'static str {
        match self {
            Self::Kind(failure) => failure.reason(),
            Self::Api(error) => error.reason(),
            Self::Deadline(_) => "DeadlineExceeded",
            Self::Held(hold) => hold.reason,
            Self::NotConverged { .. } => "NotConverged",
            Self::Drifted(_) => "Drifted",
            Self::Panic => "Panicked",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Kind(failure) => failure.class(),
            Self::Api(error) => error.class(),
            Self::Held(_) => Class::Stalled,
            _ => Class::Retry,
        }
    }
}

/// A step gave no result: how the visit ends.
pub(super) fn ended<F: Failure>(stop: Stop<F>) -> Result<Outcome, Trouble<F>> {
    match stop {
        Stop::Wait(wait) => Ok(Outcome::Wait(wait)),
        Stop::Fail(failure) => Err(Trouble::Kind(failure)),
    }
}

/// Where the outcome of the steps leaves the object.
pub(super) fn phase<F: Failure>(outcome: &Result<Outcome, Trouble<F>>) -> Phase {
    match outcome {
        Ok(Outcome::Done { message, .. }) => Phase::Ready { message: message.clone() },
        Ok(Outcome::Wait(Wait { reason, message, .. })) => {
            Phase::Waiting { reason, message: message.clone() }
        }
        Ok(Outcome::Transition { next, message }) => {
            Phase::Waiting { reason: next, message: message.clone() }
        }
        Err(trouble) => Phase::Failed {
            class: trouble.class(),
            reason: trouble.reason(),
            message: chain(trouble),
        },
    }
}
