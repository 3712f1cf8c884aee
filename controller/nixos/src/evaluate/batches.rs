//! Evaluating many machines in as few runs as their faults and their memory allow.

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::answer::{Found, read};
use super::evaluator::{Asked, Ended, Evaluator, Part};
use super::{Attribute, AttributeError, Configuration, Evaluation, Installs, InventoryJson};
use crate::error::Error;
use crate::nix::Nix;
use crate::process::strip_ansi;
use crate::source::{LockedSource, input_error, one_line};

/// Runs that reach their deadline before the whole evaluation is given up. Finding one endless
/// machine among fifty takes seven.
const MAX_TIMEOUTS: u32 = 16;

impl Nix {
    /// Evaluates the configuration of each of `attributes`.
    ///
    /// A flake with the output `cimConfigurations`, a function from an inventory to configurations,
    /// is called with `inventory`; of any other (or without an inventory) its `nixosConfigurations`
    /// are taken. Evaluation is pure: the result depends on `source` and the inventory's hash only.
    ///
    /// Machines go in batches of [`Limits::evaluate_batch`](crate::Limits::evaluate_batch), each in a
    /// process of its own, [`Limits::evaluate_workers`](crate::Limits::evaluate_workers) at the same
    /// time. A configuration that throws (also by a failed NixOS assertion) is caught
    /// within its run; one more run tells its message. What ends a run (an error that the language
    /// cannot catch, too much memory, the deadline) halves the batch until the culprit stands
    /// alone, so k bad of n machines cost in the order of k·log n runs, and none when nothing is bad.
    ///
    /// # Errors
    /// For faults of the flake as a whole: [`Error::LockMismatch`], [`Error::Unlocked`],
    /// [`Error::FlakeBroken`], [`Error::FlakeTooLarge`], [`Error::SourceUnreachable`],
    /// [`Error::SourceDenied`], [`Error::SourceKeyMismatch`], [`Error::SourceChanged`],
    /// [`Error::Timeout`].
    pub async fn evaluate(
        &self,
        source: &LockedSource,
        inventory: Option<&InventoryJson>,
        attributes: &[Attribute],
    ) -> Result<Evaluation, Error> {
        self.evaluate_with(source, inventory, attributes, &Installs::new()).await
    }

    /// The same, and for the configurations in `installs` also what a first install of their machine
    /// takes.
    ///
    /// # Errors
    /// Those of [`Nix::evaluate`].
    pub async fn evaluate_with(
        &self,
        source: &LockedSource,
        inventory: Option<&InventoryJson>,
        attributes: &[Attribute],
        installs: &Installs,
    ) -> Result<Evaluation, Error> {
        let evaluator = Evaluator { nix: self, source, inventory, installs };
        let mut work = Work::new(evaluator, attributes);
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < self.limits().evaluate_workers.max(1)
                && let Some((part, batch)) = work.next()
            {
                running.push(evaluator.ask(part, batch));
            }
            // Nothing else is waited for in this loop: runs are watched only while it waits here.
            match running.next().await {
                Some(asked) => work.take(asked?)?,
                None => return Ok(work.evaluation),
            }
        }
    }
}

/// An evaluation under way.
struct Work<'a> {
    evaluator: Evaluator<'a>,
    /// Not asked for yet.
    fresh: VecDeque<Attribute>,
    /// How many of them go in one batch.
    size: usize,
    /// What is asked for before fresh ones are.
    urgent: Vec<(Part, Vec<Attribute>)>,
    soundness: Soundness,
    /// Batches that failed while it is not known whether the flake without any machine is sound.
    suspects: Vec<(Vec<Attribute>, Ended)>,
    timeouts: u32,
    evaluation: Evaluation,
}

/// Whether the flake without any machine was seen to evaluate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Soundness {
    Unknown,
    Asked,
    Sound,
}

impl<'a> Work<'a> {
    fn new(evaluator: Evaluator<'a>, attributes: &[Attribute]) -> Self {
        let wanted: BTreeSet<&Attribute> = attributes.iter().collect();
        let limits = evaluator.nix.limits();
        let share = wanted.len().div_ceil(limits.evaluate_workers.max(1));
        Self {
            evaluator,
            fresh: wanted.into_iter().cloned().collect(),
            size: limits.evaluate_batch.min(share).max(1),
            urgent: Vec::new(),
            soundness: Soundness::Unknown,
            suspects: Vec::new(),
            timeouts: 0,
            evaluation: Evaluation::default(),
        }
    }

    /// What to ask for next. A batch is split and never repeated, so this ends.
    fn next(&mut self) -> Option<(Part, Vec<Attribute>)> {
        self.urgent.pop().or_else(|| {
            let batch: Vec<_> = self.fresh.drain(..self.size.min(self.fresh.len())).collect();
            (!batch.is_empty()).then_some((Part::Answer, batch))
        })
    }

