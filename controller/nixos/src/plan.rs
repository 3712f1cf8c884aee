//! What a machine should run, how it differs, and what would be done. Pure.

mod assess;
mod decide;

use std::fmt::{self, Display};
use std::time::Duration;

use cim_plan::{Finding, Plan};
use serde::Serialize;

use crate::activation::{Action, Job};
use crate::observe::{HostState, Link, Observed, RollbackReason};
use crate::store_path::StorePath;

pub use assess::{Assessment, SyncState, assess};

const CURRENT: &str = "/run/current-system";
const BOOTED: &str = "/run/booted-system";
const PROFILE: &str = "/nix/var/nix/profiles/system";

/// What a machine should run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The closure.
    pub closure: StorePath,
    /// Closures that we know to have given this machine before, newest first. Anything else that runs
    /// there was put there by somebody else. Empty: nothing is known yet, so nothing is called drift.
    pub known: Vec<StorePath>,
    /// Whether to activate at once or leave it to the next boot.
    pub action: Action,
    /// How long the machine waits to be confirmed once the closure is activated; then it goes back
    /// by itself. 1 s to 30 d, in whole seconds.
    pub confirm_timeout: Duration,
    /// Whether the machine may be rebooted now, if it owes that.
    pub may_reboot: bool,
    /// Whether the closure may be activated although it failed here before.
    pub attempt: Attempt,
}

impl Desired {
    /// Whether the closure is what was delivered last, and ran.
    pub fn was_delivered(&self) -> bool {
        self.known.first() == Some(&self.closure)
    }
}

/// Whether a closure may be activated, as far as its past on this machine goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Attempt {
    /// Unless the machine itself remembers that it went back from this closure.
    #[default]
    First,
    /// Even then: somebody asked to try it again.
    Again,
    /// Not at all: it failed here, or elsewhere, as the caller remembers.
    Refused,
}

/// What the checks of a closure that was activated and not yet confirmed say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// They were not run, or have not come to a result.
    Unasked,
    /// All passed, over a new connection to the machine.
    Passing,
    /// Some failed; for people.
    Failing(Vec<String>),
}

/// One effect on one machine.
///
/// [`Change::Await`], [`Change::Activate`], [`Change::Revert`] and [`Change::Reboot`] end a plan:
/// what has to follow depends on how they end, so it takes a new observation to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum Change {
    /// Wait for the end of what already runs: ours, begun before a restart or by another
    /// controller, or that of a person at the machine.
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
    /// Have the closure itself say whether it can be switched to. Changes nothing on the machine;
    /// if it says no, the rest of the plan is not done.
    Check {
        /// The closure.
        closure: StorePath,
    },
    /// Test the closure, or make it the default of the next boot.
    Activate {
        /// What to do with which closure.
        #[serde(flatten)]
        job: Job,
        /// After how many seconds the machine goes back from a test by itself.
        #[serde(rename = "confirmTimeoutSeconds", serialize_with = "seconds")]
        confirm_timeout: Duration,
    },
    /// Keep what was tested: the machine no longer goes back, and boots it from now on.
    Confirm {
        /// The closure.
        closure: StorePath,
    },
    /// Go back at once from what was tested.
    Revert {
        /// The closure to give up.
        closure: StorePath,
        /// Why, for the machine's own record. `None`: it is only no longer wanted, which speaks
        /// not against it.
        why: Option<RollbackReason>,
    },
    /// Reboot, if the machine has not been rebooted since it was looked at.
    Reboot {
        /// The boot that is to end.
        boot_id: String,
    },
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Await { job: Some(job) } => write!(f, "wait for the running {job}"),
            Self::Await { job: None } => f.write_str("wait for somebody else's activation"),
            Self::Copy { closure } => write!(f, "copy {closure}"),
            Self::CopySignatures { closure } => write!(f, "copy signatures of {closure}"),
            Self::Check { closure } => write!(f, "check {closure}"),
            Self::Activate { job, .. } => job.fmt(f),
            Self::Confirm { closure } => write!(f, "confirm {closure}"),
            Self::Revert { closure, why: Some(why) } => write!(f, "go back from {closure} ({why})"),
            Self::Revert { closure, why: None } => write!(f, "go back from {closure} (not wanted)"),
            Self::Reboot { boot_id } => write!(f, "reboot (boot {boot_id})"),
        }
    }
}

/// Plans what brings the machine nearer to `desired`, as far as can be foreseen; an empty plan means
/// that nothing is to be done now. `health` matters only while `desired` awaits its confirmation.
pub fn plan(desired: &Desired, observed: &Observed, health: &Health) -> Plan<Change> {
    match observed {
        Observed::Reached(state) => {
            Plan::new(decide::changes(desired, state, health), findings(desired, state))
        }
        Observed::Unreachable { reason, .. } => Plan::new(
            vec![],
            vec![Finding::unverified(CURRENT, desired.closure.to_string(), *reason)],
        ),
    }
}

fn findings(desired: &Desired, state: &HostState) -> Vec<Finding> {
    let wanted = desired.closure.as_str();
    let booted = decide::booted_another(desired, state).then_some((BOOTED, &state.booted));
    [(CURRENT, &state.current), (PROFILE, &state.profile)]
        .into_iter()
        .chain(booted)
        .filter_map(|(subject, link)| match link {
            Link::Closure(path) if path.as_str() == wanted => None,
            Link::Missing => Some(Finding::missing(subject, wanted)),
            Link::Closure(path) => Some(Finding::changed(subject, wanted, path.as_str())),
            Link::Foreign(path) => Some(Finding::changed(subject, wanted, path)),
        })
        .collect()
}

#[cfg(test)]
mod tests;
