//! Who may reboot.

use super::budget::Budget;
use super::fleet::{Member, RebootPolicy, Standing};
use super::state::State;
use super::{Fleet, Opening, Policy};

/// Withdraws the grants that are used up or no longer hold.
pub(super) fn withdraw(policy: &Policy, fleet: &Fleet, state: &mut State, opening: Opening) {
    let members = fleet.members(state);
    let kept = members.iter().filter(|member| keeps(member, policy, state, opening));
    state.rebooting = kept.map(|member| member.name.clone()).collect();
}

/// Grants as many reboots as may go.
pub(super) fn grant(policy: &Policy, fleet: &Fleet, state: &mut State, opening: Opening) {
    let mut budget = Budget::of(policy, fleet, state);
    let mut members = fleet.members(state);
    // Those on their way back do not ask whether others are down, so the others ask after them.
    members.sort_by_key(|member| !is_going_back(member, state));
    for member in members {
        let wanted = !state.rebooting.contains(member.name)
            && is_next(&member, state)
            && is_allowed(&member, policy, state, opening);
        if wanted && pay(&mut budget, &member, state) {
            state.rebooting.insert(member.name.clone());
        }
    }
}

fn pay(budget: &mut Budget, member: &Member<'_>, state: &State) -> bool {
    if is_going_back(member, state) { budget.spend_on_revoke() } else { budget.spend(member) }
}

fn keeps(member: &Member<'_>, policy: &Policy, state: &State, opening: Opening) -> bool {
    let begun = matches!(member.standing, Standing::Updating | Standing::Unreachable);
    state.rebooting.contains(member.name)
        && member.reboot.is_some()
        && (begun || is_allowed(member, policy, state, opening))
}

fn is_allowed(member: &Member<'_>, policy: &Policy, state: &State, opening: Opening) -> bool {
    let revoked = state.revoked.contains(member.name);
    // To boot what an aborted rollout left there would take the release a step further.
    let goes_further = state.aborted && member.took && !revoked;
    let in_time = match member.reboot {
        None | Some(RebootPolicy::Never) => false,
        Some(RebootPolicy::Immediately) => true,
        // To take a release back waits for no window.
        Some(RebootPolicy::InWindow) => opening.is_open() || (state.aborted && revoked),
    };
    in_time && !policy.paused && !goes_further
}

/// Whether a reboot is what this machine needs next.
fn is_next(member: &Member<'_>, state: &State) -> bool {
    let admitted = state.admitted.contains(member.name);
    // What is to go back does so first.
    let goes_back = is_going_back(member, state);
    match member.standing {
        Standing::Updated | Standing::Staged => !goes_back,
        Standing::StagedBack => goes_back,
        Standing::Unhealthy => !goes_back && !admitted,
        // It would have to reboot once more after the release.
        Standing::Outdated => state.held && !admitted,
        _ => false,
    }
}

fn is_going_back(member: &Member<'_>, state: &State) -> bool {
    member.took && state.revoked.contains(member.name)
}
