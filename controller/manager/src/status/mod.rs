//! What a status says, computed without the outside: `compose(status before, facts) -> status`.
//!
//! The rules that kstatus and Flux expect of conditions are kept here, for all kinds, and checked in
//! the tests over everything that this function can produce.
//!
//! | phase | Ready | Reconciling | Stalled |
//! | --- | --- | --- | --- |
//! | first visit, long step | Unknown | True | - |
//! | as wanted | True | - | - |
//! | waiting, or failed and will retry | False | True | - |
//! | failed, a person is needed; plan held | False | - | True |
//! | suspended | Unknown | - | - |
//! | being deleted | False | True, or Stalled | |
//!
//! Ready means: the controller has done what the object's mode asks for. In mode Correct, something
//! missing, changed or unverified makes an object not ready; something unexpected does not, since it
//! is only reported. In Observe and Plan an object is ready once it was looked at, drifted or not:
//! Drifted tells that.

mod drift;
#[cfg(test)]
mod flux;
#[cfg(test)]
mod tests;

use cim_crds::conditions::{self, ConditionStatus, ConditionType, reasons};
use cim_crds::{CommonStatus, Mode};
use cim_plan::Finding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::outcome::Class;

pub use drift::{drift_status, plan_status, summary};

/// What a kind says of one of its own conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Which condition.
    pub condition: ConditionType,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// Why, CamelCase.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

impl Judgement {
    /// `condition` is `status` because of `reason`.
    pub fn new(
        condition: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { condition, status: status.into(), reason, message: message.into() }
    }
}

/// Where a visit stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not yet looked at; or a long step of which people should know.
    Working {
        /// The step, CamelCase.
        reason: &'static str,
        /// The same for people.
        message: String,
    },
    /// Suspended: nothing is looked at.
    Paused {
        /// By what, CamelCase.
        reason: &'static str,
        /// By what, for people.
        message: String,
    },
    /// Looked at, and as the mode wants it.
    Ready {
        /// What was achieved.
        message: String,
    },
    /// Something else must happen first.
    Waiting {
        /// Why, CamelCase.
        reason: &'static str,
        /// What for.
        message: String,
    },
    /// It went wrong.
    Failed {
        /// What it asks for.
        class: Class,
        /// Why, CamelCase.
        reason: &'static str,
        /// Why, for people.
        message: String,
    },
}

/// Everything that a status is made of, beside the status before.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The generation that was looked at.
    pub generation: i64,
    /// The clock.
    pub now: Time,
    /// How far the controller may go.
    pub mode: Mode,
    /// Where the visit stands.
    pub phase: Phase,
    /// The kind's own condition types.
    pub own: &'a [ConditionType],
    /// What the kind said of them on this visit.
    pub judged: &'a [Judgement],
    /// Conditions not judged on this visit keep their status for a while (`false`), then nobody
    /// can say any more (`true`).
    pub stale: bool,
    /// What differs, when that was looked at.
    pub findings: Option<&'a [Finding]>,
}

/// The status that says `facts`, following the status `before`. Sets conditions,
/// `observedGeneration` and `drift`; leaves the rest.
pub fn compose(before: &CommonStatus, facts: &Facts<'_>) -> CommonStatus {
    let mut status = before.clone();
    status.observed_generation = facts.generation;
    // Types that an older version of this controller wrote would stay for ever.
    status.conditions.retain(|condition| known(&condition.type_, facts.own));
    let mut writer = Writer { conditions: &mut status.conditions, facts };
    writer.paused();
    writer.drifted();
    writer.own();
    writer.summary();
    status.drift = match (&facts.phase, facts.findings) {
        (Phase::Paused { .. }, _) => None,
        (_, Some(findings)) => drift_status(findings, before.drift.as_ref(), &facts.now),
        // Drifted is Unknown then; what was seen last still helps, and keeps its date.
        (_, None) => before.drift.clone(),
    };
    // One order for ever, so that a status never differs by it.
    status.conditions.sort_by_key(|condition| rank(condition, facts.own));
    status
}

const COMMON: [ConditionType; 5] = [
    ConditionType::Ready,
    ConditionType::Reconciling,
    ConditionType::Stalled,
    ConditionType::Drifted,
    ConditionType::Paused,
];

fn known(type_: &str, own: &[ConditionType]) -> bool {
    COMMON.iter().chain(own).any(|known| known.as_str() == type_)
}

