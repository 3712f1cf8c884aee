//! The laws of the plan over a model machine, and single cases worth reading.

mod laws;
mod model;

use std::time::Duration;

use cim_plan::DriftClass;

use super::*;
use crate::activation::{Outcome, Step};
use crate::observe::{Activation, Pending, Presence, RolledBack, Staged};

fn path(letter: char) -> StorePath {
    let hash: String = std::iter::repeat_n(letter, 32).collect();
    format!("/nix/store/{hash}-nixos-system-{letter}").parse().unwrap()
}

fn desired(action: Action) -> Desired {
    Desired {
        closure: path('a'),
        known: vec![path('b')],
        action,
        confirm_timeout: Duration::from_mins(1),
        may_reboot: false,
        attempt: Attempt::First,
    }
}

fn state(current: Option<char>, profile: Option<char>) -> HostState {
    let link = |letter: Option<char>| letter.map_or(Link::Missing, |c| Link::Closure(path(c)));
    HostState {
        current: link(current),
        booted: Link::Missing,
        profile: link(profile),
        generation: None,
        boot_id: "1".into(),
        kernel_is_current: None,
        wanted: Some(Presence::Absent),
        activation: None,
        pending: None,
        rolling_back: None,
        rolled_back: None,
        staged: None,
        inhibited: None,
        switch_locked: false,
    }
}

fn job(step: Step, letter: char) -> Job {
    Job { step, closure: path(letter) }
}

fn pending(letter: char, tested: bool) -> Pending {
    let remaining = Duration::from_secs(9);
    Pending { closure: path(letter), old: Some(path('b')), tested, remaining }
}

fn record(letter: char) -> RolledBack {
    let at = "2026-01-02T03:04:05Z".into();
    let why = RollbackReason::Unhealthy;
    RolledBack { closure: path(letter), why, outcome: None, at, restored: Some(0) }
}

fn plan_with(desired: &Desired, health: &Health, state: HostState) -> Vec<String> {
    let plan = plan(desired, &Observed::Reached(Box::new(state)), health);
    let short = |line: String| {
        ['a', 'b', 'c']
            .iter()
            .fold(line, |line, c| line.replace(path(*c).as_str(), &c.to_uppercase().to_string()))
    };
    plan.changes.iter().map(|change| short(change.to_string())).collect()
}

fn plan_of(action: Action, state: HostState) -> Vec<String> {
    plan_with(&desired(action), &Health::Unasked, state)
}

fn judged(state: HostState) -> Assessment {
    assess(&desired(Action::Switch), &Observed::Reached(Box::new(state)))
}

fn running(job: Job, mut state: HostState) -> HostState {
    state.activation = Some(Activation { job: Some(job), outcome: None });
    state
}

#[test]
fn each_state_has_its_name() {
    let sync = |state| judged(state).sync;
    assert_eq!(sync(state(Some('a'), Some('a'))), SyncState::InSync);
    assert_eq!(sync(state(Some('b'), Some('b'))), SyncState::Outdated);
    assert_eq!(sync(state(None, None)), SyncState::Outdated);
    assert_eq!(sync(state(Some('b'), Some('a'))), SyncState::Staged);
    assert_eq!(sync(state(Some('a'), Some('b'))), SyncState::TestOnly);
    assert_eq!(sync(state(Some('c'), Some('b'))), SyncState::Drifted);
    assert_eq!(sync(state(Some('b'), Some('c'))), SyncState::Drifted);
    let tests = running(job(Step::Test, 'a'), state(Some('b'), Some('b')));
    assert_eq!(sync(tests), SyncState::Activating);
    let tested = HostState { pending: Some(pending('a', true)), ..state(Some('a'), Some('b')) };
    assert_eq!(sync(tested.clone()), SyncState::Confirming);
    assert_eq!(sync(running(job(Step::Confirm, 'a'), tested)), SyncState::Confirming);
    let back = HostState { rolled_back: Some(record('a')), ..state(Some('b'), Some('b')) };
    assert_eq!(sync(back.clone()), SyncState::RolledBack);
    assert_eq!(judged(back).rolled_back, Some(record('a')));
    let another = HostState { rolled_back: Some(record('c')), ..state(Some('b'), Some('b')) };
    assert_eq!(sync(another), SyncState::Outdated);
}

