//! A retry from the wish to its end: once, and not less.

use std::time::Duration;

use cim_nixos::{Action, HostState, Job, Link, Outcome, RollbackReason, Step, StorePath};
use serde_json::json;

use super::*;

const CLOSURE: &str = "/nix/store/00000000000000000000000000000002-nixos-system-host1";

fn path() -> StorePath {
    CLOSURE.parse().expect("store path")
}

fn record(at: &str) -> RolledBack {
    let (why, at) = (RollbackReason::Unconfirmed, at.to_owned());
    RolledBack { closure: path(), why, outcome: None, at, restored: Some(0) }
}

/// A machine that runs something else, and has the closure in its store.
fn host(rolled_back: Option<RolledBack>) -> Observed {
    let before = "/nix/store/00000000000000000000000000000001-nixos-system-host1";
    let before = || Link::Closure(before.parse().expect("store path"));
    Observed::Reached(Box::new(HostState {
        current: before(),
        booted: before(),
        profile: before(),
        generation: Some(1),
        boot_id: "1".to_owned(),
        kernel_is_current: Some(true),
        wanted: Some(cim_nixos::Presence::Signed),
        activation: None,
        pending: None,
        rolling_back: None,
        rolled_back,
        staged: None,
        inhibited: Some(false),
        switch_locked: false,
    }))
}

/// One machine, and what the controller does about it.
struct Story {
    machine: Machine,
    assignment: Assignment,
    observed: Observed,
    /// How often the closure was tested.
    tests: usize,
}

impl Story {
    /// The machine went back from its release by itself, and the status tells it.
    fn of_a_failure() -> Self {
        let machine = json!({
            "apiVersion": "cim.dev/v1alpha1", "kind": "Machine", "metadata": {"name": "host1"},
            "spec": {"cluster": "core", "provider": {"metal": {}}},
            "status": {},
        });
        let machine = serde_json::from_value(machine).expect("a machine");
        let target = json!({"rev": "r", "release": "d2", "outPath": CLOSURE});
        let assignment = Assignment {
            target: Some(serde_json::from_value(target).expect("a target")),
            release: Some("d2".to_owned()),
            attempt: 1,
            ..Assignment::default()
        };
        let observed = host(Some(record("2026-01-01T00:00:00Z")));
        let mut story = Self { machine, assignment, observed, tests: 0 };
        story.visit(|_| panic!("it went back from it"));
        assert_eq!(story.attempt(), Attempt::Refused);
        story
    }

    fn status(&mut self) -> &mut MachineStatus {
        self.machine.status.as_mut().expect("a status")
    }

    fn failed(&self) -> &FailedDelivery {
        let status = self.machine.status.as_ref();
        status.and_then(|status| status.failed.as_ref()).expect("it failed")
    }

    fn attempt(&self) -> Attempt {
        attempt(&self.machine, &self.assignment, CLOSURE).0
    }

    fn ask(&mut self, token: &str) {
        let annotations = self.machine.annotations_mut();
        annotations.insert(annotations::RETRY.to_owned(), token.to_owned());
    }

    fn delivery(&self) -> Delivery {
        let (attempt, again) = attempt(&self.machine, &self.assignment, CLOSURE);
        Delivery {
            wanted: cim_nixos::Desired {
                closure: path(),
                known: Vec::new(),
                action: Action::Switch,
                confirm_timeout: Duration::from_mins(1),
                may_reboot: false,
                attempt,
            },
            derivation: None,
            signing_key: format!("key:{}==", "A".repeat(86)).parse().expect("a key"),
            again,
        }
    }

    /// What is planned is written down, and nothing is done yet.
    fn begins(&mut self) {
        let delivery = self.delivery();
        let wanted = delivery.wanted_of(&self.observed);
        let plan = cim_nixos::plan(&wanted, &self.observed, &cim_nixos::Health::Unasked);
        let mut status = self.status().clone();
        let (machine, assignment) = (&self.machine, &self.assignment);
        begin(machine, assignment, &delivery, &self.observed, &plan, &mut status);
        self.machine.status = Some(status);
    }

    /// A visit as the driver makes it; `effect` says what comes of what is begun, and the status is
    /// told at the end.
    fn visit(&mut self, mut effect: impl FnMut(&mut Observed)) {
        for _ in 0..4 {
            let delivery = self.delivery();
            let wanted = delivery.wanted_of(&self.observed);
            let plan = cim_nixos::plan(&wanted, &self.observed, &cim_nixos::Health::Unasked);
            if plan.is_empty() {
                break;
            }
            self.begins();
            self.tests += 1;
            effect(&mut self.observed);
        }
        self.report();
    }

