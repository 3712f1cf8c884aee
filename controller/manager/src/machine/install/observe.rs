//! What a machine shows to root while deliveries do not reach it.

use std::path::Path;

use cim_crds::Machine;
use cim_nixos::install::{Seen, observe};
use cim_nixos::{Error, Link, Observed};

use super::validate::Wanted;
use crate::driver::Visit;
use crate::machine::{Reconciler, host_name};

/// A machine without a system of ours.
pub(in crate::machine) struct Bare {
    /// What root sees.
    pub(super) seen: Result<Seen, Error>,
    /// What the closure is for, as Nix names it; `None` as long as it is not in the local store.
    pub(super) system: Option<String>,
}

/// Looks at it as root; `None` for a machine that takes deliveries.
pub(in crate::machine) async fn look(
    reconciler: &Reconciler,
    visit: &Visit<'_, Machine>,
    wanted: &Wanted,
    deploy: &cim_nixos::Host,
    observed: &Observed,
) -> Result<Option<Bare>, Error> {
    if observed.state().is_some_and(|state| {
        // A system of ours, or of somebody else's NixOS: it would lose all that it holds.
        [&state.current, &state.profile].iter().any(|link| **link != Link::Missing)
    }) {
        return Ok(None);
    }
    let workshop = &reconciler.workshop;
    let hosts = workshop.hosts().await?;
    let bare = hosts.host(&root_name(visit), wanted.login.clone())?;
    let toplevel = wanted.installation.as_ref().map(|installation| &installation.toplevel);
    let looking = observe(&bare, deploy, toplevel, workshop.limits());
    let seen = workshop.metrics().external("ssh", "look", looking).await;
    let answers = observed.state().is_some();
    // Whoever lets the deploy user in, and not root, takes deliveries; so does whoever was prepared
    // for them and has none yet.
    let is_bare =
        matches!(&seen, Ok(Seen::Installer { .. } | Seen::Foreign { delivered: None, .. }));
    if answers && !is_bare {
        return Ok(None);
    }
    let system = match toplevel.filter(|path| Path::new(path.as_str()).exists()) {
        Some(path) => workshop.nix().await?.system_of(path).await.ok(),
        None => None,
    };
    Ok(Some(Bare { seen, system }))
}

/// The name by which the workshop knows the machine as root logs in on it.
pub(super) fn root_name(visit: &Visit<'_, Machine>) -> String {
    as_root(&host_name(visit))
}

/// The same, of a machine by its name as the workshop knows it.
pub(in crate::machine) fn as_root(name: &str) -> String {
    format!("{name} as root")
}