#[test]
fn what_ran_the_desired_closure_does_not_leave_it_by_itself() {
    let desired = Desired { known: vec![path('a'), path('b')], ..desired(Action::Switch) };
    let sync = |state| assess(&desired, &Observed::Reached(Box::new(state))).sync;
    assert_eq!(sync(state(Some('b'), Some('a'))), SyncState::Drifted);
    assert_eq!(sync(state(Some('b'), Some('b'))), SyncState::Drifted);
    let staged = Staged { closure: path('a'), boot_id: "1".into(), required: true };
    let staged = HostState { staged: Some(staged), ..state(Some('b'), Some('a')) };
    assert_eq!(sync(staged), SyncState::Staged);
    let back = HostState { rolled_back: Some(record('a')), ..state(Some('b'), Some('b')) };
    assert_eq!(sync(back), SyncState::RolledBack);
}

#[test]
fn without_a_history_nothing_is_called_drift() {
    let desired = Desired { known: vec![], ..desired(Action::Switch) };
    let observed = Observed::Reached(Box::new(state(Some('c'), Some('c'))));
    assert_eq!(assess(&desired, &observed).sync, SyncState::Outdated);
}

#[test]
fn a_machine_in_sync_is_left_alone_even_while_somebody_works_on_it() {
    let in_sync = HostState { switch_locked: true, ..state(Some('a'), Some('a')) };
    assert!(plan_of(Action::Switch, in_sync).is_empty());
    let busy = HostState { switch_locked: true, ..state(Some('b'), Some('b')) };
    assert_eq!(plan_of(Action::Switch, busy), ["wait for somebody else's activation"]);
}

#[test]
fn a_new_closure_is_copied_checked_and_tested() {
    let old = || state(Some('b'), Some('b'));
    assert_eq!(plan_of(Action::Switch, old()), ["copy A", "check A", "test A"]);
    assert_eq!(plan_of(Action::Boot, old()), ["copy A", "boot A"]);
    let built_there = HostState { wanted: Some(Presence::Unsigned), ..old() };
    let planned = plan_of(Action::Switch, built_there);
    assert_eq!(planned, ["copy signatures of A", "check A", "test A"]);
}

#[test]
fn what_was_tested_is_confirmed_when_healthy_and_given_up_when_not() {
    let desired = desired(Action::Switch);
    let tested = || HostState { pending: Some(pending('a', true)), ..state(Some('a'), Some('b')) };
    let planned = |health: Health| plan_with(&desired, &health, tested());
    assert!(planned(Health::Unasked).is_empty());
    assert_eq!(planned(Health::Passing), ["confirm A"]);
    assert_eq!(planned(Health::Failing(vec!["no".into()])), ["go back from A (unhealthy)"]);
    let half = HostState { pending: Some(pending('a', false)), ..state(Some('a'), Some('b')) };
    assert_eq!(plan_with(&desired, &Health::Passing, half), ["go back from A (interrupted)"]);
}

#[test]
fn what_is_no_longer_wanted_is_given_up_before_anything_else() {
    let other = HostState { pending: Some(pending('c', true)), ..state(Some('c'), Some('b')) };
    let desired = desired(Action::Switch);
    let planned = plan_with(&desired, &Health::Passing, other);
    assert_eq!(planned, ["go back from C (not wanted)"]);
    let refused = Desired { attempt: Attempt::Refused, ..desired };
    let tested = HostState { pending: Some(pending('a', true)), ..state(Some('a'), Some('b')) };
    assert_eq!(plan_with(&refused, &Health::Passing, tested), ["go back from A (not wanted)"]);
}

#[test]
fn what_was_given_up_is_tried_again_only_when_somebody_asks() {
    let back = || HostState {
        rolled_back: Some(record('a')),
        wanted: Some(Presence::Signed),
        ..state(Some('b'), Some('b'))
    };
    assert!(plan_of(Action::Switch, back()).is_empty());
    assert!(plan_of(Action::Boot, back()).is_empty());
    let again = Desired { attempt: Attempt::Again, ..desired(Action::Switch) };
    assert_eq!(plan_with(&again, &Health::Unasked, back()), ["check A", "test A"]);
    let refused = Desired { attempt: Attempt::Refused, ..desired(Action::Switch) };
    let fresh = state(Some('b'), Some('b'));
    assert!(plan_with(&refused, &Health::Unasked, fresh).is_empty());
}

