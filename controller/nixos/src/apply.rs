//! Executes a plan on one machine. It decides nothing: what to do is in the plan, how it went is
//! read back.

use std::time::Duration;

use cim_plan::Plan;
use tokio::time::{Instant, sleep, timeout_at};

use crate::activation::{Job, Outcome};
use crate::error::{Error, Refusal};
use crate::nix::Nix;
use crate::observe::{Observed, observe};
use crate::plan::Change;
use crate::process::Output;
use crate::progress::ProgressSink;
use crate::sign::Signer;
use crate::ssh::{Host, Script};
use crate::store_path::StorePath;

const ACTIVATE: &str = "exec sudo -n cim-activate \"$1\" \"$2\"\n";
const LOG: &str = "exec sudo -n cim-activate log\n";
/// An activation settles in a quarter of a second at the least; long ones are asked less often.
const FIRST_POLL: Duration = Duration::from_millis(200);
const SLOWEST_POLL: Duration = Duration::from_secs(3);

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
    /// How the last activation of the plan ended; `None` when there was none, it still runs, or the
    /// machine forgot it in a reboot.
    pub outcome: Option<Outcome>,
    /// The end of that activation's log, when it did not succeed.
    pub log: Option<String>,
}

/// Executes `plan`, and reads back. `wanted` is the closure whose presence the caller wants to know.
///
/// An activation that fails, or still runs when [`crate::Limits::activation`] is over, is no error:
/// it is told by [`Applied`], and the next plan deals with it.
///
/// # Errors
/// What kept a change from being made: those of copying and of SSH,
/// [`Error::ActivationRefused`]. What was done until then stays and is not done again by the next
/// plan.
pub async fn apply(
    delivery: Delivery<'_>,
    plan: &Plan<Change>,
    wanted: Option<&StorePath>,
) -> Result<Applied, Error> {
    let Delivery { nix, signer, host, progress } = delivery;
    let limits = nix.limits();
    let mut outcome = None;
    for change in &plan.changes {
        tracing::info!(host = host.name(), %change, "apply");
        match change {
            Change::Copy { closure } => {
                nix.sign(signer, closure).await?;
                nix.copy(host, closure, progress).await?;
            }
            Change::CopySignatures { closure } => {
                nix.sign(signer, closure).await?;
                nix.copy_signatures(host, closure).await?;
            }
            Change::Await { job } => match wait(nix, host, job.as_ref()).await {
                Waited::Ended(ended) => outcome = ended,
                Waited::StillRunning => break,
            },
            // The place for arming a rollback: before this, in a change of its own.
            Change::Activate { job } => {
                start(nix, host, job).await?;
                match wait(nix, host, Some(job)).await {
                    Waited::Ended(ended) => outcome = ended,
                    Waited::StillRunning => break,
                }
            }
        }
    }
    let log = match &outcome {
        Some(outcome) if !outcome.is_success() => activation_log(nix, host).await,
        _ => None,
    };
    Ok(Applied { observed: observe(host, limits, wanted).await, outcome, log })
}

enum Waited {
    /// Nothing runs any more; how `job` ended, unless its unit is gone.
    Ended(Option<Outcome>),
    StillRunning,
}

/// Waits until neither `job` nor anybody else's activation runs. That the machine cannot be reached
/// in between is normal: an activation may restart the network or sshd.
async fn wait(nix: &Nix, host: &Host, job: Option<&Job>) -> Waited {
    let deadline = Instant::now() + nix.limits().activation;
    let mut pause = FIRST_POLL;
    loop {
        let Ok(observed) = timeout_at(deadline, observe(host, nix.limits(), None)).await else {
            return Waited::StillRunning;
        };
        if let Some(state) = observed.state() {
            let ours =
                state.activation.as_ref().filter(|it| job.is_none() || it.job.as_ref() == job);
            let runs = ours.is_some_and(|it| it.outcome.is_none());
            let foreign_runs = job.is_none() && state.switch_locked;
            if !runs && !foreign_runs {
                let ended = ours.filter(|_| job.is_some()).and_then(|it| it.outcome.clone());
                return Waited::Ended(ended);
            }
        }
        if Instant::now() + pause >= deadline {
            return Waited::StillRunning;
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(SLOWEST_POLL);
    }
}

/// Has the machine start `job`. That it already runs is as good.
async fn start(nix: &Nix, host: &Host, job: &Job) -> Result<(), Error> {
    let args = [job.action.as_str(), job.closure.as_str()];
    let script = Script { what: "cim-activate", text: ACTIVATE, args: &args };
    let output = host.run_any(script, nix.limits().command).await?;
    if output.success() {
        return Ok(());
    }
    Err(Error::ActivationRefused {
        host: host.name().to_owned(),
        path: job.closure.to_string(),
        refusal: refusal(&output),
        message: output.stderr.trim().to_owned(),
    })
}

/// The exit status of `cim-activate`, see its head; sudo has 1 for all its own refusals.
fn refusal(output: &Output) -> Refusal {
    match output.code {
        Some(65) => Refusal::NotAClosure,
        Some(75) => Refusal::Busy,
        Some(77) => Refusal::Unsigned,
        Some(1) if output.stderr.contains("command not found") => Refusal::HelperMissing,
        Some(1) if output.stderr.contains("sudo:") => Refusal::SudoDenied,
        Some(127) => Refusal::HelperMissing,
        _ => Refusal::Failed,
    }
}

/// The end of the last activation's log. Only explains, so failing to get it is no error.
async fn activation_log(nix: &Nix, host: &Host) -> Option<String> {
    let script = Script { what: "cim-activate log", text: LOG, args: &[] };
    match host.run(script, nix.limits().command).await {
        Ok(log) => Some(log.trim().to_owned()).filter(|log| !log.is_empty()),
        Err(error) => {
            tracing::debug!(%error, host = host.name(), "no activation log");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exit_of_the_helper_and_of_sudo_has_its_class() {
        let refusal = |code, stderr: &str| {
            refusal(&Output { code: Some(code), stdout: String::new(), stderr: stderr.into() })
        };
        assert_eq!(refusal(65, ""), Refusal::NotAClosure);
        assert_eq!(refusal(75, ""), Refusal::Busy);
        assert_eq!(refusal(77, ""), Refusal::Unsigned);
        assert_eq!(refusal(70, ""), Refusal::Failed);
        assert_eq!(refusal(1, "sudo: a password is required"), Refusal::SudoDenied);
        assert_eq!(refusal(1, "sudo: cim-activate: command not found"), Refusal::HelperMissing);
        assert_eq!(refusal(127, "/bin/sh: sudo: not found"), Refusal::HelperMissing);
    }
}
