//! One run of the evaluator.

use std::time::Duration;

use super::answer::expression;
use super::{Attribute, Installs, InventoryJson};
use crate::error::Error;
use crate::nix::Nix;
use crate::process::Output;
use crate::source::LockedSource;

/// What all runs of an evaluation have in common.
#[derive(Clone, Copy)]
pub(super) struct Evaluator<'a> {
    pub(super) nix: &'a Nix,
    pub(super) source: &'a LockedSource,
    pub(super) inventory: Option<&'a InventoryJson>,
    pub(super) installs: &'a Installs,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The configurations of a batch.
    Answer,
    /// Those of a part of a batch that failed.
    Half,
    /// The error that the run before caught, for its message.
    Uncaught,
    /// The flake without any machine.
    Flake,
}

/// How a run ended, with what was asked for.
pub(super) struct Asked {
    pub(super) part: Part,
    pub(super) batch: Vec<Attribute>,
    pub(super) ended: Ended,
    /// In bytes; 0 for a run that reached its deadline.
    pub(super) peak_memory: u64,
}

/// How a run ended.
pub(super) enum Ended {
    Answered(String),
    Failed(Output),
    TooLarge,
    TimedOut(Duration),
}

impl Evaluator<'_> {
    /// Runs the evaluator once. An error is only what kept it from being run.
    pub(super) async fn ask(self, part: Part, batch: Vec<Attribute>) -> Result<Asked, Error> {
        let Self { nix, source, inventory, installs } = self;
        let select = match part {
            Part::Answer | Part::Half | Part::Flake => "answer",
            Part::Uncaught => "uncaught",
        };
        let hash = inventory.map(InventoryJson::hash);
        let expression = format!("({}).{select}", expression(&source.url, hash, &batch, installs));
        // Without the trace, Nix does not tell an input that it could not fetch.
        let args = ["eval", "--json", "--show-trace", "--expr", &expression];
        let noun = if batch.len() == 1 { "machine" } else { "machines" };
        let what = format!("evaluating {} {noun} of {}", batch.len(), source.url);
        let mut run = nix.fetching_nix(args, nix.limits().evaluate, what);
        if let Some(inventory) = inventory {
            run.stdin = inventory.as_str().as_bytes().to_vec();
            run.stdin_is_file = true;
        }
        let (ended, peak_memory) = match run.run_measured(nix.limits().evaluate_memory).await {
            Err(Error::Timeout { after, .. }) => (Ended::TimedOut(after), 0),
            Err(other) => return Err(other),
            Ok(measured) => (Ended::of(measured.output), measured.peak_memory),
        };
        Ok(Asked { part, batch, ended, peak_memory })
    }
}

impl Ended {
    /// `None` is a run that was stopped because of its memory.
    fn of(output: Option<Output>) -> Self {
        match output {
            None => Self::TooLarge,
            Some(output) if output.success() => Self::Answered(output.stdout),
            Some(output) => Self::Failed(output),
        }
    }
}
