//! The laws of the plan over a model machine, and single cases worth reading.

use cim_plan::DriftClass;
use cim_plan::testkit::assert_converges;
use proptest::prelude::*;

use super::*;
use crate::observe::Activation;

fn path(letter: char) -> StorePath {
    let hash: String = std::iter::repeat_n(letter, 32).collect();
    format!("/nix/store/{hash}-nixos-system-{letter}").parse().unwrap()
}

/// A machine that obeys, exactly as far as `observe` can see it.
#[derive(Clone, Debug)]
struct Machine {
    state: HostState,
    /// Whether this machine cannot switch to the desired closure without a reboot (exit 100).
    needs_reboot: bool,
}

impl Machine {
    fn finish(&mut self, job: &Job) {
        let linked = Link::Closure(job.closure.clone());
        self.state.profile = linked.clone();
        let refuses = self.needs_reboot && !self.state.current.is(&job.closure);
        let outcome = match job.action {
            Action::Switch if refuses => Outcome::RebootRequired,
            Action::Switch => {
                self.state.current = linked;
                Outcome::Succeeded
            }
            Action::Boot => Outcome::Succeeded,
        };
        self.state.activation = Some(Activation { job: Some(job.clone()), outcome: Some(outcome) });
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Copy { .. } | Change::CopySignatures { .. } => {
                self.state.wanted = Some(Presence::Signed);
            }
            Change::Await { job: Some(job) } => self.finish(&job.clone()),
            Change::Await { job: None } => {
                self.state.switch_locked = false;
                self.state.activation = None;
            }
            Change::Activate { job } => {
                assert_eq!(self.state.wanted, Some(Presence::Signed), "activated before delivered");
                assert!(running(&self.state).is_none(), "a second activation was started");
                self.finish(job);
            }
        }
    }
}

fn link() -> impl Strategy<Value = Link> {
    prop_oneof![
        Just(Link::Missing),
        Just(Link::Foreign("/srv/x".into())),
        prop::sample::select(vec!['a', 'b', 'c']).prop_map(|c| Link::Closure(path(c))),
    ]
}

fn job() -> impl Strategy<Value = Job> {
    (prop::sample::select(vec!['a', 'b', 'c']), any::<bool>()).prop_map(|(c, switch)| Job {
        action: if switch { Action::Switch } else { Action::Boot },
        closure: path(c),
    })
}

fn outcome() -> impl Strategy<Value = Option<Outcome>> {
    prop_oneof![
        Just(None),
        Just(Some(Outcome::Interrupted)),
        Just(Some(Outcome::ProfileNotSet)),
        prop::sample::select(vec![0, 1, 2, 4, 11, 100, 5])
            .prop_map(|status| Some(Outcome::from_status(status))),
    ]
}

prop_compose! {
    fn machine()(
        current in link(),
        profile in link(),
        wanted in prop::option::of(prop::sample::select(vec![
            Presence::Absent, Presence::Unsigned, Presence::Signed,
        ])),
        activation in prop::option::of((prop::option::of(job()), outcome())),
        switch_locked in any::<bool>(),
        needs_reboot in any::<bool>(),
    ) -> Machine {
        let activation = activation.map(|(job, outcome)| Activation { job, outcome });
        let state = HostState {
            current, profile, wanted, activation, switch_locked,
            booted: Link::Missing, generation: None, boot_id: "1".into(), kernel_is_current: None,
            failed_units: None, nix_free_bytes: None,
        };
        Machine { state, needs_reboot }
    }
}

fn desired(action: Action) -> Desired {
    Desired { closure: path('a'), known: vec![path('b')], action }
}

proptest! {
    #[test]
    fn every_machine_converges_whatever_it_was_and_wherever_we_crash(
        machine in machine(), switch in any::<bool>(),
    ) {
        let desired = desired(if switch { Action::Switch } else { Action::Boot });
        assert_converges(
            &machine,
            |machine| plan(&desired, &Observed::Reached(Box::new(machine.state.clone()))),
            Machine::apply,
        );
    }

    #[test]
    fn findings_are_there_exactly_when_a_link_differs(machine in machine()) {
        let desired = desired(Action::Switch);
        let expected = [&machine.state.current, &machine.state.profile]
            .iter().filter(|link| !link.is(&desired.closure)).count();
        let plan = plan(&desired, &Observed::Reached(Box::new(machine.state)));
        prop_assert_eq!(plan.findings.len(), expected);
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
        failed_units: None,
        nix_free_bytes: None,
        switch_locked: false,
    }
}

fn plan_of(action: Action, state: HostState) -> Vec<String> {
    let plan = plan(&desired(action), &Observed::Reached(Box::new(state)));
    plan.changes
        .iter()
        .map(|change| change.to_string().replace(path('a').as_str(), "A"))
        .map(|line| line.replace(path('b').as_str(), "B"))
        .collect()
}

