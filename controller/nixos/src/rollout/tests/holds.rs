//! Pauses, windows and reboots.

use std::time::Duration;

use super::super::*;
use super::{OPEN, after_another, at, fleet, machine, names, policy, set};

#[test]
fn paused_and_closed_begin_nothing_and_finish_what_was_begun() {
    let mut fleet = fleet(&[], &[("host1", Standing::Outdated), ("host2", Standing::Outdated)]);
    let closed = Opening::Closed { next: Some(at(3_600)) };
    let waiting = decide(&policy(), &fleet, &after_another(), closed, at(0));
    assert_eq!((waiting.phase, waiting.next_window), (Phase::WaitingForWindow, Some(at(3_600))));
    assert_eq!(waiting.recheck, Some(Duration::from_hours(1)));
    assert_eq!(waiting.state.admitted, names(&[]));

    let begun = decide(&policy(), &fleet, &waiting.state, OPEN, at(3_600)).state;
    set(&mut fleet, "host1", Standing::Updating);
    let paused = Policy { paused: true, ..policy() };
    let decision = decide(&paused, &fleet, &begun, OPEN, at(3_601));
    assert_eq!(decision.phase, Phase::Paused);
    assert_eq!(decision.message, "paused in wave 1 of 1: host1 to be finished");
    assert_eq!(decision.state.directive("host1"), Directive::Finish);
    assert_eq!(decision.state.directive("host2"), Directive::Keep);
}

#[test]
fn reboots_share_the_budget_and_follow_their_policy() {
    let owes = |policy| Machine { reboot: Some(policy), ..machine(Standing::Updated) };
    let fleet = Fleet {
        release: "sha256-b".to_owned(),
        waves: vec![],
        machines: [
            ("host1".to_owned(), owes(RebootPolicy::Never)),
            ("host2".to_owned(), owes(RebootPolicy::InWindow)),
            ("host3".to_owned(), owes(RebootPolicy::Immediately)),
        ]
        .into(),
    };
    let rebooting = |policy: &Policy, state: &State, opening| {
        decide(policy, &fleet, state, opening, at(0)).state.rebooting
    };
    let closed = Opening::Closed { next: None };
    let at_noon = Opening::Closed { next: Some(at(3_600)) };
    let two = Policy { max_unavailable: 2, ..policy() };
    assert_eq!(rebooting(&policy(), &after_another(), OPEN), names(&["host2"]));
    assert_eq!(rebooting(&two, &after_another(), OPEN), names(&["host2", "host3"]));
    assert_eq!(rebooting(&two, &after_another(), closed), names(&["host3"]));
    let paused = Policy { paused: true, ..policy() };
    assert_eq!(rebooting(&paused, &after_another(), OPEN), names(&[]));

    let waiting = decide(&policy(), &fleet, &after_another(), at_noon, at(0));
    assert_eq!(waiting.next_window, Some(at(3_600)));

    // A grant that was not used before the window closed is withdrawn.
    let granted = decide(&policy(), &fleet, &after_another(), OPEN, at(0)).state;
    assert!(granted.may_reboot("host2"));
    assert_eq!(rebooting(&policy(), &granted, closed), names(&["host3"]));
}

#[test]
fn a_closure_that_waits_for_its_reboot_costs_nothing_and_holds_the_next_wave() {
    let mut fleet = fleet(
        &[&["host1", "host2"]],
        &[("host2", Standing::Outdated), ("host3", Standing::Outdated)],
    );
    let staged = |policy| Machine { standing: Standing::Staged, took: true, reboot: Some(policy) };
    fleet.machines.insert("host1".to_owned(), staged(RebootPolicy::Never));
    let decision = decide(&policy(), &fleet, &after_another(), OPEN, at(0));
    assert_eq!(decision.state.admitted, names(&["host2"]));
    assert_eq!(decision.message, "wave 1 of 2: works on host2; host1: a reboot is owed");

    set(&mut fleet, "host2", Standing::Updated);
    fleet.machines.insert("host1".to_owned(), staged(RebootPolicy::Immediately));
    let decision = decide(&policy(), &fleet, &decision.state, OPEN, at(1));
    assert_eq!((decision.state.wave, decision.state.rebooting), (0, names(&["host1"])));
}

#[test]
fn an_aborted_release_is_not_booted_into() {
    let mut fleet = fleet(&[], &[("host1", Standing::Failed { attempt: 1, healthy: true })]);
    let staged =
        Machine { standing: Standing::Staged, took: true, reboot: Some(RebootPolicy::Immediately) };
    fleet.machines.insert("host2".to_owned(), staged);
    let hold = Policy { on_abort: OnAbort::Hold, ..policy() };
    let decision = decide(&hold, &fleet, &State::default(), OPEN, at(0));
    assert_eq!((decision.phase, decision.state.rebooting), (Phase::Aborted, names(&[])));
}
