//! What runs on a machine, whether it serves, and whether its store still holds what it should.

use std::path::Path;

use cim_crds::Machine;
use cim_crds::machine::service_checks::ServiceChecks;
use cim_nixos::{Facts, Health, HostState, Integrity, Observed, StorePath, facts, observe, verify};

use super::failure::MachineFailure;
use super::validate::Desired;
use super::{Reconciler, health, host_name, install, services};
use crate::checks::Troubles;
use crate::driver::{Step, Visit};

/// What was seen of a machine.
pub struct Seen {
    /// Its state.
    pub(super) observed: Observed,
    /// What its checks say, while it awaits its confirmation.
    pub(super) health: Health,
    /// The checks that do not hold, where nothing awaits its confirmation.
    pub(super) troubles: Troubles,
    /// The Services on it, where nothing awaits its confirmation.
    pub(super) services: Option<Vec<ServiceChecks>>,
    /// What reading the whole closure said, when that was due.
    pub(super) integrity: Option<Integrity>,
    /// What waits for its turn, where it can be brought and was not.
    pub(super) bring: Option<StorePath>,
    /// What the machine is, asked once for each boot.
    pub(super) facts: Option<Facts>,
    /// What it is while no system of ours is on it.
    pub(super) bare: Option<install::Bare>,
}

pub(super) async fn look(
    reconciler: &Reconciler,
    visit: &Visit<'_, Machine>,
    desired: &Desired,
) -> Step<Seen, Reconciler> {
    let workshop = &reconciler.workshop;
    let (limits, metrics) = (workshop.limits(), workshop.metrics());
    let hosts = workshop.hosts().await.map_err(MachineFailure::from)?;
    let host =
        hosts.host(&host_name(visit), desired.target.clone()).map_err(MachineFailure::from)?;
    let wanted = desired.delivery.as_ref().map(|delivery| &delivery.wanted.closure);
    let seen = async {
        match observe(&host, limits, wanted).await {
            seen @ Observed::Reached(_) => Ok(seen),
            seen @ Observed::Unreachable { .. } => Err(seen),
        }
    };
    let observed = metrics.external("ssh", "observe", seen).await;
    let observed = observed.unwrap_or_else(|unreachable| unreachable);
    let name = host_name(visit);
    // A controller that has just begun has an empty store, until the Cluster has built again.
    let can_bring =
        |next: &&StorePath| !reconciler.ahead.has(&name, next) && Path::new(next.as_str()).exists();
    let bring = desired.next.as_ref().filter(can_bring).cloned();
    let mut seen = Seen {
        observed,
        health: Health::Unasked,
        troubles: Troubles::default(),
        services: None,
        integrity: None,
        bring,
        facts: None,
        bare: None,
    };
    if let Some(wanted) = &desired.install {
        let looking = install::look(reconciler, visit, wanted, &host, &seen.observed).await;
        seen.bare = looking.map_err(MachineFailure::from)?;
        if seen.bare.is_some() {
            return Ok(seen);
        }
    }
    let Some(state) = seen.observed.state() else { return Ok(seen) };
    if is_another_boot(visit.object(), state) {
        match metrics.external("ssh", "facts", facts(&host, limits)).await {
            Ok(facts) => seen.facts = Some(facts),
            Err(error) => tracing::debug!(%error, host = host.name(), "no facts"),
        }
    }
    if state.pending.is_some() || state.running().is_some() {
        seen.health = health::ask(&host, limits, desired, state).await;
        return Ok(seen);
    }
    // The machine's own first: where they fail there is little to learn of its Services.
    seen.troubles = health::troubles(&host, desired).await;
    seen.services = Some(services::look(&host, desired).await);
    if let Some(closure) = wanted.filter(|closure| desired.verifies && state.current.is(closure)) {
        let verifying = verify(&host, std::slice::from_ref(closure), limits.copy);
        match metrics.external("ssh", "verify", verifying).await {
            Ok(integrity) => seen.integrity = Some(integrity),
            Err(error) => tracing::warn!(%error, host = host.name(), "cannot verify"),
        }
    }
    Ok(seen)
}

/// Whether the machine was booted since its facts were read: only then can they have changed.
fn is_another_boot(machine: &Machine, state: &HostState) -> bool {
    let Some(status) = &machine.status else { return true };
    let boot_id = status.system.as_ref().and_then(|system| system.boot_id.as_ref());
    status.facts.is_none() || boot_id != Some(&state.boot_id)
}
