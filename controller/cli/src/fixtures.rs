//! One small world with a little of everything, as the API server would give it.

use cim_crds::Kind;
use serde_json::Value;

use crate::world::World;

const HOME: &str = include_str!("../tests/fixtures/home.yaml");

pub(crate) fn world() -> World {
    World {
        domains: of_kind(HOME),
        clusters: of_kind(HOME),
        machines: of_kind(HOME),
        services: of_kind(HOME),
        replicas: of_kind(HOME),
        unreadable: vec![],
    }
}

fn of_kind<K: Kind>(manifest: &str) -> Vec<K> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifest).unwrap();
    let kind = documents.into_iter().filter(|document| document["kind"] == K::KIND);
    kind.map(|document| serde_json::from_value(document).unwrap()).collect()
}
