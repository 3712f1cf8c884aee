//! Every status that the controller can write keeps the rules of kstatus and Flux.

use cim_crds::conditions::{ConditionStatus, ConditionType, find, is_true, reasons};
use cim_crds::{CommonStatus, Mode};
use cim_plan::Finding;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

use super::flux::{Written, broken};
use super::{Facts, Judgement, Phase, compose};
use crate::outcome::Class;

const OWN: [ConditionType; 2] = [ConditionType::Available, ConditionType::ReleaseReady];

/// One visit, as data.
#[derive(Clone, Debug)]
struct Visit {
    generations: i64,
    mode: Mode,
    phase: Phase,
    judged: Vec<Judgement>,
    stale: bool,
    findings: Option<Vec<Finding>>,
}

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).expect("in range"))
}

fn step(before: &CommonStatus, visit: &Visit, generation: i64, second: i64) -> CommonStatus {
    compose(
        before,
        &Facts {
            generation,
            now: at(second),
            mode: visit.mode,
            phase: visit.phase.clone(),
            own: &OWN,
            judged: &visit.judged,
            stale: visit.stale,
            findings: visit.findings.as_deref(),
        },
    )
}

fn phase() -> impl Strategy<Value = Phase> {
    let message = || "[a-z]{0,8}";
    prop_oneof![
        message().prop_map(|message| Phase::Working { reason: "Progressing", message }),
        message().prop_map(|message| Phase::Paused { reason: reasons::SUSPENDED, message }),
        message().prop_map(|message| Phase::Ready { message }),
        message().prop_map(|message| Phase::Waiting { reason: "Waiting", message }),
        (message(), any::<bool>()).prop_map(|(message, stalled)| Phase::Failed {
            class: if stalled { Class::Stalled } else { Class::Retry },
            reason: "Unreachable",
            message
        }),
    ]
}

fn judgements() -> impl Strategy<Value = Vec<Judgement>> {
    let status = prop_oneof![
        Just(ConditionStatus::True),
        Just(ConditionStatus::False),
        Just(ConditionStatus::Unknown)
    ];
    let one = (0..OWN.len(), status, "[a-z]{0,8}").prop_map(|(index, status, message)| Judgement {
        condition: OWN[index],
        status,
        reason: "Because",
        message,
    });
    prop::collection::vec(one, 0..3)
}

fn findings() -> impl Strategy<Value = Option<Vec<Finding>>> {
    let one = (0..3, "[a-z]{1,4}").prop_map(|(class, subject)| match class {
        0 => Finding::missing(subject, "x"),
        1 => Finding::unexpected(subject, "y"),
        _ => Finding::unverified(subject, "x", "why"),
    });
    prop::option::of(prop::collection::vec(one, 0..60))
}

fn visit() -> impl Strategy<Value = Visit> {
    let mode = prop_oneof![Just(Mode::Observe), Just(Mode::Plan), Just(Mode::Correct)];
    (0..2_i64, mode, phase(), judgements(), any::<bool>(), findings()).prop_map(
        |(generations, mode, phase, judged, stale, findings)| Visit {
            generations,
            mode,
            phase,
            judged,
            stale,
            findings,
        },
    )
}

proptest! {
    #[test]
    fn every_status_keeps_the_rules(visits in prop::collection::vec(visit(), 1..12)) {
        let mut status = CommonStatus::default();
        let mut generation = 1;
        for (second, visit) in (0_i64..).zip(&visits) {
            generation += visit.generations;
            let before = status.clone();
            status = step(&before, visit, generation, second);
            let written = match visit.phase {
                Phase::Working { .. } => Written::Midway,
                _ => Written::Finished,
            };
            let rules = broken(&status, generation, written);
            prop_assert!(rules.is_empty(), "{rules:?} broken by {visit:?}: {status:#?}");
            // Ours, beyond Flux's: these are always there, and Ready=False says who acts next.
            for always in [ConditionType::Drifted, ConditionType::Paused, OWN[0], OWN[1]] {
                prop_assert!(find(&status.conditions, always).is_some(), "{always:?} missing");
            }
            if find(&status.conditions, ConditionType::Ready).is_some_and(|c| c.status == "False") {
                prop_assert!(
                    is_true(&status.conditions, ConditionType::Reconciling)
                        != is_true(&status.conditions, ConditionType::Stalled)
                );
            }
            // A time moves only when the status of its condition flips.
            for now in &status.conditions {
                if let Some(then) = before.conditions.iter().find(|then| then.type_ == now.type_) {
                    prop_assert_eq!(
                        then.status == now.status,
                        then.last_transition_time == now.last_transition_time
                    );
                }
            }
            // The same facts later give the same status: no write.
            prop_assert_eq!(step(&status, visit, generation, second + 1000), status.clone());
        }
    }
}

