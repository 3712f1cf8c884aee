//! One decision.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::fleet::Standing;
use super::report::{self, Phase};
use super::state::State;
use super::{Fleet, Opening, Policy, reboot, revoke, wave};

/// What was decided, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The state from now on. It equals the one before if nothing is to be written.
    pub state: State,
    /// How it stands, in one word.
    pub phase: Phase,
    /// How it stands, for people: who is worked on, who holds it up, and what to do about it.
    pub message: String,
    /// How many waves there are, the one of the remaining machines included.
    pub waves: usize,
    /// How many machines run the release and are healthy.
    pub updated: usize,
    /// How many machines are to run it.
    pub total: usize,
    /// The machines that have the release and are to go back; `None` unless it is being revoked.
    pub revoke: Option<BTreeSet<String>>,
    /// When the next window opens, while something waits for it.
    pub next_window: Option<Timestamp>,
    /// After how long to decide again although nothing else changed; `None` if time alone changes
    /// nothing. At least 1 s.
    pub recheck: Option<Duration>,
}

/// Decides who may begin what, from what is wanted, observed and decided before.
///
/// Rules, in the order in which they bind:
///
/// 1. Another [`Fleet::release`] begins anew: nobody is admitted to it. What is being changed is
///    finished first, and counts as unavailable.
/// 2. With `abort_after` machines in [`State::failed`] it is aborted, and stays so until there is
///    another release or another [`Policy::retry`]. [`OnAbort::Revoke`] takes back whoever has
///    the release: what is down at once, the rest `max_unavailable` at a time, in or out of a window.
/// 3. Nothing new begins while it is paused, closed or aborted; what was begun is finished.
/// 4. A wave begins when every machine of those before is [`Standing::Updated`], owes no reboot that
///    its policy permits, and all have been so for `soak`; whoever relapses restarts the soak. A
///    failed machine therefore holds the next wave even if `abort_after` tolerates it. One that
///    already did not answer before its turn came does not, if another one of its wave runs the
///    release; it is admitted when it answers. Machines that come when all waves have passed go
///    through them in the same order, each wave soaking, but what runs the release already does
///    not hold them up.
/// 5. A machine that serves is admitted, or may reboot, only while fewer than `max_unavailable` do
///    not serve. One that answers and is unhealthy may be admitted beyond that, since it costs
///    nothing; one that does not answer never is. At most `max_unavailable`, and `parallelism`,
///    change at the same time by our doing.
///
/// [`OnAbort::Revoke`]: super::OnAbort::Revoke
pub fn decide(
    policy: &Policy,
    fleet: &Fleet,
    state: &State,
    opening: Opening,
    now: Timestamp,
) -> Decision {
    let mut next = if fleet.release == state.release {
        state.clone()
    } else {
        state.begin(&fleet.release, policy.retry.as_ref())
    };
    forget_the_gone(fleet, &mut next);
    note_failures(policy, fleet, &mut next);
    hear_retry(policy, fleet, &mut next);
    next.held = policy.paused || !opening.is_open() || next.aborted;
    reboot::withdraw(policy, fleet, &mut next, opening);
    if next.aborted {
        next.soaking_since = None;
        if revoke::applies(policy, &next) && !policy.paused {
            revoke::tell(policy, fleet, &mut next);
        }
    } else {
        wave::advance(policy, fleet, &mut next, now);
    }
    reboot::grant(policy, fleet, &mut next, opening);
    if !next.held {
        wave::admit(policy, fleet, &mut next);
    }
    report::report(policy, fleet, next, opening, now)
}

/// Begins again if somebody wishes so and there is a reason to. A revoke is ended first.
fn hear_retry(policy: &Policy, fleet: &Fleet, state: &mut State) {
    let retry = policy.retry.as_ref();
    if state.retry.as_ref() == retry || revoke::goes_on(policy, fleet, state) {
        return;
    }
    if retry.is_some() && (state.aborted || !state.failed.is_empty()) {
        *state = state.begin_again(retry);
    } else {
        state.retry = retry.cloned();
    }
}

/// A machine of the same name that comes later is another one: nobody has looked at it yet.
fn forget_the_gone(fleet: &Fleet, state: &mut State) {
    let is_there = |name: &String| {
        let machine = fleet.machines.get(name);
        machine.is_some_and(|machine| machine.standing != Standing::Unknown)
    };
    let State { admitted, rebooting, failed, revoked, .. } = state;
    for names in [admitted, rebooting, failed, revoked] {
        names.retain(is_there);
    }
}

fn note_failures(policy: &Policy, fleet: &Fleet, state: &mut State) {
    let failed = fleet
        .members(state)
        .into_iter()
        .filter(|member| matches!(member.standing, Standing::Failed { .. }))
        .map(|member| member.name.clone());
    state.failed.extend(failed);
    let abort_after = usize::try_from(policy.abort_after).unwrap_or(usize::MAX).max(1);
    state.aborted |= state.failed.len() >= abort_after;
}
