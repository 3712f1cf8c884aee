//! Whether a machine that awaits its confirmation may get it.

use std::time::Duration;

use cim_nixos::{Health, Host, Limits, Observed, probe};

use super::validate::Desired;

/// Logging in takes well below a second; a machine under load is still no broken one.
const LOGIN: Duration = Duration::from_secs(15);

/// What was seen of a machine.
pub struct Seen {
    /// Its state.
    pub(super) observed: Observed,
    /// What its checks say, while it awaits its confirmation.
    pub(super) health: Health,
}

/// The only check so far: that somebody can log in, over a new connection. That nobody can now says
/// nothing about the next moment, so it is asked again until the machine goes back by itself.
pub(super) async fn ask(
    host: &Host,
    limits: &Limits,
    desired: &Desired,
    observed: &Observed,
) -> Health {
    let Some((delivery, state)) = desired.delivery.as_ref().zip(observed.state()) else {
        return Health::Unasked;
    };
    let pending = state.pending.as_ref().filter(|it| it.closure == delivery.wanted.closure);
    if pending.is_none_or(|pending| !pending.tested) || state.running().is_some() {
        return Health::Unasked;
    }
    match probe(host, LOGIN.min(limits.command)).await {
        Ok(()) => Health::Passing,
        Err(error) => {
            tracing::warn!(%error, host = host.name(), "not confirmed");
            Health::Unasked
        }
    }
}
