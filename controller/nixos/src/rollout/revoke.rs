//! Taking the fleet back after an abort.

use super::budget::Budget;
use super::fleet::{Member, Standing};
use super::state::State;
use super::{Fleet, OnAbort, Policy};

/// Whether an abort takes the machines back. There must be a release to go back to, and one that was
/// complete once is not taken back because of a machine that came later.
pub(super) fn applies(policy: &Policy, state: &State) -> bool {
    state.aborted
        && !state.completed
        && policy.on_abort == OnAbort::Revoke
        && state.previous.is_some()
}

/// Tells machines to go back, as many as may go at a time.
pub(super) fn tell(policy: &Policy, fleet: &Fleet, state: &mut State) {
    let (free, dear): (Vec<_>, Vec<_>) =
        fleet.members(state).into_iter().filter(|member| may_be_told(member, state)).partition(
            |member| {
                let costs = member.took && member.standing.is_healthy();
                !costs || member.standing == Standing::StagedBack
            },
        );
    for member in free {
        tell_one(state, member.name);
    }
    // Among those were some that were admitted and had not begun: what they cost is left again.
    let mut budget = Budget::of(policy, fleet, state);
    for member in dear {
        if budget.spend_on_revoke() {
            tell_one(state, member.name);
        }
    }
}

/// What is being changed is not interrupted; what does not answer is told when it does, so that not
/// all of them go down together in that moment.
fn may_be_told(member: &Member<'_>, state: &State) -> bool {
    let waits =
        matches!(member.standing, Standing::Updating | Standing::Unreachable | Standing::Unknown);
    let has_it = member.took || state.admitted.contains(member.name);
    has_it && !waits && !state.revoked.contains(member.name)
}

fn tell_one(state: &mut State, name: &str) {
    state.admitted.remove(name);
    state.revoked.insert(name.to_owned());
}

/// The machines that are not back yet.
pub(super) fn remaining<'a>(fleet: &'a Fleet, state: &State) -> Vec<Member<'a>> {
    let mut members = fleet.members(state);
    members.retain(|member| {
        let may_take_it =
            member.standing == Standing::Updating && state.admitted.contains(member.name);
        member.took || may_take_it
    });
    members
}

/// Whether it goes on by itself: somebody who is not back yet answers.
pub(super) fn goes_on(policy: &Policy, fleet: &Fleet, state: &State) -> bool {
    applies(policy, state)
        && remaining(fleet, state).iter().any(|member| member.standing != Standing::Unreachable)
}
