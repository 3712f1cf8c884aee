//! The words of conditions, and how one is set.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The types of condition that the controller writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// All kinds, always: the summary that kstatus and `kubectl wait` read.
    Ready,
    /// All kinds, only while true: working, or will retry.
    Reconciling,
    /// All kinds, only while true: retrying is useless, a person is needed.
    Stalled,
    /// All kinds, always: the outside differs from what is wanted.
    Drifted,
    /// All kinds, always: suspended by spec or annotation.
    Paused,
    /// Cluster and Service: serving, with no more unavailable than allowed.
    Available,
    /// Machine: it answers.
    Reachable,
    /// Machine: a system that takes deliveries is on it.
    Installed,
    /// Machine: its checks hold.
    Healthy,
    /// Machine: it runs, and will boot, the closure that it should.
    InSync,
    /// Machine: what runs needs a reboot to take effect wholly.
    RebootRequired,
    /// Cluster: the source is resolved and evaluated; every machine has a closure.
    ReleaseReady,
    /// Cluster: every machine runs the release.
    UpToDate,
    /// Cluster with promotion: the closures are those that were approved.
    SameAsApproved,
    /// Domain: every zone holds its records.
    NamesPublished,
    /// Domain: every NATS account is on the servers as declared.
    AccountsReady,
    /// Domain: at least one machine runs its core services dev, dns and nats.
    Established,
    /// Service: its roles resolve to machines within their cardinalities.
    Placed,
    /// Service: its NATS users, streams and buckets exist and its credentials were seen to work.
    NatsReady,
    /// Service: DNS may have its public endpoints.
    Published,
    /// ObjectReplica: every selected object has its verified copies.
    Satisfied,
    /// ObjectReplica: the copies are fewer than wanted for lack of failure domains.
    Unsafe,
    /// ObjectReplica: some object has no good copy left.
    Lost,
}

impl ConditionType {
    /// The name, as in status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Drifted => "Drifted",
            Self::Paused => "Paused",
            Self::Available => "Available",
            Self::Reachable => "Reachable",
            Self::Installed => "Installed",
            Self::Healthy => "Healthy",
            Self::InSync => "InSync",
            Self::RebootRequired => "RebootRequired",
            Self::ReleaseReady => "ReleaseReady",
            Self::UpToDate => "UpToDate",
            Self::SameAsApproved => "SameAsApproved",
            Self::NamesPublished => "NamesPublished",
            Self::AccountsReady => "AccountsReady",
            Self::Established => "Established",
            Self::Placed => "Placed",
            Self::NatsReady => "NatsReady",
            Self::Published => "Published",
            Self::Satisfied => "Satisfied",
            Self::Unsafe => "Unsafe",
            Self::Lost => "Lost",
        }
    }
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Nobody can say.
    Unknown,
}

