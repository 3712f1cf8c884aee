//! Whether what a machine runs serves: its checks, made from here and on the machine.

use std::time::Duration;

use cim_nixos::{Health, Host, HostState, Limits, probe};
use tokio::time::{Instant, sleep};

use super::validate::Desired;
use crate::checks::{Place, Troubles, run_all};

/// Logging in takes well below a second; a machine under load is still no broken one.
const LOGIN: Duration = Duration::from_secs(15);
/// A service that was just started takes a moment until it serves.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);

/// What the checks of a closure that awaits its confirmation say.
///
/// Checks that do not hold yet are made again until a third of the time that the machine waits is
/// left; then it is told to go back, which is kinder than letting it wait, and tells why. So are those
/// that could not be made: what nobody could see to hold is not confirmed. Nobody being able to log
/// in says nothing about the next moment: that is left to the machine.
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
        let troubles = match probe(host, LOGIN.min(limits.command)).await {
            Ok(()) => troubles(host, desired).await,
            Err(error) => {
                tracing::warn!(%error, host = host.name(), "not confirmed");
                return Health::Unasked;
            }
        };
        if troubles.is_empty() {
            return Health::Passing;
        }
        let left = pending.remaining.saturating_sub(started.elapsed());
        if left <= desired.confirm_timeout / 3 {
            return Health::Failing(troubles.told());
        }
        if started.elapsed() >= PATIENCE {
            tracing::info!(host = host.name(), ?troubles, "not confirmed yet");
            return Health::Unasked;
        }
        sleep(PAUSE).await;
    }
}

/// The checks of the machine that do not hold.
pub(super) async fn troubles(host: &Host, desired: &Desired) -> Troubles {
    let mut troubles = Troubles::default();
    let place = Place { address: desired.address, host: Some(host) };
    for verdict in run_all(&desired.checks, place).await {
        troubles.note(verdict);
    }
    troubles
}
