//! Who is admitted, and when a wave has passed.

use std::time::Duration;

use super::super::*;
use super::{OPEN, after_another, at, fleet, names, policy, set};

#[test]
fn the_canary_goes_first_soaks_and_is_followed() {
    let mut fleet =
        fleet(&[&["host1"]], &[("host1", Standing::Outdated), ("host2", Standing::Outdated)]);
    let first = decide(&policy(), &fleet, &after_another(), OPEN, at(0));
    assert_eq!(first.state.admitted, names(&["host1"]));
    assert_eq!(first.state.previous.as_deref(), Some("sha256-a"));
    assert_eq!(
        (first.phase, first.waves, first.updated, first.total),
        (Phase::Progressing, 2, 0, 2)
    );
    assert_eq!(first.message, "wave 1 of 2: works on host1");
    assert_eq!(first.state.directive("host1"), Directive::Take);
    assert_eq!(first.state.directive("host2"), Directive::Keep);

    set(&mut fleet, "host1", Standing::Updated);
    let soaking = decide(&policy(), &fleet, &first.state, OPEN, at(10));
    assert_eq!((soaking.phase, soaking.recheck), (Phase::Soaking, Some(Duration::from_mins(1))));
    assert_eq!(soaking.state.admitted, names(&["host1"]));

    let second = decide(&policy(), &fleet, &soaking.state, OPEN, at(70));
    assert_eq!(second.state.admitted, names(&["host1", "host2"]));
    set(&mut fleet, "host2", Standing::Updated);
    let last = decide(&policy(), &fleet, &second.state, OPEN, at(80));
    let done = decide(&policy(), &fleet, &last.state, OPEN, at(140));
    assert_eq!((last.phase, done.phase), (Phase::Soaking, Phase::Complete));
    assert_eq!(done.recheck, None);
}

#[test]
fn a_machine_whose_closure_did_not_change_is_not_touched_and_needs_no_watching() {
    let fleet = fleet(&[&["host1"]], &[("host1", Standing::Updated), ("host2", Standing::Updated)]);
    let decision = decide(&policy(), &fleet, &after_another(), OPEN, at(0));
    assert_eq!((decision.phase, decision.state.admitted.len()), (Phase::Complete, 0));
}

#[test]
fn a_relapse_begins_the_soak_anew() {
    let mut fleet =
        fleet(&[&["host1"]], &[("host1", Standing::Outdated), ("host2", Standing::Outdated)]);
    let mut step = |standing, state: &State, second| {
        set(&mut fleet, "host1", standing);
        decide(&policy(), &fleet, state, OPEN, at(second)).state
    };
    let state = step(Standing::Outdated, &after_another(), 0);
    let state = step(Standing::Updated, &state, 10);
    let state = step(Standing::Unhealthy, &state, 50);
    assert_eq!(state.soaking_since, None);
    let state = step(Standing::Updated, &state, 60);
    let state = step(Standing::Updated, &state, 119);
    assert_eq!((state.wave, state.soaking_since), (0, Some(at(60))));
    assert_eq!(step(Standing::Updated, &state, 120).wave, 1);
}

#[test]
fn a_clock_that_went_back_does_not_make_the_soak_longer() {
    let fleet =
        fleet(&[&["host1"]], &[("host1", Standing::Updated), ("host2", Standing::Outdated)]);
    let mut state = decide(&policy(), &fleet, &after_another(), OPEN, at(0)).state;
    state = State { wave: 0, admitted: names(&["host1"]), ..state };
    state.soaking_since = Some(at(86_400));
    let decision = decide(&policy(), &fleet, &state, OPEN, at(0));
    assert_eq!(decision.state.soaking_since, Some(at(0)));
    assert_eq!(decision.recheck, Some(Duration::from_mins(1)));
}

