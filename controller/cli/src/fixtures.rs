//! One small world with a little of everything, as the API server would give it.

use cim_crds::{Cluster, Kind};
use kube::ResourceExt;
use serde_json::Value;

use crate::world::World;

const HOME: &str = include_str!("../tests/fixtures/home.yaml");

const RELEASES: &str = include_str!("../tests/fixtures/releases.yaml");

pub(crate) fn world() -> World {
    read(HOME)
}

/// A Cluster dev with a release, and those that receive from it; prod is amid its rollout.
pub(crate) fn releases() -> World {
    read(RELEASES)
}

/// One Cluster of [`releases`].
pub(crate) fn cluster(name: &str) -> Cluster {
    releases().clusters.into_iter().find(|cluster| cluster.name_any() == name).unwrap()
}

fn read(manifest: &str) -> World {
    World {
        domains: of_kind(manifest),
        clusters: of_kind(manifest),
        machines: of_kind(manifest),
        services: of_kind(manifest),
        replicas: of_kind(manifest),
        unreadable: vec![],
    }
}

fn of_kind<K: Kind>(manifest: &str) -> Vec<K> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifest).unwrap();
    let kind = documents.into_iter().filter(|document| document["kind"] == K::KIND);
    kind.map(|document| serde_json::from_value(document).unwrap()).collect()
}
