//! Executes a plan on one machine. It decides nothing: what to do is in the plan, how it went is
//! read back.

mod reboot;
mod wait;

use std::time::Duration;

use cim_plan::Plan;

use crate::activation::{Job, Outcome, Step};
use crate::copy::Parcel;
use crate::error::Error;
use crate::helper::{self, Patience, Tried, Verb};
use crate::nix::{Limits, Nix};
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
    let mut changes = plan.changes.as_slice();
    while let Some(change) = changes.first() {
        tracing::info!(host = host.name(), %change, "apply");
        let done;
        (ended, done) = match Trial::of(changes) {
            Some(trial) => trial.make(delivery, wanted).await?,
            None => (make(delivery, change, wanted).await?, 1),
        };
        if ended.stop {
            break;
        }
        changes = &changes[done..];
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

impl Ended {
    /// The closure refuses to be switched to.
    fn refused(outcome: Outcome, log: String) -> Self {
        Self { outcome: Some(outcome), log: Some(log), stop: true, ..Self::default() }
    }
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
            nix.copy(host, signer, closure, progress).await?;
        }
        Change::CopySignatures { closure } => {
            nix.sign(signer, closure).await?;
            nix.copy_signatures(host, closure).await?;
        }
        Change::Check { closure } => {
            let (outcome, log) = helper::check(host, closure, limits).await?;
            if !outcome.is_success() {
                return Ok(Ended::refused(outcome, log));
            }
        }
        Change::Await { job } => {
            return Ok(waited(delivery, job.as_ref(), limits.activation, wanted, None).await);
        }
        Change::Activate { job, confirm_timeout } => {
            let patience = patience(limits, *confirm_timeout);
            let (verb, end) = match job.step {
                Step::Boot => (Verb::Boot(&job.closure), limits.activation),
                _ => (Verb::Test(&job.closure, patience), test_end(patience)),
            };
            let seen = helper::start(host, verb, limits, wanted).await?;
            return Ok(waited(delivery, Some(job), end, wanted, seen).await);
        }
        Change::Confirm { closure } => {
            let seen = helper::start(host, Verb::Confirm(closure), limits, wanted).await?;
            let job = job(Step::Confirm, closure);
            return Ok(waited(delivery, Some(&job), limits.activation, wanted, seen).await);
        }
        Change::Revert { closure, why } => {
            let seen = helper::start(host, Verb::Rollback(closure, *why), limits, wanted).await?;
            let job = job(Step::Rollback, closure);
            return Ok(waited(delivery, Some(&job), limits.activation, wanted, seen).await);
        }
        Change::Reboot { boot_id } => reboot::reboot(host, boot_id, limits).await?,
    }
    Ok(Ended::default())
}

/// The changes that bring a closure to its test, which are made in one round trip.
struct Trial<'a> {
    /// Whether it is copied before.
    bring: bool,
    closure: &'a StorePath,
    confirm_timeout: Duration,
}

impl<'a> Trial<'a> {
    /// If these changes begin with one.
    fn of(changes: &'a [Change]) -> Option<Self> {
        let (copied, rest) = match changes {
            [Change::Copy { closure }, rest @ ..] => (Some(closure), rest),
            rest => (None, rest),
        };
        let [Change::Check { closure }, Change::Activate { job, confirm_timeout }, ..] = rest
        else {
            return None;
        };
        let same = job.closure == *closure && copied.is_none_or(|copied| copied == closure);
        (same && job.step == Step::Test).then_some(Self {
            bring: copied.is_some(),
            closure,
            confirm_timeout: *confirm_timeout,
        })
    }

    /// Makes them; how it ended, and how many of the changes were made.
    async fn make(
        &self,
        delivery: Delivery<'_>,
        wanted: Option<&StorePath>,
    ) -> Result<(Ended, usize), Error> {
        let Delivery { nix, signer, host, progress } = delivery;
        let Self { bring, closure, confirm_timeout } = *self;
        let patience = patience(nix.limits(), confirm_timeout);
        let parcel = Parcel { host, signer, closure, progress };
        let all = 2 + usize::from(bring);
        Ok(match helper::try_closure(nix, parcel, bring, patience, wanted).await? {
            Tried::Refused(outcome, log) => (Ended::refused(outcome, log), all),
            Tried::Began(seen) => {
                let job = job(Step::Test, closure);
                (waited(delivery, Some(&job), test_end(patience), wanted, seen).await, all)
            }
            Tried::Unknown if bring => (Ended::default(), 1),
            Tried::Unknown => {
                let check = Change::Check { closure: closure.clone() };
                (make(delivery, &check, wanted).await?, 1)
            }
        })
    }
}

fn patience(limits: &Limits, confirm_timeout: Duration) -> Patience {
    Patience { activation: limits.activation, confirmation: confirm_timeout }
}

/// If a test breaks the way to the machine, that is mended only when it goes back.
fn test_end(patience: Patience) -> Duration {
    patience.total() + patience.activation
}

fn job(step: Step, closure: &StorePath) -> Job {
    Job { step, closure: closure.clone() }
}

async fn waited(
    delivery: Delivery<'_>,
    job: Option<&Job>,
    end: Duration,
    wanted: Option<&StorePath>,
    seen: Option<Observed>,
) -> Ended {
    match wait::wait(delivery.host, delivery.nix.limits(), job, end, wanted, seen).await {
        Waited::Ended(outcome, observed) => {
            Ended { outcome, observed: Some(observed), ..Ended::default() }
        }
        Waited::StillRunning => Ended { stop: true, ..Ended::default() },
    }
}