    /// Takes over what a run found.
    fn take(&mut self, asked: Asked) -> Result<(), Error> {
        let Asked { part, mut batch, ended, peak_memory } = asked;
        let stats = &mut self.evaluation.stats;
        stats.runs += 1;
        stats.peak_memory = stats.peak_memory.max(peak_memory);
        stats.stopped += u32::from(matches!(ended, Ended::TooLarge));
        if let Ended::TimedOut(after) = ended {
            self.timeouts += 1;
            if self.timeouts > MAX_TIMEOUTS {
                return Err(self.timeout(after));
            }
        }
        match (part, &ended) {
            (Part::Answer | Part::Half, Ended::Answered(json)) => self.answered(json),
            (Part::Answer, Ended::TooLarge) => {
                // The others are likely to be of about this size.
                self.size = self.size.min(batch.len().div_ceil(2));
                self.failed(batch, ended)
            }
            (Part::Answer | Part::Half, _) => self.failed(batch, ended),
            (Part::Uncaught, _) => {
                if let Some(attribute) = batch.pop() {
                    self.blame(attribute, &ended);
                }
                Ok(())
            }
            (Part::Flake, _) => self.sound(&ended),
        }
    }

    fn insert(&mut self, attribute: Attribute, result: Result<Configuration, AttributeError>) {
        self.evaluation.configurations.insert(attribute, result);
    }

    fn answered(&mut self, json: &str) -> Result<(), Error> {
        let answer = read(self.evaluator.source, json)?;
        if answer.takes_inventory {
            let hash = self.evaluator.inventory.map(|inventory| inventory.hash().clone());
            self.evaluation.inventory = hash;
        }
        for (attribute, found) in answer.found {
            match found {
                Found::Told(result) => self.insert(attribute, result),
                Found::Caught => self.urgent.push((Part::Uncaught, vec![attribute])),
            }
        }
        Ok(())
    }

    /// Tells a fault that all machines share, where asking for fewer would not help, from one of a
    /// machine: the flake without any machine evaluates, or it does not.
    fn failed(&mut self, batch: Vec<Attribute>, ended: Ended) -> Result<(), Error> {
        // An input that cannot be had says nothing about the machine that asked for it.
        if let Some(error) = self.fault_of_inputs(&ended) {
            return Err(error);
        }
        match self.soundness {
            Soundness::Sound => self.divide(batch, &ended),
            Soundness::Asked => self.suspects.push((batch, ended)),
            Soundness::Unknown => {
                self.soundness = Soundness::Asked;
                self.urgent.push((Part::Flake, Vec::new()));
                self.suspects.push((batch, ended));
            }
        }
        Ok(())
    }

    fn sound(&mut self, ended: &Ended) -> Result<(), Error> {
        let url = self.evaluator.source.url.clone();
        let limit = self.evaluator.nix.limits().evaluate_memory;
        match ended {
            Ended::Answered(_) => {
                self.soundness = Soundness::Sound;
                for (batch, ended) in mem::take(&mut self.suspects) {
                    self.divide(batch, &ended);
                }
                Ok(())
            }
            Ended::Failed(output) => Err(self
                .fault_of_inputs(ended)
                .unwrap_or_else(|| Error::FlakeBroken { url, detail: one_line(&output.stderr) })),
            Ended::TooLarge => Err(Error::FlakeTooLarge { url, limit }),
            Ended::TimedOut(after) => Err(self.timeout(*after)),
        }
    }

    fn fault_of_inputs(&self, ended: &Ended) -> Option<Error> {
        match ended {
            Ended::Failed(output) => {
                input_error(&self.evaluator.source.url, &strip_ansi(&output.stderr))
            }
            _ => None,
        }
    }

    /// Asks for the halves of a batch that failed; a machine alone is the culprit.
    fn divide(&mut self, mut batch: Vec<Attribute>, ended: &Ended) {
        if batch.len() > 1 {
            let half = batch.split_off(batch.len() / 2);
            self.urgent.push((Part::Half, half));
            self.urgent.push((Part::Half, batch));
        } else if let Some(attribute) = batch.pop() {
            self.blame(attribute, ended);
        }
    }

    /// The fault of a machine that was evaluated alone.
    fn blame(&mut self, attribute: Attribute, ended: &Ended) {
        let of = attribute.clone();
        let limit = self.evaluator.nix.limits().evaluate_memory;
        let failed = |message| AttributeError::Failed { attribute: of.clone(), message };
        let error = match ended {
            Ended::TooLarge => AttributeError::TooLarge { attribute: of, limit },
            Ended::TimedOut(after) => AttributeError::TimedOut { attribute: of, after: *after },
            Ended::Failed(output) => failed(one_line(&output.stderr)),
            Ended::Answered(_) => failed("it failed once and then did not".to_owned()),
        };
        self.insert(attribute, Err(error));
    }

    fn timeout(&self, after: Duration) -> Error {
        Error::Timeout { what: format!("evaluating {}", self.evaluator.source.url), after }
    }
}

#[cfg(test)]
mod tests;
