//! Examples of single decisions.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::*;

mod laws;
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
