//! Batches against a model of an evaluator: whatever is wrong with which machines, each gets its own
//! verdict, and the number of runs is bounded.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::nix::{Limits, Tools};
use crate::process::Output;
use crate::source::LockedSource;

const REV: &str = "4efca76eb731711a51effb354be563066c7b450b";
const NAR_HASH: &str = "sha256-aVSY/TASFLuZlot6o8KdD5sZF8vuiNvbT/TlLijOJHs=";
/// Nobody is to be installed.
static NONE: Installs = BTreeMap::new();
/// What a run of the model may take.
const MEMORY: u64 = 100;

/// What a machine does to the run that evaluates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Machine {
    /// Evaluates, and takes so much memory.
    Sound(u64),
    Throws,
    /// Ends the run.
    Fails,
    Unknown,
    Endless,
}

fn source() -> LockedSource {
    LockedSource {
        url: format!("git://h/r?ref=main&rev={REV}"),
        rev: REV.parse().unwrap(),
        nar_hash: NAR_HASH.parse().unwrap(),
    }
}

/// A Nix that only says its version.
fn nix(limits: Limits) -> Nix {
    let tools = Tools {
        nix: "/bin/echo".into(),
        git: "git".into(),
        ssh: "ssh".into(),
        path: "/bin".into(),
        home: "/".into(),
        env: vec![],
    };
    Nix::unchecked(tools, limits)
}

fn evaluated(name: &Attribute, machine: Machine) -> serde_json::Value {
    let path = |name: &str| format!("/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-{name}");
    match machine {
        Machine::Throws => serde_json::json!({ "status": "caught" }),
        Machine::Unknown => serde_json::json!({ "status": "unknown" }),
        _ => serde_json::json!({
            "status": "evaluated",
            "services": {},
            "toplevel": { "derivation": path(&format!("{name}.drv")), "closure": path(name.as_str()) },
        }),
    }
}

/// How a run for `batch` ends.
fn run(fleet: &BTreeMap<Attribute, Machine>, part: Part, batch: &[Attribute]) -> Ended {
    let failed = || {
        Ended::Failed(Output {
            code: Some(1),
            stdout: String::new(),
            stderr: "error: broken".into(),
        })
    };
    let of: Vec<Machine> = batch.iter().map(|name| fleet[name]).collect();
    let memory: u64 =
        of.iter().map(|machine| if let Machine::Sound(n) = machine { *n } else { 1 }).sum();
    if memory > MEMORY {
        Ended::TooLarge
    } else if of.contains(&Machine::Endless) {
        Ended::TimedOut(Duration::from_secs(1))
    } else if part == Part::Uncaught || of.contains(&Machine::Fails) {
        failed()
    } else {
        let machines = batch.iter().map(|name| (name.to_string(), evaluated(name, fleet[name])));
        let machines: serde_json::Map<String, serde_json::Value> = machines.collect();
        Ended::Answered(
            serde_json::json!({
                "rev": REV, "narHash": NAR_HASH, "takesInventory": false, "available": [],
                "machines": machines,
            })
            .to_string(),
        )
    }
}

fn verdict(machine: Machine) -> &'static str {
    match machine {
        Machine::Sound(memory) if memory > MEMORY => "EvaluationTooLarge",
        Machine::Sound(_) => "",
        Machine::Throws | Machine::Fails => "EvaluationFailed",
        Machine::Unknown => "UnknownConfiguration",
        Machine::Endless => "EvaluationTimeout",
    }
}

fn machine() -> impl Strategy<Value = Machine> {
    prop_oneof![
        8 => (1..40_u64).prop_map(Machine::Sound),
        1 => Just(Machine::Sound(MEMORY + 1)),
        1 => Just(Machine::Throws),
        1 => Just(Machine::Fails),
        1 => Just(Machine::Unknown),
    ]
}

proptest! {
    #[test]
    fn each_machine_gets_its_own_verdict(
        machines in proptest::collection::vec(machine(), 0..60),
        endless in any::<Option<prop::sample::Index>>(),
        evaluate_batch in 0..60_usize,
        evaluate_workers in 0..4_usize,
        order in proptest::collection::vec(any::<prop::sample::Index>(), 300),
    ) {
        let mut machines = machines;
        if let Some(index) = endless.filter(|_| !machines.is_empty()) {
            let index = index.index(machines.len());
            machines[index] = Machine::Endless;
        }
        let names = (0..machines.len()).map(|n| format!("m{n}").parse::<Attribute>().unwrap());
        let fleet: BTreeMap<_, _> = names.zip(machines).collect();
        let attributes: Vec<_> = fleet.keys().cloned().collect();
        let nix = nix(Limits { evaluate_batch, evaluate_workers, ..Limits::default() });
        let source = source();
        let evaluator = Evaluator { nix: &nix, source: &source, inventory: None, installs: &NONE };
        let mut work = Work::new(evaluator, &attributes);
        let mut running = Vec::new();
        let mut turns = order.iter().cycle();
        loop {
            while running.len() < evaluate_workers.max(1) && let Some(next) = work.next() {
                running.push(next);
            }
            if running.is_empty() {
                break;
            }
            // Runs end in any order.
            let turn = turns.next().unwrap().index(running.len());
            let (part, batch) = running.swap_remove(turn);
            let ended = run(&fleet, part, &batch);
            work.take(Asked { part, batch, ended, peak_memory: 1 }).unwrap();
        }
        let told = work.evaluation.configurations.iter().map(|(name, result)| {
            (name.clone(), result.as_ref().err().map_or("", AttributeError::reason))
        });
        let wanted = fleet.iter().map(|(name, machine)| (name.clone(), verdict(*machine)));
        prop_assert_eq!(told.collect::<BTreeMap<_, _>>(), wanted.collect::<BTreeMap<_, _>>());
        // One of the flake, one for each message, and no batch twice.
        let caught = fleet.values().filter(|machine| **machine == Machine::Throws).count();
        prop_assert!(work.evaluation.stats.runs as usize <= 2 * fleet.len() + caught + 1);
    }
}

#[test]
fn an_evaluation_that_only_waits_is_given_up() {
    let names: Vec<_> = (0..100).map(|n| format!("m{n}").parse::<Attribute>().unwrap()).collect();
    let fleet: BTreeMap<_, _> = names.iter().map(|name| (name.clone(), Machine::Endless)).collect();
    let nix = nix(Limits::default());
    let source = source();
    let evaluator = Evaluator { nix: &nix, source: &source, inventory: None, installs: &NONE };
    let mut work = Work::new(evaluator, &names);
    let mut runs = 0;
    let error = loop {
        let (part, batch) = work.next().expect("it goes on until it is given up");
        runs += 1;
        let ended = run(&fleet, part, &batch);
        if let Err(error) = work.take(Asked { part, batch, ended, peak_memory: 0 }) {
            break error;
        }
    };
    assert_eq!(error.reason(), "Timeout");
    assert!(runs <= MAX_TIMEOUTS + 2, "{runs}");
}
