//! What the local store holds for a Cluster, so that no garbage collection takes it: what its release
//! wants, and what its machines run or would go back to.
//!
//! What is held too long only costs disk, and what is not held is built again, so failing here is no
//! failure.

use std::collections::BTreeMap;

use cim_crds::Machine;
use cim_crds::cluster::release::Release;
use cim_crds::machine::install::InstallStatus;
use cim_nixos::StorePath;

use super::install;
use crate::delivery::Workshop;
use crate::scope::Caches;

/// Paths by the names of their roots.
type Held = BTreeMap<String, StorePath>;

/// The name of the root that holds a closure.
pub(crate) fn root_name(path: &StorePath) -> Option<String> {
    path.as_str().strip_prefix("/nix/store/").map(|name| name.chars().take(250).collect())
}

/// Holds what the Cluster needs as far as it is in the store, and lets go of the rest.
pub(super) async fn hold(
    workshop: &Workshop,
    caches: &Caches,
    (namespace, cluster): (&str, &str),
    release: &Release,
) {
    let mut wanted = given(&caches.machines.list(namespace), cluster);
    wanted.extend(held(release.machines.iter().flat_map(|machine| {
        let parts = install::parts(machine).map(|part| part.out_path.as_str());
        parts.chain(machine.out_path.as_deref())
    })));
    let held = async {
        let roots = workshop.roots(namespace, cluster)?;
        let removed = roots.retain(&wanted.keys().cloned().collect())?;
        let present = roots.list()?;
        // It was in the store when it came to be wanted, so nobody built it, and held it.
        let loose = wanted.iter().filter(|(name, path)| {
            !present.contains_key(*name) && std::path::Path::new(path.as_str()).exists()
        });
        for (name, path) in loose {
            workshop.nix().await?.root(&roots.place(name)?, path).await?;
        }
        Ok::<_, cim_nixos::Error>(removed)
    };
    tell(held.await);
}

/// The Cluster is gone: lets go of what no machine of it has been given.
pub(super) fn abandon(workshop: &Workshop, caches: &Caches, (namespace, cluster): (&str, &str)) {
    let given = given(&caches.machines.list(namespace), cluster).into_keys().collect();
    let owner = (namespace.to_owned(), cluster.to_owned());
    let abandoned = workshop.rooted().and_then(|rooted| {
        // Most never had any.
        let roots = rooted.contains(&owner).then(|| workshop.roots(namespace, cluster));
        roots.map_or(Ok(Vec::new()), |roots| roots?.abandon(&given))
    });
    tell(abandoned);
}

/// Does the same for Clusters that went while nobody looked; `watched` is the namespace to which the
/// caches are limited.
pub(super) fn sweep(workshop: &Workshop, caches: &Caches, watched: Option<&str>) {
    let rooted = workshop.rooted().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot look for the roots of Clusters that are gone");
        Vec::new()
    });
    for (namespace, cluster) in rooted {
        let known = watched.is_none_or(|watched| watched == namespace);
        // One that does not fit its schema is there all the same.
        let there = caches.clusters.get(&namespace, &cluster).is_some()
            || caches.clusters.unreadable(&namespace).contains(&cluster)
            || !caches.machines.unreadable(&namespace).is_empty();
        if known && !there {
            abandon(workshop, caches, (&namespace, &cluster));
        }
    }
}

/// What the machines of a Cluster run, and would go back to.
fn given(machines: &[impl AsRef<Machine>], cluster: &str) -> Held {
    let ours = machines.iter().map(AsRef::as_ref).filter(|it| it.spec.cluster == cluster);
    let targets = ours.filter_map(|machine| machine.status.as_ref()).flat_map(|status| {
        let targets = [&status.target, &status.previous].into_iter().flatten();
        let targets = targets.filter_map(|target| target.out_path.as_deref());
        targets.chain(status.install.iter().flat_map(InstallStatus::store_paths))
    });
    held(targets)
}

fn held<'a>(paths: impl Iterator<Item = &'a str>) -> Held {
    let named = paths.filter_map(|path| {
        let path: StorePath = path.parse().ok()?;
        Some((root_name(&path)?, path))
    });
    named.collect()
}

fn tell(removed: Result<Vec<String>, cim_nixos::Error>) {
    match removed {
        Ok(removed) if removed.is_empty() => {}
        Ok(removed) => tracing::debug!(?removed, "let go of closures"),
        Err(error) => tracing::warn!(%error, "cannot let go of closures"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn what_machines_were_given_is_held_also_when_their_cluster_is_gone() {
        let path = |n: u8| format!("/nix/store/{n:032}-nixos-system-host");
        let machine = |cluster: &str, target: u8, previous: u8| -> Arc<Machine> {
            let machine = json!({
                "apiVersion": "cim.dev/v1alpha1", "kind": "Machine", "metadata": {"name": "m"},
                "spec": {"cluster": cluster, "provider": {"metal": {}}, "delivery": "None"},
                "status": {"target": {"rev": "r", "outPath": path(target)},
                    "previous": {"rev": "r", "outPath": path(previous)}},
            });
            Arc::new(serde_json::from_value(machine).expect("a machine"))
        };
        let machines = [machine("core", 1, 2), machine("core", 1, 3), machine("other", 4, 5)];
        let held: Vec<String> =
            given(&machines, "core").into_values().map(|path| path.to_string()).collect();
        assert_eq!(held, [path(1), path(2), path(3)]);
    }
}
