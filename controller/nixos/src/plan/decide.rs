//! The changes of a plan.

use super::{Attempt, Change, Desired, Health};
use crate::activation::{Action, Job, Outcome, Step};
use crate::observe::{HostState, Pending, Presence, RollbackReason};

pub(super) fn changes(desired: &Desired, state: &HostState, health: &Health) -> Vec<Change> {
    if let Some(job) = state.running() {
        return vec![Change::Await { job: Some(job) }];
    }
    if let Some(pending) = &state.pending {
        return settle(desired, state, pending, health).into_iter().collect();
    }
    let changes = match needed(desired, state) {
        _ if is_barred(desired, state) => vec![],
        Some(step) => activate(desired, state, step),
        None => reboot(desired, state).into_iter().collect(),
    };
    if !changes.is_empty() && state.foreign_runs() {
        return vec![Change::Await { job: None }];
    }
    changes
}

/// What becomes of a closure that awaits its confirmation.
fn settle(
    desired: &Desired,
    state: &HostState,
    pending: &Pending,
    health: &Health,
) -> Option<Change> {
    let closure = pending.closure.clone();
    let revert = |why| Some(Change::Revert { closure: closure.clone(), why });
    if pending.closure != desired.closure || desired.attempt == Attempt::Refused {
        return revert(None);
    }
    match health {
        _ if !pending.tested => revert(Some(RollbackReason::Interrupted)),
        // Somebody switched by hand meanwhile, to what nobody checked.
        _ if !state.current.is(&closure) => revert(None),
        Health::Unasked => None,
        Health::Passing => Some(Change::Confirm { closure: closure.clone() }),
        Health::Failing(_) => revert(Some(RollbackReason::Unhealthy)),
    }
}

/// Whether nothing may be activated because this closure failed here before.
pub(super) fn is_barred(desired: &Desired, state: &HostState) -> bool {
    match desired.attempt {
        Attempt::First => was_given_up(desired, state),
        Attempt::Again => false,
        Attempt::Refused => true,
    }
}

/// Whether the machine went back from the desired closure, and nothing else was tested since.
pub(super) fn was_given_up(desired: &Desired, state: &HostState) -> bool {
    state.rolled_back.as_ref().is_some_and(|record| record.closure == desired.closure)
}

/// The activation that the links call for.
fn needed(desired: &Desired, state: &HostState) -> Option<Step> {
    let wanted = &desired.closure;
    match (state.current.is(wanted), state.profile.is(wanted)) {
        // The profile comes before the boot loader.
        (true, true) => half_staged(desired, state).then_some(Step::Boot),
        (true, false) => Some(Step::Boot),
        (false, true) if waits_for_reboot(desired, state) => None,
        (false, true) if booted_another(desired, state) && desired.attempt != Attempt::Again => {
            None
        }
        (false, _) => Some(step(desired, state)),
    }
}

fn half_staged(desired: &Desired, state: &HostState) -> bool {
    let job = state.activation.as_ref().and_then(|it| it.job.as_ref());
    job.is_some_and(|job| job.step == Step::Boot)
        && state.outcome_of(&desired.closure) == Some(&Outcome::Interrupted)
}

fn step(desired: &Desired, state: &HostState) -> Step {
    match desired.action {
        Action::Switch if state.inhibited != Some(true) => Step::Test,
        Action::Switch | Action::Boot => Step::Boot,
    }
}

fn activate(desired: &Desired, state: &HostState, step: Step) -> Vec<Change> {
    let closure = || desired.closure.clone();
    let bring = match state.wanted {
        Some(Presence::Signed) => None,
        Some(Presence::Unsigned) => Some(Change::CopySignatures { closure: closure() }),
        // Copying what is there costs one question.
        Some(Presence::Absent) | None => Some(Change::Copy { closure: closure() }),
    };
    let check = (step == Step::Test).then(|| Change::Check { closure: closure() });
    let job = Job { step, closure: closure() };
    let activate = Change::Activate { job, confirm_timeout: desired.confirm_timeout };
    bring.into_iter().chain(check).chain([activate]).collect()
}

fn reboot(desired: &Desired, state: &HostState) -> Option<Change> {
    let runs = state.current.is(&desired.closure) && state.profile.is(&desired.closure);
    let owed = waits_for_reboot(desired, state) || runs && state.kernel_is_current == Some(false);
    (desired.may_reboot && owed).then(|| Change::Reboot { boot_id: state.boot_id.clone() })
}

/// Whether the machine runs what it should only after a reboot; `None` where that cannot be told.
pub(super) fn reboot_required(desired: &Desired, state: &HostState) -> Option<bool> {
    if waits_for_reboot(desired, state) {
        return Some(true);
    }
    state.kernel_is_current.map(|is| !is)
}

/// Whether all is done for `desired` but the reboot.
fn waits_for_reboot(desired: &Desired, state: &HostState) -> bool {
    is_staged(desired, state, |boot_id| boot_id == state.boot_id)
}

/// Whether the machine was rebooted for `desired` and came up with something else: its boot loader
/// does not do what it was told, or a person chose another entry. Another reboot would not help.
pub(super) fn booted_another(desired: &Desired, state: &HostState) -> bool {
    !state.booted.is(&desired.closure)
        && is_staged(desired, state, |boot_id| boot_id != state.boot_id)
}

fn is_staged(desired: &Desired, state: &HostState, boot: impl Fn(&str) -> bool) -> bool {
    let wanted = &desired.closure;
    !state.current.is(wanted)
        && state.profile.is(wanted)
        && state.staged.as_ref().is_some_and(|staged| {
            staged.closure == *wanted
                && boot(&staged.boot_id)
                && (staged.required || desired.action == Action::Boot)
        })
}
