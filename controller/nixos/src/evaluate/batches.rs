//! Evaluating many machines in as few runs as their faults and their memory allow.

use std::collections::BTreeSet;
use std::time::Duration;

use super::answer::{Found, expression, read};
use super::{Attribute, AttributeError, Configuration, Evaluation, InventoryJson};
use crate::error::Error;
use crate::nix::Nix;
use crate::process::{Output, strip_ansi};
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
    /// process of its own. A configuration that throws (also by a failed NixOS assertion) is caught
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
        let work = Work {
            nix: self,
            source,
            inventory,
            is_sound: false,
            timeouts: 0,
            evaluation: Evaluation::default(),
        };
        work.run(attributes).await
    }
}

/// An evaluation under way.
struct Work<'a> {
    nix: &'a Nix,
    source: &'a LockedSource,
    inventory: Option<&'a InventoryJson>,
    /// Whether the flake without any machine was seen to evaluate.
    is_sound: bool,
    timeouts: u32,
    evaluation: Evaluation,
}

/// How one run of the evaluator ended.
enum Ended {
    Answered(String),
    Failed(Output),
    TooLarge,
    TimedOut(Duration),
}

impl Work<'_> {
    async fn run(mut self, attributes: &[Attribute]) -> Result<Evaluation, Error> {
        let wanted: BTreeSet<&Attribute> = attributes.iter().collect();
        let mut fresh = wanted.into_iter().cloned();
        let mut size = self.nix.limits().evaluate_batch.max(1);
        // Halves of batches that failed. A batch is split and never repeated, so this ends.
        let mut halves: Vec<Vec<Attribute>> = Vec::new();
        loop {
            let from_halves = halves.pop();
            let is_fresh = from_halves.is_none();
            let mut batch = from_halves.unwrap_or_else(|| fresh.by_ref().take(size).collect());
            if batch.is_empty() {
                return Ok(self.evaluation);
            }
            let ended = self.evaluator("answer", &batch).await?;
            if let Ended::Answered(json) = &ended {
                self.take(json).await?;
                continue;
            }
            self.require_sound(&ended).await?;
            if batch.len() > 1 {
                if is_fresh && matches!(ended, Ended::TooLarge) {
                    // All are likely to be of about this size.
                    size = batch.len().div_ceil(2);
                }
                halves.push(batch.split_off(batch.len() / 2));
                halves.push(batch);
            } else if let Some(attribute) = batch.pop() {
                let error = self.blame(attribute.clone(), &ended);
                self.insert(attribute, Err(error));
            }
        }
    }

    fn insert(&mut self, attribute: Attribute, result: Result<Configuration, AttributeError>) {
        self.evaluation.configurations.insert(attribute, result);
    }

    /// Takes over what a run found, and asks for the messages of what it caught.
    async fn take(&mut self, json: &str) -> Result<(), Error> {
        let answer = read(self.source, json)?;
        if answer.takes_inventory {
            self.evaluation.inventory = self.inventory.map(|inventory| inventory.hash().clone());
        }
        for (attribute, found) in answer.found {
            let result = match found {
                Found::Told(result) => result,
                Found::Caught => {
                    let alone = std::slice::from_ref(&attribute);
                    let ended = self.evaluator("uncaught", alone).await?;
                    Err(self.blame(attribute.clone(), &ended))
                }
            };
            self.insert(attribute, result);
        }
        Ok(())
    }

    /// The fault of a machine that was evaluated alone.
    fn blame(&self, attribute: Attribute, ended: &Ended) -> AttributeError {
        match ended {
            Ended::TooLarge => {
                AttributeError::TooLarge { attribute, limit: self.nix.limits().evaluate_memory }
            }
            Ended::TimedOut(after) => AttributeError::TimedOut { attribute, after: *after },
            Ended::Failed(output) => {
                AttributeError::Failed { attribute, message: one_line(&output.stderr) }
            }
            Ended::Answered(_) => {
                let message = "it failed once and then did not".to_owned();
                AttributeError::Failed { attribute, message }
            }
        }
    }

    /// Tells a fault that all machines share, where asking for fewer would not help, from one of a
    /// machine: the flake without any machine evaluates, or it does not.
    async fn require_sound(&mut self, ended: &Ended) -> Result<(), Error> {
        // An input that cannot be had says nothing about the machine that asked for it.
        if let Ended::Failed(output) = ended
            && let Some(error) = input_error(&self.source.url, &strip_ansi(&output.stderr))
        {
            return Err(error);
        }
        if self.is_sound {
            return Ok(());
        }
        let url = self.source.url.clone();
        match self.evaluator("answer", &[]).await? {
            Ended::Answered(_) => {
                self.is_sound = true;
                Ok(())
            }
            Ended::Failed(output) => {
                let stderr = strip_ansi(&output.stderr);
                Err(input_error(&url, &stderr)
                    .unwrap_or_else(|| Error::FlakeBroken { url, detail: one_line(&stderr) }))
            }
            Ended::TooLarge => {
                Err(Error::FlakeTooLarge { url, limit: self.nix.limits().evaluate_memory })
            }
            Ended::TimedOut(after) => Err(self.timeout(after)),
        }
    }

    /// One run: `part` of the expression for `batch`.
    async fn evaluator(&mut self, part: &str, batch: &[Attribute]) -> Result<Ended, Error> {
        let Self { nix, source, inventory, .. } = *self;
        let hash = inventory.map(InventoryJson::hash);
        let expression = format!("({}).{part}", expression(&source.url, hash, batch));
        // Without the trace, Nix does not tell an input that it could not fetch.
        let args = ["eval", "--json", "--show-trace", "--expr", &expression];
        let mut run = nix.fetching_nix(args, nix.limits().evaluate, self.what(batch.len()));
        if let Some(inventory) = inventory {
            run.stdin = inventory.as_str().as_bytes().to_vec();
            run.stdin_is_file = true;
        }
        let measured = run.run_measured(nix.limits().evaluate_memory).await;
        let stats = &mut self.evaluation.stats;
        stats.runs += 1;
        let measured = match measured {
            Err(Error::Timeout { after, .. }) => {
                self.timeouts += 1;
                if self.timeouts > MAX_TIMEOUTS {
                    return Err(self.timeout(after));
                }
                return Ok(Ended::TimedOut(after));
            }
            other => other?,
        };
        stats.peak_memory = stats.peak_memory.max(measured.peak_memory);
        Ok(match measured.output {
            None => {
                stats.stopped += 1;
                Ended::TooLarge
            }
            Some(output) if output.success() => Ended::Answered(output.stdout),
            Some(output) => Ended::Failed(output),
        })
    }

    fn timeout(&self, after: Duration) -> Error {
        Error::Timeout { what: format!("evaluating {}", self.source.url), after }
    }

    fn what(&self, machines: usize) -> String {
        let noun = if machines == 1 { "machine" } else { "machines" };
        format!("evaluating {machines} {noun} of {}", self.source.url)
    }
}
