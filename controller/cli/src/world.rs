//! The resources that a command looks at.

use cim_crds::{
    Cluster, Domain, Kind, Machine, ObjectReplica, Service,
    names::{inventory, source},
};
use cim_names::{Hierarchy, Source};
use kube::ResourceExt;

use crate::{
    access::{Access, Unreadable},
    error::Error,
    kinds::KindArg,
    state::Object,
};

/// The objects of the kinds that were asked for.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) domains: Vec<Domain>,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) services: Vec<Service>,
    pub(crate) replicas: Vec<ObjectReplica>,
    pub(crate) unreadable: Vec<Unreadable>,
}

impl World {
    /// Lists the objects of some kinds.
    pub(crate) async fn fetch(access: &Access, kinds: &[KindArg]) -> Result<Self, Error> {
        let mut world = Self::default();
        for kind in kinds {
            match kind {
                KindArg::Domain => world.domains = list(access, &mut world.unreadable).await?,
                KindArg::Cluster => world.clusters = list(access, &mut world.unreadable).await?,
                KindArg::Machine => world.machines = list(access, &mut world.unreadable).await?,
                KindArg::Service => world.services = list(access, &mut world.unreadable).await?,
                KindArg::ObjectReplica => {
                    world.replicas = list(access, &mut world.unreadable).await?;
                }
            }
        }
        Ok(world)
    }

    /// The names of one Domain.
    pub(crate) fn hierarchy(&self, domain: &Domain) -> Hierarchy {
        Hierarchy::build(&inventory(domain, &self.clusters, &self.machines, &self.services))
    }

    /// All objects, by kind, namespace and name.
    pub(crate) fn objects(&self) -> Vec<Object> {
        let mut objects = Vec::new();
        objects.extend(self.domains.iter().map(Object::of));
        objects.extend(self.clusters.iter().map(Object::of));
        objects.extend(self.machines.iter().map(Object::of));
        objects.extend(self.services.iter().map(Object::of));
        objects.extend(self.replicas.iter().map(Object::of));
        objects
    }

    /// Objects that belong to no Domain, each with the reference that leads nowhere.
    pub(crate) fn strays(&self) -> Vec<(Source, String)> {
        let has_domain = |cluster: &&Cluster| exists(&self.domains, *cluster, &cluster.spec.domain);
        let lost_clusters = self.clusters.iter().filter(|cluster| !has_domain(cluster));
        let mut strays: Vec<_> = lost_clusters
            .map(|c| (source(c), missing("spec.domain", "Domain", &c.spec.domain)))
            .collect();
        let in_cluster = |cluster: &str| missing("spec.cluster", "Cluster", cluster);
        let lost_machines =
            self.machines.iter().filter(|m| !exists(&self.clusters, *m, &m.spec.cluster));
        strays.extend(lost_machines.map(|m| (source(m), in_cluster(&m.spec.cluster))));
        let lost_services =
            self.services.iter().filter(|s| !exists(&self.clusters, *s, &s.spec.cluster));
        strays.extend(lost_services.map(|s| (source(s), in_cluster(&s.spec.cluster))));
        strays
    }
}

async fn list<K: Kind>(access: &Access, unreadable: &mut Vec<Unreadable>) -> Result<Vec<K>, Error> {
    let (good, bad) = access.list().await?;
    unreadable.extend(bad);
    Ok(good)
}

/// Whether an object of that name is among `all` in the namespace of the one that refers to it.
fn exists<K: Kind>(all: &[K], from: &impl ResourceExt, name: &str) -> bool {
    all.iter().any(|object| object.namespace() == from.namespace() && object.name_any() == name)
}

fn missing(field: &str, kind: &str, name: &str) -> String {
    format!("{field}: there is no {kind} {name}")
}