#[test]
fn those_that_are_down_for_other_reasons_count_and_are_named() {
    let machines = [("host1", Standing::Outdated), ("host2", Standing::Unreachable)];
    let fleet = fleet(&[], &machines);
    let stuck = decide(&policy(), &fleet, &after_another(), OPEN, at(0));
    assert_eq!(stuck.state.admitted, names(&[]));
    assert_eq!(
        stuck.message,
        "wave 1 of 1: unavailable, within maxUnavailable 1: host2: repair or suspend them, or raise it"
    );
    let two = Policy { max_unavailable: 2, ..policy() };
    assert_eq!(
        decide(&two, &fleet, &after_another(), OPEN, at(0)).state.admitted,
        names(&["host1"])
    );
}

#[test]
fn what_is_unhealthy_is_admitted_first_for_the_release_may_heal_it() {
    let machines = [("host1", Standing::Outdated), ("host2", Standing::Unhealthy)];
    let decision = decide(&policy(), &fleet(&[], &machines), &after_another(), OPEN, at(0));
    assert_eq!(decision.state.admitted, names(&["host2"]));
}

#[test]
fn a_machine_that_was_silent_before_its_turn_holds_up_no_wave_but_a_silent_wave_does() {
    let policy = Policy { max_unavailable: 2, soak: Duration::ZERO, ..policy() };
    let fleet_of = |first, second| {
        fleet(
            &[&["host1", "host2"]],
            &[("host1", first), ("host2", second), ("host3", Standing::Outdated)],
        )
    };
    let one = fleet_of(Standing::Updated, Standing::Unreachable);
    let decision = decide(&policy, &one, &after_another(), OPEN, at(0));
    assert_eq!(decision.state.admitted, names(&["host3"]));
    let all = fleet_of(Standing::Unreachable, Standing::Unreachable);
    let decision = decide(&policy, &all, &after_another(), OPEN, at(0));
    assert_eq!((decision.state.wave, decision.state.admitted), (0, names(&[])));

    // One that fell silent after it was admitted says something about the release.
    let begun = decide(
        &policy,
        &fleet_of(Standing::Outdated, Standing::Outdated),
        &after_another(),
        OPEN,
        at(0),
    );
    assert_eq!(begun.state.admitted, names(&["host1", "host2"]));
    assert_eq!(decide(&policy, &one, &begun.state, OPEN, at(1)).state.wave, 0);
}

#[test]
fn a_release_that_replaces_another_half_way_goes_back_to_the_last_complete_one() {
    let mut fleet = fleet(&[], &[("host1", Standing::Outdated), ("host2", Standing::Outdated)]);
    let begun = decide(&policy(), &fleet, &after_another(), OPEN, at(0)).state;
    fleet.release = "sha256-c".to_owned();
    // What is being changed is finished first.
    set(&mut fleet, "host1", Standing::Updating);
    let next = decide(&policy(), &fleet, &begun, OPEN, at(1));
    assert_eq!(
        (next.state.previous.as_deref(), next.state.admitted),
        (Some("sha256-a"), names(&[]))
    );
    assert_eq!(next.message, "wave 1 of 1: works on host1");
}

#[test]
fn nobody_who_takes_part_proves_nothing() {
    for machines in [&[][..], &[("host1", Standing::Exempt)][..]] {
        let decision = decide(&policy(), &fleet(&[], machines), &after_another(), OPEN, at(0));
        assert_eq!((decision.phase, decision.state.completed), (Phase::Pending, false));
    }
}

#[test]
fn a_message_names_three_and_counts_the_rest() {
    let machines =
        ["host1", "host2", "host3", "host4", "host5"].map(|name| (name, Standing::Updating));
    let decision = decide(&policy(), &fleet(&[], &machines), &after_another(), OPEN, at(0));
    assert_eq!(decision.message, "wave 1 of 1: works on host1, host2, host3 and 2 more");
}

#[test]
fn the_state_is_read_back_as_it_was_written() {
    let machines =
        [("host1", Standing::Outdated), ("host2", Standing::Failed { attempt: 2, healthy: true })];
    let hold = Policy { abort_after: 2, ..policy() };
    let state = decide(&hold, &fleet(&[], &machines), &after_another(), OPEN, at(0)).state;
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    assert_eq!(serde_json::from_str::<State>("{}").unwrap(), State::default());
}