    fn report(&mut self) {
        let delivery = self.delivery();
        let mut status = self.status().clone();
        let now = Time("2026-01-02T00:00:00Z".parse().expect("a time"));
        note_failure(&mut status, &self.assignment, &delivery, &self.observed, &now);
        let wanted = delivery.wanted_of(&self.observed);
        if cim_nixos::plan(&wanted, &self.observed, &cim_nixos::Health::Unasked).is_empty() {
            hear(&self.machine, &mut status);
        }
        self.machine.status = Some(status);
    }

    fn rests(&mut self) {
        let before = (self.machine.status.clone(), self.tests);
        for _ in 0..3 {
            self.visit(|_| ());
        }
        assert_eq!((self.machine.status.clone(), self.tests), before);
        assert_eq!(self.attempt(), Attempt::Refused);
    }
}

fn goes_back(at: &'static str) -> impl FnMut(&mut Observed) {
    move |observed| *observed = host(Some(record(at)))
}

#[test]
fn what_goes_back_again_was_tried_once() {
    let mut story = Story::of_a_failure();
    for (token, at) in [("1", "2026-01-01T00:05:00Z"), ("2", "2026-01-01T00:09:00Z")] {
        let before = story.tests;
        story.ask(token);
        story.visit(goes_back(at));
        assert_eq!(story.tests, before + 1, "{token}");
        assert!(story.failed().message.contains(at), "{:?}", story.failed());
        story.rests();
    }
}

#[test]
fn another_attempt_of_the_rollout_is_one_test() {
    let mut story = Story::of_a_failure();
    story.assignment.attempt = 2;
    assert_eq!(story.attempt(), Attempt::Again);
    story.visit(goes_back("2026-01-01T00:05:00Z"));
    assert_eq!((story.tests, story.failed().attempt), (1, 2));
    story.rests();
}

/// The machine's clock went back too.
#[test]
fn any_other_time_tells_of_another_failure() {
    let mut story = Story::of_a_failure();
    story.ask("1");
    story.visit(goes_back("1970-01-01T00:00:00Z"));
    assert!(story.failed().message.contains("1970"), "{:?}", story.failed());
    story.rests();
}

#[test]
fn a_copy_that_broke_off_leaves_the_wish() {
    let mut story = Story::of_a_failure();
    story.ask("1");
    let first = story.failed().clone();
    // The plan is made once, fails, and the visit ends.
    story.begins();
    story.report();
    // It is heard, and told to have failed as before.
    assert_eq!(story.status().retry.as_deref(), Some("1"));
    assert_eq!(FailedDelivery { again: None, ..story.failed().clone() }, first);
    assert_eq!(story.attempt(), Attempt::Again);
    story.visit(goes_back("2026-01-01T00:05:00Z"));
    assert_eq!(story.tests, 1);
    story.rests();
}

#[test]
fn a_wish_that_cannot_begin_is_not_heard() {
    let mut story = Story::of_a_failure();
    story.ask("1");
    // A window is closed, say.
    story.report();
    assert_eq!(story.status().retry, None);
    assert_eq!(story.attempt(), Attempt::Again);
}

#[test]
fn what_awaits_its_confirmation_is_not_given_up_by_the_next_visit() {
    let mut story = Story::of_a_failure();
    story.ask("1");
    story.visit(|observed| {
        let Observed::Reached(state) = observed else { panic!("it is there") };
        state.current = Link::Closure(path());
        state.rolled_back = None;
        let remaining = Duration::from_secs(50);
        state.pending =
            Some(cim_nixos::Pending { closure: path(), old: None, tested: true, remaining });
    });
    let wanted = story.delivery().wanted;
    assert_eq!(wanted.attempt, Attempt::Again);
    let plan = cim_nixos::plan(&wanted, &story.observed, &cim_nixos::Health::Unasked);
    assert!(plan.is_empty(), "{:?}", plan.changes);
    // Nobody confirms it, and nobody sees it go back.
    story.observed = host(Some(record("2026-01-01T00:05:00Z")));
    story.visit(|_| panic!("once is enough"));
    assert!(story.failed().message.contains("00:05:00"), "{:?}", story.failed());
    story.rests();
}

#[test]
fn a_controller_that_dies_before_the_effect_begins_it_again() {
    let mut story = Story::of_a_failure();
    story.ask("1");
    story.begins();
    assert_eq!(story.attempt(), Attempt::Again);
    story.visit(goes_back("2026-01-01T00:05:00Z"));
    assert_eq!(story.tests, 1);
    story.rests();
}

#[test]
fn a_failure_that_only_the_machine_remembers_can_be_tried_again() {
    let mut story = Story::of_a_failure();
    story.status().failed = None;
    story.ask("1");
    story.visit(goes_back("2026-01-01T00:05:00Z"));
    assert_eq!(story.tests, 1);
    story.rests();
}

