//! Waiting until a machine has done what it was told.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::activation::{Job, Outcome};
use crate::nix::Limits;
use crate::observe::{HostState, Observed, observe};
use crate::ssh::Host;
use crate::store_path::StorePath;

/// An activation settles in a quarter of a second at the least; long ones are asked less often.
const FIRST_POLL: Duration = Duration::from_millis(200);
const SLOWEST_POLL: Duration = Duration::from_secs(3);

pub(super) enum Waited {
    /// Nothing runs any more; how the job ended, unless the machine does not know, and the machine
    /// as it is now.
    Ended(Option<Outcome>, Observed),
    StillRunning,
}

/// Waits until neither `job` nor anybody else's activation runs. That the machine cannot be reached
/// in between is normal: an activation may restart the network or sshd, or break them until the
/// machine goes back. `seen` is what it was like a moment ago.
pub(super) async fn wait(
    host: &Host,
    limits: &Limits,
    job: Option<&Job>,
    end: Duration,
    wanted: Option<&StorePath>,
    mut seen: Option<Observed>,
) -> Waited {
    let deadline = Instant::now() + end;
    let mut pause = FIRST_POLL;
    loop {
        let observed = match seen.take() {
            Some(observed) => observed,
            None => match timeout_at(deadline, observe(host, limits, wanted)).await {
                Ok(observed) => observed,
                Err(_) => return Waited::StillRunning,
            },
        };
        if let Some(state) = observed.state().filter(|state| !is_busy(state)) {
            let outcome = job.and_then(|job| ended(state, job));
            return Waited::Ended(outcome, observed);
        }
        if Instant::now() + pause >= deadline {
            return Waited::StillRunning;
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(SLOWEST_POLL);
    }
}

fn is_busy(state: &HostState) -> bool {
    state.running().is_some() || state.foreign_runs()
}

fn ended(state: &HostState, job: &Job) -> Option<Outcome> {
    if state.rolled_back.as_ref().is_some_and(|record| record.closure == job.closure) {
        let said = state.outcome_of(&job.closure).filter(|outcome| !outcome.is_success());
        return Some(said.cloned().unwrap_or(Outcome::RolledBack));
    }
    let activation = state.activation.as_ref()?;
    activation.outcome.clone().filter(|_| activation.job.as_ref() == Some(job))
}