#[test]
fn what_runs_already_is_waited_for_first() {
    for running_job in [job(Step::Test, 'a'), job(Step::Boot, 'b'), job(Step::Confirm, 'b')] {
        let busy = running(running_job.clone(), state(Some('b'), Some('b')));
        assert_eq!(plan_of(Action::Switch, busy).len(), 1, "{running_job}");
    }
    let back = HostState {
        rolling_back: Some(path('a')),
        pending: Some(pending('a', true)),
        ..state(Some('a'), Some('b'))
    };
    let planned = plan_with(&desired(Action::Switch), &Health::Passing, back);
    assert_eq!(planned, ["wait for the running rollback A"]);
}

#[test]
fn what_was_only_tested_by_hand_becomes_the_next_boot() {
    assert_eq!(plan_of(Action::Switch, state(Some('a'), Some('b'))), ["copy A", "boot A"]);
}

#[test]
fn inhibitors_lead_to_the_next_boot() {
    let inhibited = HostState {
        inhibited: Some(true),
        wanted: Some(Presence::Signed),
        ..state(Some('b'), Some('b'))
    };
    assert_eq!(plan_of(Action::Switch, inhibited), ["boot A"]);
}

#[test]
fn a_closure_that_waits_for_its_reboot_is_rebooted_into_once_and_if_allowed() {
    let staged = |required, boot_id: &str| HostState {
        staged: Some(Staged { closure: path('a'), boot_id: boot_id.into(), required }),
        ..state(Some('b'), Some('a'))
    };
    let allowed = Desired { may_reboot: true, ..desired(Action::Switch) };
    assert!(plan_of(Action::Switch, staged(true, "1")).is_empty());
    assert_eq!(judged(staged(true, "1")).reboot_required, Some(true));
    assert_eq!(plan_with(&allowed, &Health::Unasked, staged(true, "1")), ["reboot (boot 1)"]);
    // It was rebooted, and something else came up.
    assert!(plan_with(&allowed, &Health::Unasked, staged(true, "0")).is_empty());
    assert!(judged(staged(true, "0")).booted_another);
    let observed = Observed::Reached(Box::new(staged(true, "0")));
    let plan = plan(&allowed, &observed, &Health::Unasked);
    assert!(plan.findings.iter().any(|finding| finding.subject == BOOTED), "{plan:?}");
    // It was only asked to be staged, and now is to run.
    assert_eq!(plan_of(Action::Switch, staged(false, "1")), ["copy A", "check A", "test A"]);
    assert!(plan_of(Action::Boot, staged(false, "1")).is_empty());
}

#[test]
fn a_new_kernel_is_booted_once_its_system_is_confirmed() {
    let allowed = Desired { may_reboot: true, ..desired(Action::Switch) };
    let old_kernel =
        |current, profile| HostState { kernel_is_current: Some(false), ..state(current, profile) };
    let planned = |state| plan_with(&allowed, &Health::Unasked, state);
    assert_eq!(planned(old_kernel(Some('a'), Some('a'))), ["reboot (boot 1)"]);
    assert_eq!(judged(old_kernel(Some('a'), Some('a'))).reboot_required, Some(true));
    let tested =
        HostState { pending: Some(pending('a', true)), ..old_kernel(Some('a'), Some('b')) };
    assert!(planned(tested).is_empty());
}

#[test]
fn staging_that_was_interrupted_is_done_again() {
    let mut half = state(Some('a'), Some('a'));
    let outcome = Some(Outcome::Interrupted);
    half.activation = Some(Activation { job: Some(job(Step::Boot, 'a')), outcome });
    assert_eq!(plan_of(Action::Switch, half), ["copy A", "boot A"]);
}

#[test]
fn a_machine_that_cannot_be_seen_is_unverified_and_untouched() {
    let observed = Observed::Unreachable { reason: "Unreachable", message: "no route".into() };
    let plan = plan(&desired(Action::Switch), &observed, &Health::Unasked);
    assert!(plan.is_empty());
    assert_eq!(plan.count(DriftClass::Unverified), 1);
    assert_eq!(assess(&desired(Action::Switch), &observed).sync, SyncState::Unknown);
}

#[test]
fn a_change_is_data_of_plain_words() {
    let change =
        Change::Activate { job: job(Step::Test, 'a'), confirm_timeout: Duration::from_mins(1) };
    let json = serde_json::to_string(&change).unwrap();
    let closure = path('a');
    assert_eq!(
        json,
        format!(
            r#"{{"change":"activate","step":"test","closure":"{closure}","confirmTimeoutSeconds":60}}"#
        )
    );
}