fn sync_of(state: HostState) -> SyncState {
    assess(&desired(Action::Switch), &Observed::Reached(Box::new(state))).sync
}

fn with_activation(mut state: HostState, job: Job, outcome: Option<Outcome>) -> HostState {
    state.activation = Some(Activation { job: Some(job), outcome });
    state
}

fn job_a(action: Action) -> Job {
    Job { action, closure: path('a') }
}

#[test]
fn each_state_has_its_name() {
    assert_eq!(sync_of(state(Some('a'), Some('a'))), SyncState::InSync);
    assert_eq!(sync_of(state(Some('b'), Some('b'))), SyncState::Outdated);
    assert_eq!(sync_of(state(None, None)), SyncState::Outdated);
    assert_eq!(sync_of(state(Some('b'), Some('a'))), SyncState::Staged);
    assert_eq!(sync_of(state(Some('a'), Some('b'))), SyncState::TestOnly);
    assert_eq!(sync_of(state(Some('c'), Some('b'))), SyncState::Drifted);
    assert_eq!(sync_of(state(Some('b'), Some('c'))), SyncState::Drifted);
    let running = with_activation(state(Some('b'), Some('a')), job_a(Action::Switch), None);
    assert_eq!(sync_of(running), SyncState::Activating);
}

#[test]
fn without_a_history_nothing_is_called_drift() {
    let desired = Desired { known: vec![], ..desired(Action::Switch) };
    let observed = Observed::Reached(Box::new(state(Some('c'), Some('c'))));
    assert_eq!(assess(&desired, &observed).sync, SyncState::Outdated);
}

#[test]
fn a_machine_in_sync_is_left_alone_even_while_somebody_works_on_it() {
    let mut in_sync = state(Some('a'), Some('a'));
    in_sync.switch_locked = true;
    assert!(plan_of(Action::Switch, in_sync).is_empty());
}

#[test]
fn a_new_closure_is_copied_then_activated() {
    assert_eq!(plan_of(Action::Switch, state(Some('b'), Some('b'))), ["copy A", "switch A"]);
    let mut built_there = state(Some('b'), Some('b'));
    built_there.wanted = Some(Presence::Unsigned);
    assert_eq!(plan_of(Action::Switch, built_there), ["copy signatures of A", "switch A"]);
}

#[test]
fn an_activation_that_runs_is_waited_for_and_not_started_again() {
    let running = with_activation(state(Some('b'), Some('a')), job_a(Action::Switch), None);
    assert_eq!(plan_of(Action::Switch, running), ["wait for the running switch A"]);
    let other = Job { action: Action::Switch, closure: path('b') };
    let mut other = with_activation(state(Some('b'), Some('b')), other, None);
    other.wanted = Some(Presence::Signed);
    assert_eq!(plan_of(Action::Switch, other), ["wait for the running switch B", "switch A"]);
}

#[test]
fn what_was_only_tested_becomes_the_next_boot() {
    assert_eq!(plan_of(Action::Switch, state(Some('a'), Some('b'))), ["copy A", "boot A"]);
}

#[test]
fn a_closure_that_waits_for_its_reboot_is_not_activated_again() {
    let staged = || state(Some('b'), Some('a'));
    let asked = with_activation(staged(), job_a(Action::Switch), Some(Outcome::RebootRequired));
    assert!(plan_of(Action::Switch, asked.clone()).is_empty());
    let assessment = assess(&desired(Action::Switch), &Observed::Reached(Box::new(asked)));
    assert_eq!(assessment.reboot_required, Some(true));
    let booted = with_activation(staged(), job_a(Action::Boot), Some(Outcome::Succeeded));
    assert!(plan_of(Action::Boot, booted.clone()).is_empty());
    assert_eq!(plan_of(Action::Switch, booted), ["copy A", "switch A"]);
}

#[test]
fn a_failed_or_interrupted_activation_is_tried_again() {
    let failed = with_activation(
        state(Some('b'), Some('a')),
        job_a(Action::Switch),
        Some(Outcome::Rejected),
    );
    assert_eq!(plan_of(Action::Switch, failed), ["copy A", "switch A"]);
    let half = with_activation(
        state(Some('a'), Some('a')),
        job_a(Action::Switch),
        Some(Outcome::Interrupted),
    );
    assert_eq!(plan_of(Action::Switch, half), ["copy A", "switch A"]);
}

#[test]
fn a_machine_that_cannot_be_seen_is_unverified_and_untouched() {
    let observed = Observed::Unreachable { reason: "Unreachable", message: "no route".into() };
    let plan = plan(&desired(Action::Switch), &observed);
    assert!(plan.is_empty());
    assert_eq!(plan.count(DriftClass::Unverified), 1);
    assert_eq!(assess(&desired(Action::Switch), &observed).sync, SyncState::Unknown);
}
