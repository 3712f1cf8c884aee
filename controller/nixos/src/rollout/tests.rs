//! Examples of single decisions.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::*;

mod laws;
mod oracle;
mod world;

const OPEN: Opening = Opening::Open { until: None };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn policy() -> Policy {
    Policy {
        max_unavailable: 1,
        soak: Duration::from_mins(1),
        abort_after: 1,
        on_abort: OnAbort::Revoke,
        parallelism: 10,
        paused: false,
        retry: None,
    }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn machine(standing: Standing) -> Machine {
    Machine { standing, took: matches!(standing, Standing::Updated), reboot: None }
}

fn fleet(waves: &[&[&str]], machines: &[(&str, Standing)]) -> Fleet {
    Fleet {
        release: "sha256-b".to_owned(),
        waves: waves.iter().map(|wave| names(wave)).collect(),
        machines: machines
            .iter()
            .map(|(name, standing)| ((*name).to_owned(), machine(*standing)))
            .collect(),
    }
}

/// A Cluster that was complete with another release.
fn after_another() -> State {
    State { release: "sha256-a".to_owned(), attempt: 1, completed: true, ..State::default() }
}

fn set(fleet: &mut Fleet, name: &str, standing: Standing) {
    fleet.machines.insert(name.to_owned(), machine(standing));
}

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
