//! In what state an object is, in the few words that fit a table.

use std::fmt::{self, Display};

use cim_crds::{
    Drift, Kind, PlanStatus,
    annotations::PAUSED,
    conditions::{self, ConditionType},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use serde::Serialize;

use crate::style::Tone;

/// An object of any kind, reduced to what the kinds share.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Object {
    /// Its kind.
    pub(crate) kind: &'static str,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Whether it is as wanted.
    #[serde(flatten)]
    pub(crate) state: State,
    /// What differs outside; absent when not evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drift: Option<Drift>,
    /// What would be done, or is being done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<PlanStatus>,
}

impl Object {
    /// Reduces an object.
    pub(crate) fn of<K: Kind>(object: &K) -> Self {
        let state = State::of(object);
        let common = object.status_common();
        // An old list of drift beside "not evaluated" would be taken for the truth.
        let evaluated = |_: &Drift| state.drifted.is_some();
        Self {
            kind: K::KIND,
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            drift: common.and_then(|status| status.drift.clone()).filter(evaluated),
            plan: common.and_then(|status| status.plan.clone()),
            state,
        }
    }

    /// How many things differ; `None` when not evaluated.
    pub(crate) fn drift_count(&self) -> Option<u32> {
        match self.state.drifted {
            None => None,
            Some(false) => Some(0),
            // Drifted without a count is at least one thing.
            Some(true) => Some(self.drift.as_ref().map_or(1, |drift| drift.count.max(1))),
        }
    }
}

/// Whether an object is as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    /// In one word.
    #[serde(rename = "state")]
    pub(crate) phase: Phase,
    /// Why, as one word of the controller; empty when there is nothing to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// Why, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    /// Whether the outside differs; absent when not evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drifted: Option<bool>,
}

/// The state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Phase {
    /// As wanted.
    Ready,
    /// Not as wanted; the controller works on it, or waits.
    NotReady,
    /// Not as wanted, and a person is needed.
    Stalled,
    /// The controller cannot tell.
    Unknown,
    /// The controller has not looked at the present spec yet.
    Pending,
    /// Nothing is done until somebody resumes it.
    Suspended,
    /// On its way out.
    Deleting,
}

impl Phase {
    /// How it is shown.
    pub(crate) fn tone(self) -> Tone {
        match self {
            Self::Ready => Tone::Good,
            Self::NotReady | Self::Stalled => Tone::Bad,
            Self::Unknown | Self::Pending | Self::Suspended | Self::Deleting => Tone::Doubtful,
        }
    }
}

impl Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "Ready",
            Self::NotReady => "NotReady",
            Self::Stalled => "Stalled",
            Self::Unknown => "Unknown",
            Self::Pending => "Pending",
            Self::Suspended => "Suspended",
            Self::Deleting => "Deleting",
        })
    }
}

impl State {
    fn of<K: Kind>(object: &K) -> Self {
        let status = object.status_common();
        let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
        let find = |condition| conditions::find(conditions, condition);
        // Conditions of an earlier spec say nothing about this one.
        let observed = status.map_or(-1, |status| status.observed_generation);
        let current = observed >= object.meta().generation.unwrap_or(0).max(1);

        let (phase, why) = if object.meta().deletion_timestamp.is_some() {
            (Phase::Deleting, find(ConditionType::Ready))
        } else if object.suspend() || object.annotations().contains_key(PAUSED) {
            (Phase::Suspended, find(ConditionType::Paused))
        } else if !current {
            (Phase::Pending, None)
        } else if conditions::is_true(conditions, ConditionType::Stalled) {
            (Phase::Stalled, find(ConditionType::Stalled))
        } else {
            let ready = find(ConditionType::Ready);
            let phase = match ready.map(|ready| ready.status.as_str()) {
                Some("True") => Phase::Ready,
                Some("False") => Phase::NotReady,
                _ => Phase::Unknown,
            };
            (phase, ready)
        };
        let drifted = find(ConditionType::Drifted).filter(|_| current);
        let text = |part: fn(&Condition) -> &String| why.map(part).cloned().unwrap_or_default();
        Self {
            phase,
            reason: text(|condition| &condition.reason),
            message: text(|condition| &condition.message),
            drifted: match drifted.map(|drifted| drifted.status.as_str()) {
                Some("True") => Some(true),
                Some("False") => Some(false),
                _ => None,
            },
        }
    }
}
