//! Whether what a machine runs serves: its checks, made from here and on the machine.

use std::time::Duration;

use cim_nixos::{CheckOutcome, Health, Host, HostState, Limits, probe, run_check};
use tokio::time::{Instant, sleep};

use super::validate::{Check, Desired};

/// Logging in takes well below a second; a machine under load is still no broken one.
const LOGIN: Duration = Duration::from_secs(15);
/// A service that was just started takes a moment until it serves.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);

/// What the checks of a closure that awaits its confirmation say.
///
/// Checks that do not hold yet are made again until a third of the time that the machine waits is
/// left; then it is told to go back, which is kinder than letting it wait, and tells why. Nobody
/// being able to log in says nothing about the next moment: that is left to the machine.
pub(super) async fn ask(
    host: &Host,
    limits: &Limits,
    desired: &Desired,
    state: &HostState,
) -> Health {
    let Some(delivery) = &desired.delivery else { return Health::Unasked };
    let pending = state.pending.as_ref().filter(|it| it.closure == delivery.wanted.closure);
    let Some(pending) = pending.filter(|pending| pending.tested && state.running().is_none())
    else {
        return Health::Unasked;
    };
    let started = Instant::now();
    loop {
        let failing = match probe(host, LOGIN.min(limits.command)).await {
            Ok(()) => failing(host, desired).await,
            Err(error) => {
                tracing::warn!(%error, host = host.name(), "not confirmed");
                return Health::Unasked;
            }
        };
        if failing.is_empty() {
            return Health::Passing;
        }
        let left = pending.remaining.saturating_sub(started.elapsed());
        if left <= desired.confirm_timeout / 3 {
            return Health::Failing(failing);
        }
        if started.elapsed() >= PATIENCE {
            tracing::info!(host = host.name(), ?failing, "not confirmed yet");
            return Health::Unasked;
        }
        sleep(PAUSE).await;
    }
}

/// The checks that do not hold, each with what was found instead.
pub(super) async fn failing(host: &Host, desired: &Desired) -> Vec<String> {
    let checks = desired.checks.iter().map(|check| run(host, desired, check));
    futures::future::join_all(checks).await.into_iter().filter_map(Result::err).collect()
}

async fn run(host: &Host, desired: &Desired, check: &Check) -> Result<(), String> {
    match check {
        Check::Probe(probe) => match desired.address {
            Some(address) => probe.run(address).await,
            None => Err(format!("{probe}: it has no address")),
        },
        Check::Command(command) => {
            let name = command.argv.first().map_or("", String::as_str);
            match run_check(host, &command.argv, command.timeout.as_std()).await {
                Ok(CheckOutcome::Passed) => Ok(()),
                Ok(CheckOutcome::Failed { status, output }) => {
                    let told = output.lines().last().unwrap_or_default();
                    Err(format!("command {name}: exit {status}: {told}"))
                }
                Ok(CheckOutcome::TimedOut) => {
                    Err(format!("command {name}: no end within {}", command.timeout))
                }
                Err(error) => Err(format!("command {name}: {error}")),
            }
        }
    }
}