impl ConditionStatus {
    /// The word, as in status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// Reasons shared by several kinds. A kind's own reasons stand beside its reconciler.
pub mod reasons {
    /// Everything is as wanted.
    pub const SUCCEEDED: &str = "Succeeded";
    /// Working on it.
    pub const PROGRESSING: &str = "Progressing";
    /// An attempt failed; another will follow.
    pub const PROGRESSING_WITH_RETRY: &str = "ProgressingWithRetry";
    /// Waits for something named in the message.
    pub const WAITING: &str = "Waiting";
    /// The object that this one refers to does not exist.
    pub const REFERENCE_NOT_FOUND: &str = "ReferenceNotFound";
    /// A Secret, or a key in it, is missing.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// The spec contradicts itself or another object.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// The other side refuses our credentials.
    pub const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";
    /// The other side does not answer.
    pub const UNREACHABLE: &str = "Unreachable";
    /// Not yet looked at.
    pub const NOT_OBSERVED: &str = "NotObserved";
    /// Suspended by `spec.suspend`.
    pub const SUSPENDED: &str = "Suspended";
    /// Suspended by the annotation `cim.dev/paused`.
    pub const PAUSED: &str = "Paused";
    /// Not suspended.
    pub const NOT_PAUSED: &str = "NotPaused";
    /// Nothing differs.
    pub const NO_DRIFT: &str = "NoDrift";
    /// Something wanted is not there.
    pub const MISSING: &str = "Missing";
    /// Something has another value than the wanted one.
    pub const CHANGED: &str = "Changed";
    /// Something is there that nobody asked for.
    pub const UNEXPECTED: &str = "Unexpected";
    /// Something could not be checked.
    pub const UNVERIFIED: &str = "Unverified";
    /// Being deleted.
    pub const DELETING: &str = "Deleting";
}

/// The longest message that a condition may carry, in bytes.
const MESSAGE_MAX: usize = 32_768;

/// Sets a condition: adds or replaces the one of this type. `lastTransitionTime` moves to `now` only
/// when the status flips. Returns whether anything but `observedGeneration` changed.
pub fn set(
    conditions: &mut Vec<Condition>,
    condition: ConditionType,
    status: impl Into<ConditionStatus>,
    reason: &str,
    message: impl Into<String>,
    generation: i64,
    now: &Time,
) -> bool {
    let status = status.into().as_str();
    let message = truncated(message.into());
    let Some(present) = find_mut(conditions, condition) else {
        conditions.push(Condition {
            type_: condition.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(generation),
            last_transition_time: now.clone(),
        });
        return true;
    };
    if present.status != status {
        present.last_transition_time = now.clone();
    }
    let changed =
        present.status != status || present.reason != reason || present.message != message;
    status.clone_into(&mut present.status);
    reason.clone_into(&mut present.reason);
    present.message = message;
    present.observed_generation = Some(generation);
    changed
}

/// Removes a condition. Returns whether it was there.
pub fn remove(conditions: &mut Vec<Condition>, condition: ConditionType) -> bool {
    let before = conditions.len();
    conditions.retain(|present| present.type_ != condition.as_str());
    conditions.len() != before
}

/// The condition of this type.
pub fn find(conditions: &[Condition], condition: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|present| present.type_ == condition.as_str())
}

fn find_mut(conditions: &mut [Condition], condition: ConditionType) -> Option<&mut Condition> {
    conditions.iter_mut().find(|present| present.type_ == condition.as_str())
}

/// Whether the condition of this type is there and `True`.
pub fn is_true(conditions: &[Condition], condition: ConditionType) -> bool {
    find(conditions, condition).is_some_and(|present| present.status == "True")
}

/// Cuts a message to what the schema admits.
fn truncated(mut message: String) -> String {
    if message.len() > MESSAGE_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_MAX));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_transition_time_moves_only_when_the_status_flips() {
        let mut conditions = Vec::new();
        let ready = ConditionType::Ready;
        assert!(set(&mut conditions, ready, false, "Waiting", "for a Secret", 1, &at(1)));
        assert!(set(&mut conditions, ready, false, "Waiting", "for a window", 2, &at(2)));
        assert_eq!(find(&conditions, ready).unwrap().last_transition_time, at(1));
        assert!(set(&mut conditions, ready, true, reasons::SUCCEEDED, "", 2, &at(3)));
        let condition = find(&conditions, ready).unwrap();
        assert_eq!(condition.last_transition_time, at(3));
        assert_eq!(condition.observed_generation, Some(2));
        assert!(is_true(&conditions, ready));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn the_same_again_is_no_change() {
        let mut conditions = Vec::new();
        set(&mut conditions, ConditionType::Drifted, false, reasons::NO_DRIFT, "", 1, &at(1));
        let before = conditions.clone();
        let set_again =
            set(&mut conditions, ConditionType::Drifted, false, reasons::NO_DRIFT, "", 1, &at(9));
        assert!(!set_again);
        assert_eq!(conditions, before);
    }

    #[test]
    fn what_is_removed_is_gone_and_the_others_stay() {
        let mut conditions = Vec::new();
        for condition in [ConditionType::Ready, ConditionType::Stalled] {
            set(&mut conditions, condition, true, "Because", "", 1, &at(1));
        }
        assert!(remove(&mut conditions, ConditionType::Stalled));
        assert!(!remove(&mut conditions, ConditionType::Stalled));
        assert!(find(&conditions, ConditionType::Stalled).is_none());
        assert!(is_true(&conditions, ConditionType::Ready));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut conditions = Vec::new();
        set(&mut conditions, ConditionType::Ready, false, "Long", "é".repeat(20_000), 1, &at(1));
        let message = &conditions[0].message;
        assert!(message.len() <= MESSAGE_MAX && message.len() > MESSAGE_MAX - 2);
    }
}
