//! One file per command: what it looks at, and how it shows it.

use cim_crds::{Cluster, Kind, names::spec_path};
use cim_names::Problem;
use kube::ResourceExt;

use crate::{
    access::Access,
    error::Error,
    kinds::KindArg,
    state::Object,
    target::{Aim, One, Target},
    world::World,
};

pub(crate) mod approve;
pub(crate) mod confirm;
pub(crate) mod diff;
pub(crate) mod drift;
pub(crate) mod history;
pub(crate) mod logs;
pub(crate) mod plan;
pub(crate) mod reconcile;
pub(crate) mod resolve;
pub(crate) mod rollback;
pub(crate) mod tree;
pub(crate) mod version;

/// The objects that `target` means; an error when it names one that is not there.
async fn objects(access: &Access, target: &Target) -> Result<(Vec<Object>, World), Error> {
    let aim = target.aim()?;
    let kinds = match &aim {
        Aim::Kind(kind) | Aim::Object(kind, _) => vec![*kind],
        Aim::All | Aim::Name(_) => KindArg::ALL.to_vec(),
    };
    let world = World::fetch(access, &kinds).await?;
    Ok((objects_of(access, &world, &aim)?, world))
}

/// The objects of `world` that are meant; an error when one is named that is not there.
fn objects_of(access: &Access, world: &World, aim: &Aim) -> Result<Vec<Object>, Error> {
    let mut objects = world.objects();
    let (kind, name) = match aim {
        Aim::All => return Ok(objects),
        Aim::Kind(kind) => {
            objects.retain(|object| object.kind == kind.kind());
            return Ok(objects);
        }
        Aim::Object(kind, name) => (Some(kind.kind()), name),
        Aim::Name(name) => (None, name),
    };
    objects.retain(|object| kind.is_none_or(|kind| object.kind == kind));
    let known = objects.iter().map(|object| object.name.clone()).collect();
    objects.retain(|object| object.name == *name);
    if objects.is_empty() {
        let place = access.namespace().unwrap_or("any").to_owned();
        let (kind, name) = (kind.unwrap_or("object or kind"), name.clone());
        return Err(Error::NoSuchObject { kind, name, namespace: place, known });
    }
    Ok(objects)
}

/// The one object that is meant.
async fn one(access: &Access, target: &One) -> Result<(KindArg, String), Error> {
    let name = match target.aim()? {
        Aim::Object(kind, name) => return Ok((kind, name)),
        Aim::Name(name) => name,
        // One::aim has neither.
        Aim::All | Aim::Kind(_) => return Err(Error::Usage("which object?".to_owned())),
    };
    let world = World::fetch(access, &KindArg::ALL).await?;
    let objects = objects_of(access, &world, &Aim::Name(name.clone()))?;
    let mut kinds = KindArg::ALL
        .into_iter()
        .filter(|kind| objects.iter().any(|object| object.kind == kind.kind()));
    if let (Some(kind), None) = (kinds.next(), kinds.next()) {
        return Ok((kind, name));
    }
    let objects = objects.iter().map(|it| format!("{}/{}", it.kind, it.name)).collect();
    Err(Error::Several { name, objects })
}

/// One Cluster, by its name.
async fn cluster(access: &Access, namespace: &str, name: &str) -> Result<Cluster, Error> {
    if let Some(cluster) = access.get(namespace, name).await? {
        return Ok(cluster);
    }
    let (clusters, _) = access.list::<Cluster>().await?;
    let known = clusters.iter().map(ResourceExt::name_any).collect();
    let (name, namespace) = (name.to_owned(), namespace.to_owned());
    Err(Error::NoSuchObject { kind: Cluster::KIND, name, namespace, known })
}

fn unreadable(world: &World) -> Vec<String> {
    let remark = |bad: &crate::access::Unreadable| {
        format!(
            "{} cannot be read and is left out: {}; are program and CRDs of one version?",
            bad.object, bad.error
        )
    };
    world.unreadable.iter().map(remark).collect()
}

/// A problem with its field as it stands in the manifest.
fn in_manifest(problem: &Problem) -> Problem {
    Problem { field: spec_path(&problem.field), ..problem.clone() }
}

fn problem(problem: &Problem) -> String {
    in_manifest(problem).to_string()
}

/// `1 object`, `2 objects`.
fn count(objects: usize) -> String {
    format!("{objects} object{}", if objects == 1 { "" } else { "s" })
}

/// How to call each object: without its namespace where all are in one.
fn titles(objects: &[Object]) -> impl Fn(&Object) -> String {
    let namespaces = objects.iter().map(|object| &object.namespace);
    let several = namespaces.clone().min() != namespaces.max();
    move |object| {
        let namespace = if several { format!("{}/", object.namespace) } else { String::new() };
        format!("{}/{namespace}{}", object.kind, object.name)
    }
}

/// What to say where there is nothing to show.
fn nothing(access: &Access) -> String {
    format!("No objects of {} in {}.", cim_crds::GROUP, access.place())
}
