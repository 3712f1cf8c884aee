//! Examples of single decisions, by theme, and what holds for all of them (`laws`).

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::*;

mod aborts;
mod holds;
mod laws;
mod members;
mod oracle;
mod waves;
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
