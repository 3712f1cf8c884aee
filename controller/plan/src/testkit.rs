//! The two laws of a plan, as checks for property tests over a model of the outside world.

use crate::{Change, Plan};

/// Checks both laws from the state `start`:
///
/// 1. applying the whole plan leaves nothing to do, and
/// 2. applying any prefix of it (a crash after the n-th effect) and starting again leaves nothing
///    to do either, in one further pass.
///
/// `plan` observes the model and plans against the desired state; `apply` makes one change in the
/// model, exactly as the real server would.
///
/// # Panics
/// With the changes left over, when a law does not hold.
pub fn assert_converges<S: Clone, C: Change>(
    start: &S,
    plan: impl Fn(&S) -> Plan<C>,
    apply: impl Fn(&mut S, &C),
) {
    let first = plan(start);
    for crash_after in 0..=first.changes.len() {
        let mut state = start.clone();
        first.changes[..crash_after].iter().for_each(|change| apply(&mut state, change));
        let second = plan(&state);
        if crash_after == first.changes.len() {
            assert_nothing_left(&second, "after a full apply");
        }
        second.changes.iter().for_each(|change| apply(&mut state, change));
        assert_nothing_left(
            &plan(&state),
            &format!("after a crash behind change {crash_after} of {}", first.changes.len()),
        );
    }
}

fn assert_nothing_left<C: Change>(plan: &Plan<C>, when: &str) {
    assert!(plan.is_empty(), "{when} there is still something to do:\n{plan}");
}
