//! The names of a Domain, taken from the caches.

use cim_crds::{Cluster, Domain, Machine, Service, names};
use cim_names::{Hierarchy, Inventory};

use crate::scope::Caches;

/// Some objects do not fit their schema, so that nobody can say what has a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "these objects cannot be read, and what they name may not be taken for gone: {}; mend or delete them",
    .0.join(", ")
)]
pub struct Unreadable(pub Vec<String>);

/// Everything that has a name in `domain`.
pub fn inventory(caches: &Caches, domain: &Domain) -> Result<Inventory, Unreadable> {
    let namespace = domain.metadata.namespace.as_deref().unwrap_or_default();
    let unreadable = caches.unreadable(namespace);
    if !unreadable.is_empty() {
        return Err(Unreadable(unreadable));
    }
    let clusters = caches.clusters.list(namespace);
    let machines = caches.machines.list(namespace);
    let services = caches.services.list(namespace);
    Ok(names::inventory(
        domain,
        clusters.iter().map(AsRef::<Cluster>::as_ref),
        machines.iter().map(AsRef::<Machine>::as_ref),
        services.iter().map(AsRef::<Service>::as_ref),
    ))
}

/// The hierarchy of `domain`.
pub fn hierarchy(caches: &Caches, domain: &Domain) -> Result<Hierarchy, Unreadable> {
    Ok(Hierarchy::build(&inventory(caches, domain)?))
}
