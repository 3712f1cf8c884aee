//! Executes a plan on one machine. It decides nothing: what to do is in the plan, how it went is
//! read back.

mod reboot;
mod wait;

use std::time::Duration;

use cim_plan::Plan;

use crate::activation::{Job, Outcome, Step};
use crate::error::Error;
use crate::helper::{self, Patience, Verb};
use crate::nix::Nix;
use crate::observe::{Observed, observe};
use crate::plan::Change;
use crate::progress::ProgressSink;
use crate::sign::Signer;
use crate::ssh::Host;
use crate::store_path::StorePath;

use wait::Waited;

/// What applying needs.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    /// The local Nix; its store has the closure.
    pub nix: &'a Nix,
    /// Signs what is copied.
    pub signer: &'a Signer,
    /// The machine.
    pub host: &'a Host,
    /// Where the progress of a copy goes.
    pub progress: Option<&'a ProgressSink>,
}

/// What came of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The machine as it was afterwards. The truth; the rest only explains it.
    pub observed: Observed,
    /// How the last step of the plan ended; `None` when there was none, it still runs, or the
    /// machine forgot it in a reboot. [`Outcome::RolledBack`] when the machine went back from the
    /// closure, whatever its activation had said before.
    pub outcome: Option<Outcome>,
    /// The end of that step's log, when it did not succeed.
    pub log: Option<String>,
}

/// Executes `plan`, and reads back. `wanted` is the closure whose presence the caller wants to know.
///
/// An activation that fails, or outlasts [`crate::Limits::activation`], is no error:
/// it is told by [`Applied`], and the next plan deals with it. After a plan that was not empty there
/// may be more to do: plan again with [`Applied::observed`].
///
/// # Errors
/// What kept a change from being made: those of copying and of SSH,
/// [`Error::ActivationRefused`], [`Error::NotRebooted`]. What was done until then stays and is not
/// done again by the next plan.
pub async fn apply(
    delivery: Delivery<'_>,
    plan: &Plan<Change>,
    wanted: Option<&StorePath>,
) -> Result<Applied, Error> {
    let Delivery { nix, host, .. } = delivery;
    let limits = nix.limits();
    let mut ended = Ended::default();
    for change in &plan.changes {
        tracing::info!(host = host.name(), %change, "apply");
        ended = make(delivery, change, wanted).await?;
        if ended.stop {
            break;
        }
    }
    let mut log = ended.log;
    if log.is_none() && ended.outcome.as_ref().is_some_and(|outcome| !outcome.is_success()) {
        log = helper::log(host, limits).await;
    }
    let observed = match ended.observed {
        Some(observed) => observed,
        None => observe(host, limits, wanted).await,
    };
    Ok(Applied { observed, outcome: ended.outcome, log })
}

/// How one change ended.
#[derive(Default)]
struct Ended {
    outcome: Option<Outcome>,
    log: Option<String>,
    /// The machine after its end, if that was looked for.
    observed: Option<Observed>,
    /// Whether what follows must not be done.
    stop: bool,
}

async fn make(
    delivery: Delivery<'_>,
    change: &Change,
    wanted: Option<&StorePath>,
) -> Result<Ended, Error> {
    let Delivery { nix, signer, host, progress } = delivery;
    let limits = nix.limits();
    match change {
        Change::Copy { closure } => {
            nix.sign_once(signer, closure).await?;
            let copied = nix.copy(host, closure, progress).await;
            if let Err(Error::UnsignedRefused { .. }) = &copied {
                signer.forget(closure);
            }
            copied?;
        }
        Change::CopySignatures { closure } => {
            nix.sign(signer, closure).await?;
            nix.copy_signatures(host, closure).await?;
        }
        Change::Check { closure } => {
            let (outcome, log) = helper::check(host, closure, limits).await?;
            if !outcome.is_success() {
                let ended = Ended { outcome: Some(outcome), log: Some(log), ..Ended::default() };
                return Ok(Ended { stop: true, ..ended });
            }
        }
        Change::Await { job } => {
            return Ok(waited(delivery, job.as_ref(), limits.activation, wanted).await);
        }
        Change::Activate { job, confirm_timeout } => {
            let activation = limits.activation;
            let patience = Patience { activation, confirmation: *confirm_timeout };
            let (verb, end) = match job.step {
                Step::Boot => (Verb::Boot(&job.closure), activation),
                // If it breaks the way to the machine, that is mended only when that goes back.
                _ => (Verb::Test(&job.closure, patience), patience.total() + activation),
            };
            helper::start(host, verb, limits).await?;
            return Ok(waited(delivery, Some(job), end, wanted).await);
        }
        Change::Confirm { closure } => {
            helper::start(host, Verb::Confirm(closure), limits).await?;
            let job = job(Step::Confirm, closure);
            return Ok(waited(delivery, Some(&job), limits.activation, wanted).await);
        }
        Change::Revert { closure, why } => {
            helper::start(host, Verb::Rollback(closure, *why), limits).await?;
            let job = job(Step::Rollback, closure);
            return Ok(waited(delivery, Some(&job), limits.activation, wanted).await);
        }
        Change::Reboot { boot_id } => reboot::reboot(host, boot_id, limits).await?,
    }
    Ok(Ended::default())
}

fn job(step: Step, closure: &StorePath) -> Job {
    Job { step, closure: closure.clone() }
}

async fn waited(
    delivery: Delivery<'_>,
    job: Option<&Job>,
    end: Duration,
    wanted: Option<&StorePath>,
) -> Ended {
    match wait::wait(delivery.host, delivery.nix.limits(), job, end, wanted).await {
        Waited::Ended(outcome, observed) => {
            Ended { outcome, observed: Some(observed), ..Ended::default() }
        }
        Waited::StillRunning => Ended { stop: true, ..Ended::default() },
    }
}