/// The failure of the units of an earlier attempt stands in systemd until the next step.
#[test]
fn what_an_earlier_attempt_ended_with_is_no_failure_of_the_next() {
    let mut story = Story::of_a_failure();
    let Observed::Reached(state) = &mut story.observed else { panic!("it is there") };
    let job = Some(Job { step: Step::Test, closure: path() });
    state.activation = Some(cim_nixos::Activation { job, outcome: Some(Outcome::UnitsFailed) });
    story.assignment.attempt = 2;
    story.report();
    assert_eq!((story.attempt(), story.failed().attempt), (Attempt::Again, 1));
}

#[test]
fn what_runs_did_not_fail() {
    let mut story = Story::of_a_failure();
    story.ask("1");
    story.visit(|observed| {
        let Observed::Reached(state) = observed else { panic!("it is there") };
        (state.current, state.profile) = (Link::Closure(path()), Link::Closure(path()));
        state.rolled_back = None;
    });
    assert_eq!((story.tests, &story.status().failed), (1, &None));
    assert_eq!(story.status().retry.as_deref(), Some("1"));
    assert_eq!(story.attempt(), Attempt::First);
}

#[test]
fn the_wish_decides_and_then_the_attempt() {
    let machine = |annotation: Option<&str>, status: serde_json::Value| -> Machine {
        let annotations = annotation.map(|it| json!({annotations::RETRY: it}));
        let machine = json!({
            "apiVersion": "cim.dev/v1alpha1", "kind": "Machine",
            "metadata": {"name": "host1", "annotations": annotations},
            "spec": {"cluster": "core", "provider": {"metal": {}}}, "status": status,
        });
        serde_json::from_value(machine).expect("a machine")
    };
    let failed = |attempt: u32, again: Option<serde_json::Value>| json!({"attempt": attempt, "outPath": CLOSURE, "reason": "RolledBack", "message": "", "again": again});
    let other = json!({"attempt": 1, "outPath": "/nix/store/x", "reason": "", "message": ""});
    let begun = |retry: &str| Some(json!({"attempt": 1, "retry": retry}));
    for (annotation, status, wanted) in [
        (None, json!({}), Attempt::First),
        (None, json!({"failed": failed(1, None)}), Attempt::Refused),
        (None, json!({"failed": failed(0, None)}), Attempt::Again),
        (None, json!({"failed": other}), Attempt::First),
        (Some("1"), json!({}), Attempt::Again),
        (Some("1"), json!({"retry": "1"}), Attempt::First),
        (Some("1"), json!({"failed": failed(1, None)}), Attempt::Again),
        (Some("1"), json!({"failed": failed(1, None), "retry": "0"}), Attempt::Again),
        (Some("1"), json!({"failed": failed(1, None), "retry": "1"}), Attempt::Refused),
        (Some("1"), json!({"failed": failed(1, begun("1")), "retry": "1"}), Attempt::Again),
        (Some("2"), json!({"failed": failed(1, begun("1")), "retry": "1"}), Attempt::Again),
        // Who takes the wish back does not stop what was begun, and begins nothing.
        (None, json!({"failed": failed(1, begun("1")), "retry": "1"}), Attempt::Again),
        (None, json!({"failed": failed(1, None), "retry": "1"}), Attempt::Refused),
    ] {
        let machine = machine(annotation, status.clone());
        let assignment = Assignment { attempt: 1, ..Assignment::default() };
        assert_eq!(attempt(&machine, &assignment, CLOSURE).0, wanted, "{annotation:?} {status}");
    }
    // Another wish is another attempt: what the machine did before is none of its ends.
    let status = json!({"failed": failed(1, begun("1")), "retry": "1"});
    let assignment = Assignment { attempt: 1, ..Assignment::default() };
    assert_eq!(attempt(&machine(Some("2"), status), &assignment, CLOSURE).1, None);
}

/// Somebody switched by hand at that moment: that says nothing of the closure.
#[test]
fn what_somebody_elses_activation_kept_from_beginning_is_tried_again() {
    let mut story = Story::of_a_failure();
    story.status().failed = None;
    story.observed = host(None);
    let mut ends = |outcome| {
        let Observed::Reached(state) = &mut story.observed else { panic!("it is there") };
        let job = Some(Job { step: Step::Test, closure: path() });
        state.activation = Some(cim_nixos::Activation { job, outcome: Some(outcome) });
        story.report();
        story.attempt()
    };
    assert_eq!(ends(Outcome::Locked), Attempt::First);
    assert_eq!(ends(Outcome::Interrupted), Attempt::First);
    assert_eq!(ends(Outcome::Rejected), Attempt::Refused);
}
