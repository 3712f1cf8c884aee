//! What a machine should run, how it differs, and what would be done. Pure.

use std::fmt::{self, Display};

use cim_plan::{Finding, Plan};
use serde::Serialize;

use crate::activation::{Action, Job, Outcome};
use crate::observe::{HostState, Link, Observed, Presence};
use crate::store_path::StorePath;

const CURRENT: &str = "/run/current-system";
const PROFILE: &str = "/nix/var/nix/profiles/system";

/// What a machine should run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The closure.
    pub closure: StorePath,
    /// Closures that we know to have given this machine before. Anything else that runs there was
    /// put there by somebody else. Empty: nothing is known yet, so nothing is called drift.
    pub known: Vec<StorePath>,
    /// Whether to activate at once or leave it to the next boot.
    pub action: Action,
}

/// One effect on one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum Change {
    /// Wait for the end of an activation that already runs: ours, begun before a restart or by
    /// another controller, or that of a person at the machine.
    Await {
        /// What it does; `None` if it is not ours.
        job: Option<Job>,
    },
    /// Sign the closure and bring it to the machine.
    Copy {
        /// The closure.
        closure: StorePath,
    },
    /// Bring our signature of a closure that the machine has, but not from us.
    CopySignatures {
        /// The closure.
        closure: StorePath,
    },
    /// Make the closure the system profile and activate it.
    Activate {
        /// What to do with which closure.
        #[serde(flatten)]
        job: Job,
    },
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Await { job: Some(job) } => write!(f, "wait for the running {job}"),
            Self::Await { job: None } => f.write_str("wait for somebody else's activation"),
            Self::Copy { closure } => write!(f, "copy {closure}"),
            Self::CopySignatures { closure } => write!(f, "copy signatures of {closure}"),
            Self::Activate { job } => job.fmt(f),
        }
    }
}

/// How a machine stands to what it should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SyncState {
    /// It runs the desired closure and will boot it.
    InSync,
    /// It runs a closure of ours, not the desired one.
    Outdated,
    /// It will boot the desired closure and runs another: staged for a reboot, or its activation
    /// failed.
    Staged,
    /// It runs the desired closure and will boot another: somebody ran `test`.
    TestOnly,
    /// It runs, or will boot, something that is not ours.
    Drifted,
    /// An activation is under way.
    Activating,
    /// It could not be seen.
    Unknown,
}

/// What observing says about a machine, for conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// How it stands to what it should run.
    pub sync: SyncState,
    /// Whether it needs a reboot to run what it should; `None` where that cannot be told.
    pub reboot_required: Option<bool>,
    /// How the last activation of the desired closure ended, since boot.
    pub last_outcome: Option<Outcome>,
}

/// Judges a machine without planning anything.
pub fn assess(desired: &Desired, observed: &Observed) -> Assessment {
    let Some(state) = observed.state() else {
        return Assessment { sync: SyncState::Unknown, reboot_required: None, last_outcome: None };
    };
    let last_outcome = outcome_of(desired, state, None).cloned();
    let reboot_required = if waits_for_reboot(desired, state) {
        Some(true)
    } else {
        state.kernel_is_current.map(|is| !is)
    };
    Assessment { sync: sync(desired, state), reboot_required, last_outcome }
}

/// Plans what makes the machine run `desired`.
pub fn plan(desired: &Desired, observed: &Observed) -> Plan<Change> {
    match observed {
        Observed::Reached(state) => Plan::new(changes(desired, state), findings(desired, state)),
        Observed::Unreachable { reason, .. } => Plan::new(
            vec![],
            vec![Finding::unverified(CURRENT, desired.closure.to_string(), *reason)],
        ),
    }
}

fn sync(desired: &Desired, state: &HostState) -> SyncState {
    let wanted = &desired.closure;
    let is_ours = |link: &Link| match link {
        Link::Missing => true,
        Link::Closure(path) => {
            path == wanted || desired.known.is_empty() || desired.known.contains(path)
        }
        Link::Foreign(_) => false,
    };
    if running(state).is_some() {
        return SyncState::Activating;
    }
    match (state.current.is(wanted), state.profile.is(wanted)) {
        (true, true) => SyncState::InSync,
        (true, false) => SyncState::TestOnly,
        _ if !is_ours(&state.current) || !is_ours(&state.profile) => SyncState::Drifted,
        (false, true) => SyncState::Staged,
        (false, false) => SyncState::Outdated,
    }
}

