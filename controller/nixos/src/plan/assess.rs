//! How a machine stands to what it should run.

use serde::Serialize;

use super::{Desired, decide};
use crate::activation::{Outcome, Step};
use crate::observe::{HostState, Link, Observed, RolledBack};

/// How a machine stands to what it should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SyncState {
    /// It runs the desired closure and will boot it.
    InSync,
    /// It runs a closure of ours, not the desired one.
    Outdated,
    /// It will boot the desired closure and runs another one.
    Staged,
    /// It runs the desired closure and will boot another: somebody ran `test` by hand.
    TestOnly,
    /// It runs, or will boot, something that is not ours, or something of ours in place of the
    /// desired closure, which it ran before.
    Drifted,
    /// An activation, or going back from one, is under way.
    Activating,
    /// It runs the desired closure, and goes back by itself unless that is confirmed.
    Confirming,
    /// It went back from the desired closure.
    RolledBack,
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
    /// Whether it was rebooted for the desired closure and came up with another one, so that
    /// another reboot is of no use.
    pub booted_another: bool,
    /// How the last activation of the desired closure ended, since boot.
    pub last_outcome: Option<Outcome>,
    /// Why it went back from the desired closure, if it did.
    pub rolled_back: Option<RolledBack>,
}

/// Judges a machine without planning anything.
pub fn assess(desired: &Desired, observed: &Observed) -> Assessment {
    let Some(state) = observed.state() else {
        return Assessment {
            sync: SyncState::Unknown,
            reboot_required: None,
            booted_another: false,
            last_outcome: None,
            rolled_back: None,
        };
    };
    let given_up = decide::was_given_up(desired, state);
    Assessment {
        sync: sync(desired, state),
        reboot_required: decide::reboot_required(desired, state),
        booted_another: decide::booted_another(desired, state),
        last_outcome: state.outcome_of(&desired.closure).cloned(),
        rolled_back: state.rolled_back.clone().filter(|_| given_up),
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
    // To confirm does not change what runs.
    let activating = state.running().is_some_and(|job| job.step != Step::Confirm);
    match (state.current.is(wanted), state.profile.is(wanted), &state.pending) {
        _ if activating => SyncState::Activating,
        (true, _, Some(pending)) if pending.closure == *wanted => SyncState::Confirming,
        (_, _, Some(_)) => SyncState::Activating,
        (true, true, None) => SyncState::InSync,
        (true, false, None) => SyncState::TestOnly,
        (false, ..) if decide::was_given_up(desired, state) => SyncState::RolledBack,
        _ if !is_ours(&state.current) || !is_ours(&state.profile) => SyncState::Drifted,
        (false, true, None) if was_staged(desired, state) => SyncState::Staged,
        // It ran already what it should: nobody of ours takes that away without a word.
        _ if desired.was_delivered() => SyncState::Drifted,
        (false, true, None) => SyncState::Staged,
        (false, false, None) => SyncState::Outdated,
    }
}

/// Whether we left the desired closure to the next boot.
fn was_staged(desired: &Desired, state: &HostState) -> bool {
    state.staged.as_ref().is_some_and(|staged| staged.closure == desired.closure)
}