fn rank(condition: &Condition, own: &[ConditionType]) -> usize {
    let place = |known: &ConditionType| known.as_str() == condition.type_;
    COMMON.iter().chain(own).position(place).unwrap_or(usize::MAX)
}

struct Writer<'a> {
    conditions: &'a mut Vec<Condition>,
    facts: &'a Facts<'a>,
}

impl Writer<'_> {
    fn set(
        &mut self,
        condition: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: &str,
        message: impl Into<String>,
    ) {
        let Facts { generation, now, .. } = self.facts;
        conditions::set(self.conditions, condition, status, reason, message, *generation, now);
    }

    fn paused(&mut self) {
        match &self.facts.phase {
            Phase::Paused { reason, message } => {
                self.set(ConditionType::Paused, true, reason, message.as_str());
            }
            _ => self.set(ConditionType::Paused, false, reasons::NOT_PAUSED, "not suspended"),
        }
    }

    fn drifted(&mut self) {
        let unknown = ConditionStatus::Unknown;
        match (&self.facts.phase, self.facts.findings) {
            (Phase::Paused { reason, .. }, _) => {
                let message = "not evaluated while suspended";
                self.set(ConditionType::Drifted, unknown, reason, message);
            }
            (_, Some(findings)) => {
                let (reason, message) = drift::summary(findings);
                self.set(ConditionType::Drifted, !findings.is_empty(), reason, message);
            }
            (_, None) => {
                let message = "could not be evaluated";
                self.set(ConditionType::Drifted, unknown, reasons::NOT_OBSERVED, message);
            }
        }
    }

    fn own(&mut self) {
        let facts = self.facts;
        let (reason, message) = match &facts.phase {
            Phase::Paused { reason, .. } => (*reason, "not evaluated while suspended"),
            _ => (reasons::NOT_OBSERVED, "could not be evaluated"),
        };
        // A short failure must not blink: what was true a moment ago is kept, until it is stale.
        let keep = matches!(
            facts.phase,
            Phase::Working { .. } | Phase::Waiting { .. } | Phase::Failed { .. }
        ) && !facts.stale;
        for condition in facts.own {
            let judgement = facts.judged.iter().rfind(|judged| judged.condition == *condition);
            if let Some(Judgement { status, reason, message, .. }) = judgement {
                self.set(*condition, *status, reason, message.as_str());
            } else if !(keep && conditions::find(self.conditions, *condition).is_some()) {
                self.set(*condition, ConditionStatus::Unknown, reason, message);
            }
        }
    }

    /// Ready, and the two that are there only while true.
    fn summary(&mut self) {
        let mut reconciling = None;
        let mut stalled = false;
        match &self.facts.phase {
            Phase::Working { reason, message } => {
                let unknown = ConditionStatus::Unknown;
                self.set(ConditionType::Ready, unknown, reason, message.as_str());
                reconciling = Some((*reason, message.as_str()));
            }
            Phase::Paused { reason, message } => {
                let unknown = ConditionStatus::Unknown;
                self.set(ConditionType::Ready, unknown, reason, message.as_str());
            }
            Phase::Ready { message } => {
                let reason = match self.facts.mode {
                    Mode::Correct => reasons::SUCCEEDED,
                    Mode::Plan => "Planned",
                    Mode::Observe => "Observed",
                };
                self.set(ConditionType::Ready, true, reason, message.as_str());
            }
            Phase::Waiting { reason, message } => {
                self.set(ConditionType::Ready, false, reason, message.as_str());
                reconciling = Some((reasons::PROGRESSING, message.as_str()));
            }
            Phase::Failed { class: Class::Retry, reason, message } => {
                self.set(ConditionType::Ready, false, reason, message.as_str());
                reconciling = Some((reasons::PROGRESSING_WITH_RETRY, message.as_str()));
            }
            Phase::Failed { class: Class::Stalled, reason, message } => {
                self.set(ConditionType::Ready, false, reason, message.as_str());
                self.set(ConditionType::Stalled, true, reason, message.as_str());
                stalled = true;
            }
        }
        if !stalled {
            conditions::remove(self.conditions, ConditionType::Stalled);
        }
        match reconciling {
            Some((reason, message)) => self.set(ConditionType::Reconciling, true, reason, message),
            None => drop(conditions::remove(self.conditions, ConditionType::Reconciling)),
        }
    }
}