fn ready(mode: Mode, findings: Vec<Finding>) -> CommonStatus {
    let visit = Visit {
        generations: 0,
        mode,
        phase: Phase::Ready { message: "fine".into() },
        judged: Vec::new(),
        stale: false,
        findings: Some(findings),
    };
    step(&CommonStatus::default(), &visit, 1, 5)
}

#[test]
fn a_drifted_object_that_is_only_watched_is_ready_and_says_that_it_drifted() {
    for mode in [Mode::Observe, Mode::Plan] {
        let status = ready(mode, vec![Finding::missing("a", "1")]);
        assert!(is_true(&status.conditions, ConditionType::Ready));
        assert!(is_true(&status.conditions, ConditionType::Drifted));
        let drift = status.drift.expect("drift");
        assert_eq!((drift.count, drift.since), (1, Some(at(5))));
    }
}

#[test]
fn the_date_of_drift_is_kept_until_nothing_differs() {
    let mut status = ready(Mode::Observe, vec![Finding::missing("a", "1")]);
    let visit = |findings| Visit {
        generations: 0,
        mode: Mode::Observe,
        phase: Phase::Ready { message: "fine".into() },
        judged: Vec::new(),
        stale: false,
        findings,
    };
    status = step(&status, &visit(Some(vec![Finding::missing("b", "1")])), 1, 50);
    assert_eq!(status.drift.as_ref().and_then(|drift| drift.since.clone()), Some(at(5)));
    status = step(&status, &visit(Some(Vec::new())), 1, 60);
    assert_eq!(status.drift, None);
    status = step(&status, &visit(Some(vec![Finding::missing("b", "1")])), 1, 70);
    assert_eq!(status.drift.and_then(|drift| drift.since), Some(at(70)));
}

#[test]
fn long_lists_are_cut_and_say_so() {
    let findings = (0..60).map(|n| Finding::missing(format!("{n}"), "x".repeat(5000))).collect();
    let drift = ready(Mode::Observe, findings).drift.expect("drift");
    assert_eq!((drift.count, drift.items.len(), drift.truncated), (60, 50, true));
    assert!(
        drift
            .items
            .iter()
            .all(|item| item.expected.as_ref().is_some_and(|e| e.chars().count() == 1024))
    );
}

#[test]
fn a_short_failure_keeps_what_was_true_and_a_long_one_does_not() {
    let good = Visit {
        generations: 0,
        mode: Mode::Correct,
        phase: Phase::Ready { message: "fine".into() },
        judged: OWN.map(|own| Judgement::new(own, true, "Because", "")).to_vec(),
        stale: false,
        findings: Some(Vec::new()),
    };
    let failed = |stale| Visit {
        phase: Phase::Failed { class: Class::Retry, reason: "Unreachable", message: "no".into() },
        judged: Vec::new(),
        findings: None,
        stale,
        ..good.clone()
    };
    let status = step(&CommonStatus::default(), &good, 1, 1);
    let blink = step(&status, &failed(false), 1, 2);
    assert!(is_true(&blink.conditions, ConditionType::Available));
    let lost = step(&blink, &failed(true), 1, 3);
    let available = find(&lost.conditions, ConditionType::Available).expect("available");
    assert_eq!(available.status, "Unknown");
}
