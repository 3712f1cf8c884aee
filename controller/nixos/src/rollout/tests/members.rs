//! Machines that come and go while a release is there.

use std::time::Duration;

use super::super::*;
use super::{OPEN, at, fleet, machine, names, policy, set};

#[test]
fn a_machine_that_comes_later_and_fails_does_not_take_the_fleet_back() {
    let mut fleet = fleet(&[], &[("host1", Standing::Updated)]);
    let done = State {
        release: fleet.release.clone(),
        previous: Some("sha256-a".to_owned()),
        attempt: 2,
        admitted: names(&["host1"]),
        completed: true,
        ..State::default()
    };
    set(&mut fleet, "host2", Standing::Outdated);
    let joined = decide(&policy(), &fleet, &done, OPEN, at(0));
    assert_eq!(
        (joined.phase, joined.state.directive("host2")),
        (Phase::Progressing, Directive::Take)
    );
    set(&mut fleet, "host2", Standing::Failed { attempt: 2, healthy: true });
    set(&mut fleet, "host3", Standing::Outdated);
    let failed = decide(&policy(), &fleet, &joined.state, OPEN, at(10));
    assert_eq!((failed.phase, failed.revoke), (Phase::Aborted, None));
    assert_eq!(failed.state.directive("host3"), Directive::Keep);
}

#[test]
fn a_machine_that_comes_when_all_is_done_goes_through_the_waves() {
    let policy = Policy { max_unavailable: 3, ..policy() };
    let mut fleet = fleet(&[&["host1", "new1"]], &[("host1", Standing::Updated)]);
    set(&mut fleet, "host2", Standing::Updated);
    let done = State {
        release: fleet.release.clone(),
        attempt: 1,
        wave: 1,
        admitted: names(&["host1", "host2"]),
        completed: true,
        ..State::default()
    };
    set(&mut fleet, "new1", Standing::Outdated);
    set(&mut fleet, "new2", Standing::Outdated);
    // What ran the release before does not hold up whoever comes.
    set(&mut fleet, "host1", Standing::Unreachable);
    let fleet_with = |standing| {
        let mut fleet = fleet.clone();
        fleet.machines.insert("new1".to_owned(), machine(standing));
        fleet
            .machines
            .insert("host1".to_owned(), Machine { took: true, ..machine(Standing::Unreachable) });
        fleet
    };
    let first = decide(&policy, &fleet_with(Standing::Outdated), &done, OPEN, at(0));
    assert_eq!(first.state.admitted, names(&["host1", "host2", "new1"]));
    let soaks = decide(&policy, &fleet_with(Standing::Updated), &first.state, OPEN, at(10));
    assert_eq!((soaks.phase, soaks.recheck), (Phase::Soaking, Some(Duration::from_mins(1))));
    assert_eq!(soaks.state.directive("new2"), Directive::Keep);
    let second = decide(&policy, &fleet_with(Standing::Updated), &soaks.state, OPEN, at(70));
    assert_eq!(second.state.directive("new2"), Directive::Take);
    // A window holds those that come as it holds all others.
    let closed = Opening::Closed { next: Some(at(3_600)) };
    set(&mut fleet, "host1", Standing::Updated);
    let waits = decide(&policy, &fleet, &done, closed, at(0));
    assert_eq!((waits.phase, waits.state.admitted), (Phase::WaitingForWindow, done.admitted));
}

#[test]
fn a_machine_that_is_gone_is_forgotten_and_so_is_what_its_name_did() {
    let tolerant = Policy { abort_after: 2, ..policy() };
    let mut fleet = fleet(&[], &[("host1", Standing::Failed { attempt: 1, healthy: true })]);
    set(&mut fleet, "host2", Standing::Updated);
    let everywhere = names(&["host1", "host2"]);
    let state = State {
        release: fleet.release.clone(),
        attempt: 1,
        admitted: everywhere.clone(),
        rebooting: names(&["host1"]),
        revoked: names(&["host1"]),
        ..State::default()
    };
    let holds = decide(&tolerant, &fleet, &state, OPEN, at(0));
    assert_eq!((holds.phase, holds.state.failed.len()), (Phase::Progressing, 1));

    let mut without = fleet.clone();
    without.machines.remove("host1");
    let decision = decide(
        &Policy { soak: Duration::ZERO, ..tolerant.clone() },
        &without,
        &holds.state,
        OPEN,
        at(1),
    );
    let State { admitted, rebooting, failed, revoked, .. } = &decision.state;
    assert_eq!((decision.phase, admitted), (Phase::Complete, &names(&["host2"])));
    assert!(rebooting.is_empty() && failed.is_empty() && revoked.is_empty(), "{decision:?}");

    // Another one of its name, before anybody has noticed that it was gone.
    let mut again = fleet.clone();
    set(&mut again, "host1", Standing::Unknown);
    let looked = decide(&tolerant, &again, &holds.state, OPEN, at(1)).state;
    set(&mut again, "host1", Standing::Outdated);
    let decision = decide(&tolerant, &again, &looked, OPEN, at(2));
    assert_eq!((decision.state.admitted, decision.state.failed), (everywhere, names(&[])));
}
