//! Medians and ratios.

use std::time::Duration;

use cim_e2e::story::table;
use cim_nixos::EvaluationStats;
use serde_json::{Value, json};

use super::{by_hand, ours, wire::Delta};

/// What was measured, a value a round.
#[derive(Default)]
pub(super) struct Report {
    targets: u8,
    pass: Vec<Duration>,
    round_trips: Vec<Duration>,
    rollout: Vec<Duration>,
    evaluate: Vec<Duration>,
    build: Vec<Duration>,
    deliver: Vec<Duration>,
    by_hand: Vec<Duration>,
    with_care: Vec<Duration>,
    bytes: Vec<u64>,
    by_hand_bytes: Vec<u64>,
    nar: Vec<u64>,
    xz: Vec<u64>,
    evaluation: EvaluationStats,
}

/// One line: what, the value, what it is compared with, the ratio, the goal.
struct Line {
    what: &'static str,
    value: Measure,
    floor: Option<(&'static str, Measure)>,
    goal: Option<f64>,
}

#[derive(Clone, Copy)]
enum Measure {
    Time(Duration),
    Bytes(u64),
    Count(u32),
}

impl Report {
    pub(super) fn new(targets: u8) -> Self {
        Self { targets, ..Self::default() }
    }

    pub(super) fn passes(&mut self, pass: Duration, round_trips: Duration) {
        self.pass.push(pass);
        self.round_trips.push(round_trips);
    }

    pub(super) fn rollout(&mut self, rollout: &ours::Rollout, delta: Delta) {
        self.rollout.push(rollout.total);
        self.evaluate.push(rollout.stages.evaluate);
        self.build.push(rollout.stages.build);
        self.deliver.push(rollout.stages.deliver);
        self.bytes.push(rollout.bytes);
        self.nar.push(delta.nar);
        self.xz.push(delta.xz);
        let stats = &mut self.evaluation;
        stats.runs = stats.runs.max(rollout.evaluation.runs);
        stats.peak_memory = stats.peak_memory.max(rollout.evaluation.peak_memory);
    }

    pub(super) fn by_hand(&mut self, rollout: &by_hand::Rollout) {
        self.by_hand.push(rollout.total);
        self.by_hand_bytes.push(rollout.bytes);
    }

    pub(super) fn with_care(&mut self, rollout: &by_hand::Rollout) {
        self.with_care.push(rollout.total);
    }

    fn lines(&self) -> Vec<Line> {
        let time = |values: &[Duration]| Measure::Time(median(values));
        let bytes = |values: &[u64]| Measure::Bytes(median(values));
        let line = |what, value| Line { what, value, floor: None, goal: None };
        let beside = |what, value, floor| Line { what, value, floor: Some(floor), goal: None };
        let against =
            |what, value, floor, goal| Line { goal: Some(goal), ..beside(what, value, floor) };
        let trips = ("ssh true, multiplexed, 16 wide", time(&self.round_trips));
        let by_hand = ("shell loop, 10 wide", time(&self.by_hand));
        let with_care = ("  with a way back and a login", time(&self.with_care));
        vec![
            against("pass with nothing to do, 16 wide", time(&self.pass), trips, 1.5),
            against("commit to all activated, 10 wide", time(&self.rollout), by_hand, 1.2),
            beside("  the same", time(&self.rollout), with_care),
            line("  resolve and evaluate", time(&self.evaluate)),
            line("  build and sign", time(&self.build)),
            line("  copy, test, log in, confirm", time(&self.deliver)),
            against(
                "bytes on the wire",
                bytes(&self.bytes),
                ("missing NARs by xz", bytes(&self.xz)),
                1.2,
            ),
            line("  missing NARs", bytes(&self.nar)),
            line("  of the shell loop", bytes(&self.by_hand_bytes)),
            line("runs of the evaluator", Measure::Count(self.evaluation.runs)),
            line("memory of the evaluator at most", Measure::Bytes(self.evaluation.peak_memory)),
        ]
    }

    pub(super) fn table(&self) -> String {
        let rows: Vec<_> = self.lines().iter().map(Line::row).collect();
        let head = ["WHAT", "MEDIAN", "BESIDE", "MEDIAN", "RATIO", "GOAL"];
        format!(
            "{} targets on one kernel with the controller, {} rounds; a stand-in for systemd on the targets\n\n{}\n\
             colmena and deploy-rs are not measured: they are not in the lab's tools\n",
            self.targets,
            self.rollout.len(),
            table(head, &rows)
        )
    }

    pub(super) fn json(&self) -> Value {
        let lines: Vec<_> = self.lines().iter().map(Line::json).collect();
        json!({ "targets": self.targets, "rounds": self.rollout.len(), "results": lines })
    }
}

impl Line {
    fn ratio(&self) -> Option<f64> {
        self.floor.map(|(_, floor)| self.value.number() / floor.number())
    }

    fn row(&self) -> Vec<String> {
        let (beside, floor) = self
            .floor
            .map_or_else(Default::default, |(what, floor)| (what.to_owned(), floor.to_string()));
        let ratio = self.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let goal = self.goal.map_or_else(String::new, |goal| format!("≤ {goal}"));
        vec![self.what.to_owned(), self.value.to_string(), beside, floor, ratio, goal]
    }

    fn json(&self) -> Value {
        let beside =
            self.floor.map(|(what, value)| json!({ "what": what, "median": value.json() }));
        json!({
            "what": self.what.trim(), "median": self.value.json(), "beside": beside,
            "ratio": self.ratio(), "goal": self.goal,
        })
    }
}

impl Measure {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn number(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Bytes(bytes) => bytes as f64,
            Self::Count(count) => f64::from(count),
        }
    }

    fn json(self) -> Value {
        match self {
            Self::Time(time) => json!({ "seconds": time.as_secs_f64() }),
            Self::Bytes(bytes) => json!({ "bytes": bytes }),
            Self::Count(count) => json!(count),
        }
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{:.2}s", time.as_secs_f64()),
            Self::Bytes(_) => write!(f, "{:.1} MB", self.number() / 1e6),
            Self::Count(count) => count.fmt(f),
        }
    }
}

fn median<T: Copy + Ord + Default>(values: &[T]) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
