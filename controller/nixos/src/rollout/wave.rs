//! When a wave has passed, and who is admitted.

use jiff::{SignedDuration, Timestamp};

use super::budget::{Budget, is_moving};
use super::fleet::{Member, RebootPolicy, Standing};
use super::state::State;
use super::{Fleet, Policy};

/// Goes on to the next wave while the present one has passed.
pub(super) fn advance(policy: &Policy, fleet: &Fleet, state: &mut State, now: Timestamp) {
    let members = fleet.members(state);
    let last = fleet.wave_count() - 1;
    state.wave = state.wave.min(last);
    if state.completed {
        return take_in(policy, &members, state, last, now);
    }
    // A fleet that nobody takes part in has proven nothing.
    while !state.completed && !members.is_empty() {
        if members.iter().any(|member| holds(member, &members, state)) {
            state.soaking_since = None;
            return;
        }
        if soaks(policy, &members, state, now) {
            return;
        }
        state.soaking_since = None;
        if state.wave == last {
            state.completed = true;
        } else {
            state.wave += 1;
        }
    }
}

/// Those that come after the release was complete go through the waves as well, one wave after the
/// other. What ran the release before has proven it, and holds up nobody if it is down now.
fn take_in(
    policy: &Policy,
    members: &[Member<'_>],
    state: &mut State,
    last: usize,
    now: Timestamp,
) {
    let coming = members.iter().filter(|member| is_coming(member, state));
    let next = coming.map(|member| member.wave).min().unwrap_or(last);
    if next <= state.wave || !soaks(policy, members, state, now) {
        state.wave = next;
        state.soaking_since = None;
    }
}

/// Whether it is still to run the release that is complete elsewhere. To admit it, or to let it
/// reboot, does not change this.
fn is_coming(member: &Member<'_>, state: &State) -> bool {
    match member.standing {
        Standing::Updated => member.reboot.is_some_and(|policy| policy != RebootPolicy::Never),
        Standing::Updating
        | Standing::Staged
        | Standing::StagedBack
        | Standing::Outdated
        | Standing::Blocked
        | Standing::Failed { .. }
        | Standing::Unknown => true,
        // What has the release and is ill has been through its wave.
        Standing::Unhealthy => !member.took,
        // One that has never answered may not even be there yet.
        Standing::Unreachable => {
            let begun = state.admitted.contains(member.name) && !member.took;
            begun || state.rebooting.contains(member.name)
        }
        Standing::Exempt => false,
    }
}

/// Whether the wave is still being watched. One in which nothing was changed needs no watching.
fn soaks(policy: &Policy, members: &[Member<'_>], state: &mut State, now: Timestamp) -> bool {
    let present = state.wave;
    if !members.iter().any(|member| member.wave == present && state.admitted.contains(member.name))
    {
        return false;
    }
    // A clock that went back must not make the soak longer than it is.
    let since = state.soaking_since.map_or(now, |since| since.min(now));
    state.soaking_since = Some(since);
    let soak = SignedDuration::try_from(policy.soak).unwrap_or(SignedDuration::MAX);
    now.duration_since(since) < soak
}

/// Whether the present wave cannot pass because of this machine.
pub(super) fn holds(member: &Member<'_>, members: &[Member<'_>], state: &State) -> bool {
    member.wave <= state.wave && !is_done(member, state) && !is_left_behind(member, members, state)
}

fn is_done(member: &Member<'_>, state: &State) -> bool {
    let settled = member.standing == Standing::Updated && !is_moving(member, state);
    settled && member.reboot.is_none_or(|policy| policy == RebootPolicy::Never)
}

/// Whether it did not answer before its turn came, so that its silence says nothing of the release.
/// The wave must have another machine that runs it: a wave of silent ones proves nothing.
pub(super) fn is_left_behind(member: &Member<'_>, members: &[Member<'_>], state: &State) -> bool {
    member.standing == Standing::Unreachable
        && !member.took
        && !state.admitted.contains(member.name)
        && members
            .iter()
            .any(|other| other.wave == member.wave && other.standing == Standing::Updated)
}

/// Whether it is this machine's turn to be admitted, as far as the waves go.
pub(super) fn is_due(member: &Member<'_>, state: &State) -> bool {
    member.wave <= state.wave
        && matches!(
            member.standing,
            Standing::Outdated | Standing::StagedBack | Standing::Unhealthy
        )
        && !state.admitted.contains(member.name)
        && !state.failed.contains(member.name)
        && !state.rebooting.contains(member.name)
}

/// Admits as many machines as may go. What is unhealthy goes first within its wave: it costs nothing,
/// and the release may be what heals it.
pub(super) fn admit(policy: &Policy, fleet: &Fleet, state: &mut State) {
    let mut budget = Budget::of(policy, fleet, state);
    let mut due = fleet.members(state);
    due.retain(|member| is_due(member, state));
    due.sort_by_key(|member| (member.wave, member.standing != Standing::Unhealthy));
    for member in due {
        if budget.spend(&member) {
            state.admitted.insert(member.name.clone());
        }
    }
}
