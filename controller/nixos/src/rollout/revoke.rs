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
    let mut budget = Budget::of(policy, fleet, state);
    for member in fleet.members(state) {
        let has_it = member.took || state.admitted.contains(member.name);
        // What is being changed is not interrupted; what does not answer is told when it does, so
        // that not all of them go down together in that moment.
        let waits = matches!(
            member.standing,
            Standing::Updating | Standing::Unreachable | Standing::Unknown
        );
        let told = state.revoked.contains(member.name);
        if has_it && !waits && !told && budget.spend_on_revoke(&member) {
            state.admitted.remove(member.name);
            state.revoked.insert(member.name.clone());
        }
    }
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
