//! How many more machines may be made unavailable.

use super::fleet::{Member, Standing};
use super::state::State;
use super::{Fleet, Policy};

/// What is left of `maxUnavailable` and `parallelism`.
///
/// Two counts are kept apart. *Unavailable* are all that do not serve, whatever the reason, and all
/// that we have told to change. *Moving* are only the latter. An available machine costs one of both.
/// A machine that is down anyway costs nothing of the first, and still one of the second: several of
/// them may be well again in the next moment, and would then go down together by our doing.
pub(super) struct Budget {
    unavailable: usize,
    moving: usize,
    max_unavailable: usize,
    parallelism: usize,
}

impl Budget {
    pub(super) fn of(policy: &Policy, fleet: &Fleet, state: &State) -> Self {
        let members = fleet.members(state);
        let count = |of: fn(&Member<'_>, &State) -> bool| {
            members.iter().filter(|member| of(member, state)).count()
        };
        Self {
            unavailable: count(|member, state| {
                !member.standing.is_healthy() || is_moving(member, state)
            }),
            moving: count(is_moving),
            max_unavailable: at_least_one(policy.max_unavailable),
            parallelism: at_least_one(policy.parallelism),
        }
    }

    /// Takes what changing this machine costs; `false` if that is not left.
    pub(super) fn spend(&mut self, member: &Member<'_>) -> bool {
        let available = member.standing.is_healthy();
        let left = self.may_move() && (!available || self.unavailable < self.max_unavailable);
        if left {
            self.moving += 1;
            self.unavailable += usize::from(available);
        }
        left
    }

    /// Takes what it costs to take back a machine that serves; `false` if that is not left.
    ///
    /// Machines that are down for other reasons do not count: they would keep the fleet on a release
    /// that is known to be bad.
    pub(super) const fn spend_on_revoke(&mut self) -> bool {
        let left = self.may_move();
        self.moving += left as usize;
        self.unavailable += left as usize;
        left
    }

    const fn may_move(&self) -> bool {
        self.moving < self.max_unavailable && self.moving < self.parallelism
    }
}

fn at_least_one(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).max(1)
}

/// Whether it changes by our doing, or may begin to at any moment.
pub(super) fn is_moving(member: &Member<'_>, state: &State) -> bool {
    let has = |set: &std::collections::BTreeSet<String>| set.contains(member.name);
    let to_take = has(&state.admitted)
        && !state.aborted
        && matches!(
            member.standing,
            Standing::Outdated
                | Standing::StagedBack
                | Standing::Unhealthy
                | Standing::Unreachable
                | Standing::Unknown
        );
    // One that is down on its way back is not waited for: it would keep all others there.
    let to_go_back = has(&state.revoked)
        && member.took
        && member.standing.is_healthy()
        && member.standing != Standing::StagedBack;
    member.standing == Standing::Updating || has(&state.rebooting) || to_take || to_go_back
}
