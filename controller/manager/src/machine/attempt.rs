//! What failed here is tried again only in another attempt of the rollout, or when somebody asks; and
//! then once.
//!
//! ```text
//! asked     the annotation differs from status.retry, or the rollout's attempt from that of status.failed
//! begun     status.failed.again has that attempt, and when the machine had gone back before; status.retry
//!           the wish, which is heard with that
//! ended     status.failed is replaced, or gone since the machine runs the closure
//! ```
//!
//! What is in between, a copy that broke off or a controller that died, leaves the attempt begun. A
//! machine that goes back by itself, with nobody watching, tells of it by a time that differs.

use std::borrow::Cow;

use cim_crds::machine::system::{BegunAgain, FailedDelivery};
use cim_crds::{Machine, MachineStatus, annotations};
use cim_nixos::{Assessment, Attempt, Change, Observed, RolledBack, SyncState, assess};
use cim_plan::Plan;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::assign::Assignment;
use super::validate::Delivery;

/// The reason under which it is remembered that a machine went back.
pub(super) const ROLLED_BACK: &str = "RolledBack";
/// The longest message of a failed delivery, as the schema bounds it.
const MESSAGE_MAX: usize = 1000;
/// The longest time in a machine's own words, as the schema bounds it.
const TIME_MAX: usize = 64;

/// Whether `closure` may be activated, as far as the status knows its past on this machine, and the
/// attempt after a failure that was begun and goes on.
pub(super) fn attempt(
    machine: &Machine,
    assignment: &Assignment,
    closure: &str,
) -> (Attempt, Option<BegunAgain>) {
    let status = machine.status.as_ref();
    let failed = status.and_then(|status| status.failed.as_ref());
    let failed = failed.filter(|failed| failed.out_path == closure);
    let asked = machine.annotations().get(annotations::RETRY);
    let is_this = |again: &&BegunAgain| {
        let same = asked.is_none_or(|asked| again.retry.as_ref() == Some(asked));
        same && again.attempt == assignment.attempt
    };
    if let Some(again) = failed.and_then(|failed| failed.again.as_ref()).filter(is_this) {
        return (Attempt::Again, Some(again.clone()));
    }
    let unheard = asked.is_some() && asked != status.and_then(|status| status.retry.as_ref());
    let attempt = match failed {
        _ if unheard => Attempt::Again,
        Some(failed) if failed.attempt == assignment.attempt => Attempt::Refused,
        Some(_) => Attempt::Again,
        None => Attempt::First,
    };
    (attempt, None)
}

impl Delivery {
    /// What is wanted of the machine as it was seen: what it went back from in this attempt is not
    /// tried once more in it.
    pub(super) fn wanted_of(&self, observed: &Observed) -> Cow<'_, cim_nixos::Desired> {
        if self.went_back_again(observed) {
            let attempt = Attempt::Refused;
            return Cow::Owned(cim_nixos::Desired { attempt, ..self.wanted.clone() });
        }
        Cow::Borrowed(&self.wanted)
    }

    /// Whether the machine went back since the present attempt after a failure was begun. Times are
    /// only held against each other: the machine's clock may be any.
    pub(super) fn went_back_again(&self, observed: &Observed) -> bool {
        let (Some(again), Some(record)) = (&self.again, self.record(observed)) else {
            return false;
        };
        again.went_back_at.as_deref() != Some(time(record))
    }

    fn record<'a>(&self, observed: &'a Observed) -> Option<&'a RolledBack> {
        let record = observed.state()?.rolled_back.as_ref();
        record.filter(|record| record.closure == self.wanted.closure)
    }
}

/// Notes in `status`, before the first effect of `plan`, that what failed is tried again.
pub(super) fn begin(
    machine: &Machine,
    assignment: &Assignment,
    delivery: &Delivery,
    observed: &Observed,
    plan: &Plan<Change>,
    status: &mut MachineStatus,
) {
    let activates = plan.changes.iter().any(|it| matches!(it, Change::Activate { .. }));
    if !activates || delivery.wanted.attempt != Attempt::Again || delivery.again.is_some() {
        return;
    }
    hear(machine, status);
    let record = delivery.record(observed);
    if status.failed.is_none() {
        status.failed = record
            .map(|record| failed(assignment, delivery, ROLLED_BACK, &went_back(record), None));
    }
    let failed = status.failed.as_mut();
    let Some(failed) = failed.filter(|it| it.out_path == delivery.wanted.closure.as_str()) else {
        return;
    };
    failed.again = Some(BegunAgain {
        attempt: assignment.attempt,
        retry: status.retry.clone(),
        went_back_at: record.map(|record| time(record).to_owned()),
    });
}

/// Notes that nothing is left to be done about what was asked.
pub(super) fn hear(machine: &Machine, status: &mut MachineStatus) {
    status.retry = machine.annotations().get(annotations::RETRY).cloned();
}

/// Remembers what failed as long as the Cluster's release is the one that did.
pub(super) fn note_failure(
    status: &mut MachineStatus,
    assignment: &Assignment,
    delivery: &Delivery,
    observed: &Observed,
    now: &Time,
) {
    let wanted = delivery.wanted_of(observed);
    let Assessment { sync, last_outcome, rolled_back, .. } = assess(&wanted, observed);
    let back = rolled_back.filter(|_| sync == SyncState::RolledBack);
    let ended = match (back, last_outcome) {
        // What went wrong before is no reason while it is tried again.
        _ if wanted.attempt == Attempt::Again => None,
        (Some(record), _) => Some((ROLLED_BACK, went_back(&record))),
        // What goes back has a record; what did nothing is tried again.
        (None, Some(last)) if last.is_success() || last.is_passing() => None,
        (None, Some(last)) if sync != SyncState::Activating => {
            Some((last.reason(), last.to_string()))
        }
        _ => None,
    };
    if let Some((reason, message)) = ended {
        let next = failed(assignment, delivery, reason, &message, Some(now));
        let before = status.failed.take().filter(|before| {
            before.out_path == next.out_path
                && before.reason == next.reason
                && before.attempt == next.attempt
                && before.again.is_none()
        });
        status.failed = Some(before.unwrap_or(next));
        return;
    }
    let closure = delivery.wanted.closure.as_str();
    let mended = sync == SyncState::InSync;
    status.failed = status.failed.take().filter(|failed| {
        let of_this_release = failed.release == assignment.release;
        of_this_release && !(mended && failed.out_path == closure)
    });
}

/// A failure as it is remembered.
pub(super) fn failed(
    assignment: &Assignment,
    delivery: &Delivery,
    reason: &str,
    message: &str,
    time: Option<&Time>,
) -> FailedDelivery {
    FailedDelivery {
        release: assignment.target.as_ref().and_then(|target| target.release.clone()),
        attempt: assignment.attempt,
        out_path: delivery.wanted.closure.to_string(),
        reason: reason.to_owned(),
        message: message[..message.floor_char_boundary(MESSAGE_MAX)].to_owned(),
        time: time.cloned(),
        again: None,
    }
}

/// What is told of a machine that went back.
fn went_back(record: &RolledBack) -> String {
    format!("it went back: {record}")
}

fn time(record: &RolledBack) -> &str {
    &record.at[..record.at.floor_char_boundary(TIME_MAX)]
}

#[cfg(test)]
mod tests;
