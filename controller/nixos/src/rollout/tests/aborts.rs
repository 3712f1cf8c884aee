//! A release that fails, and the way back.

use super::super::*;
use super::{OPEN, at, fleet, names, policy, set};

#[test]
fn the_fleet_goes_back_when_too_many_fail_in_or_out_of_a_window() {
    let closed = Opening::Closed { next: Some(at(3_600)) };
    let mut fleet = fleet(
        &[],
        &[
            ("host1", Standing::Updated),
            ("host2", Standing::Updated),
            ("host3", Standing::Outdated),
        ],
    );
    let begun = State {
        release: fleet.release.clone(),
        previous: Some("sha256-a".to_owned()),
        attempt: 2,
        admitted: names(&["host1", "host2", "host3"]),
        ..State::default()
    };
    set(&mut fleet, "host3", Standing::Failed { attempt: 2, healthy: true });
    let first = decide(&policy(), &fleet, &begun, closed, at(0));
    assert_eq!((first.phase, first.revoke), (Phase::Revoking, Some(names(&["host1", "host2"]))));
    assert_eq!(first.message, "failed: host3; to go back: host1, host2");
    // One at a time; the one that failed is told at no cost.
    assert_eq!(first.state.revoked, names(&["host1", "host3"]));
    assert_eq!(first.state.directive("host1"), Directive::GoBack);
    assert_eq!(first.state.directive("host2"), Directive::Finish);

    set(&mut fleet, "host1", Standing::Outdated);
    let second = decide(&policy(), &fleet, &first.state, closed, at(60));
    assert_eq!(second.state.revoked, names(&["host1", "host2", "host3"]));
    set(&mut fleet, "host2", Standing::Outdated);
    let last = decide(&policy(), &fleet, &second.state, OPEN, at(120));
    assert_eq!((last.phase, &last.state.admitted), (Phase::Aborted, &names(&[])));
    assert_eq!(
        last.message,
        "failed: host3; every machine is back; correct it in a new release, or try again"
    );

    // A person tries again: the old failure is no new one.
    let again = Policy { retry: Some("1".to_owned()), ..policy() };
    let third = decide(&again, &fleet, &last.state, OPEN, at(180));
    assert_eq!((third.phase, third.state.attempt), (Phase::Progressing, 3));
    assert_eq!((third.state.failed.len(), third.state.admitted.len()), (0, 1));
}

#[test]
fn an_abort_without_an_earlier_release_leaves_all_as_it_is() {
    let fleet = fleet(
        &[],
        &[("host1", Standing::Updated), ("host2", Standing::Failed { attempt: 1, healthy: false })],
    );
    let decision = decide(&policy(), &fleet, &State::default(), OPEN, at(0));
    assert_eq!((decision.phase, decision.revoke), (Phase::Aborted, None));
    assert!(decision.message.contains("none to go back to"), "{}", decision.message);
}

#[test]
fn an_abort_outlives_the_machine_that_failed_until_somebody_tries_again() {
    let mut fleet = fleet(&[], &[("host1", Standing::Failed { attempt: 0, healthy: true })]);
    set(&mut fleet, "host2", Standing::Outdated);
    let state = State { release: fleet.release.clone(), ..State::default() };
    let aborted = decide(&policy(), &fleet, &state, OPEN, at(0)).state;
    fleet.machines.remove("host1");
    let still = decide(&policy(), &fleet, &aborted, OPEN, at(1));
    assert_eq!(still.phase, Phase::Aborted);
    assert!(still.message.starts_with("what failed is gone; "), "{}", still.message);
    let again = Policy { retry: Some("1".to_owned()), ..policy() };
    let decision = decide(&again, &fleet, &still.state, OPEN, at(2));
    assert_eq!((decision.phase, decision.state.admitted), (Phase::Progressing, names(&["host2"])));
}