fn findings(desired: &Desired, state: &HostState) -> Vec<Finding> {
    let wanted = desired.closure.as_str();
    [(CURRENT, &state.current), (PROFILE, &state.profile)]
        .into_iter()
        .filter_map(|(subject, link)| match link {
            Link::Closure(path) if path.as_str() == wanted => None,
            Link::Missing => Some(Finding::missing(subject, wanted)),
            Link::Closure(path) => Some(Finding::changed(subject, wanted, path.as_str())),
            Link::Foreign(path) => Some(Finding::changed(subject, wanted, path)),
        })
        .collect()
}

fn changes(desired: &Desired, state: &HostState) -> Vec<Change> {
    let mut changes = Vec::new();
    let action = match running(state) {
        Some(job) => {
            changes.push(Change::Await { job: Some(job.clone()) });
            // Its end moves the links, so what they say now is no reason to do nothing.
            (!does(job, desired)).then_some(desired.action)
        }
        None => needed(desired, state),
    };
    let Some(action) = action else { return changes };
    if foreign_runs(state) {
        changes.push(Change::Await { job: None });
    }
    let closure = desired.closure.clone();
    match state.wanted {
        Some(Presence::Signed) => {}
        Some(Presence::Unsigned) => {
            changes.push(Change::CopySignatures { closure: closure.clone() });
        }
        // Copying what is there costs one question.
        Some(Presence::Absent) | None => changes.push(Change::Copy { closure: closure.clone() }),
    }
    changes.push(Change::Activate { job: Job { action, closure } });
    changes
}

/// The activation that the links call for.
fn needed(desired: &Desired, state: &HostState) -> Option<Action> {
    let wanted = &desired.closure;
    match (state.current.is(wanted), state.profile.is(wanted)) {
        (true, true) => {
            let half_way = outcome_of(desired, state, None).is_some_and(Outcome::stopped_half_way);
            half_way.then_some(desired.action)
        }
        (true, false) => Some(Action::Boot),
        (false, true) if waits_for_reboot(desired, state) => None,
        (false, _) => Some(desired.action),
    }
}

/// Whether all is done for `desired` but the reboot.
fn waits_for_reboot(desired: &Desired, state: &HostState) -> bool {
    !state.current.is(&desired.closure)
        && state.profile.is(&desired.closure)
        && (outcome_of(desired, state, None) == Some(&Outcome::RebootRequired)
            || desired.action == Action::Boot
                && outcome_of(desired, state, Some(Action::Boot)) == Some(&Outcome::Succeeded))
}

/// How the last activation since boot ended, if it was of the desired closure (and by `action`).
fn outcome_of<'a>(
    desired: &Desired,
    state: &'a HostState,
    action: Option<Action>,
) -> Option<&'a Outcome> {
    let activation = state.activation.as_ref()?;
    let job = activation.job.as_ref()?;
    let same = job.closure == desired.closure && action.is_none_or(|action| action == job.action);
    same.then_some(activation.outcome.as_ref()).flatten()
}

/// Our job that runs now.
fn running(state: &HostState) -> Option<&Job> {
    let activation = state.activation.as_ref()?;
    activation.job.as_ref().filter(|_| activation.outcome.is_none())
}

/// Whether somebody else activates something, of which we do not know what.
fn foreign_runs(state: &HostState) -> bool {
    let ours = running(state).is_some();
    let unnamed =
        state.activation.as_ref().is_some_and(|it| it.job.is_none() && it.outcome.is_none());
    !ours && (state.switch_locked || unnamed)
}

/// Whether the end of `job` brings what is desired.
fn does(job: &Job, desired: &Desired) -> bool {
    job.closure == desired.closure && (job.action == desired.action || job.action == Action::Switch)
}

#[cfg(test)]
mod tests;
