//! One file per command: what it looks at, and how it shows it.

use cim_crds::names::spec_path;
use cim_names::Problem;

use crate::{
    access::Access, args::Target, error::Error, kinds::KindArg, state::Object, world::World,
};

pub(crate) mod drift;
pub(crate) mod plan;
pub(crate) mod reconcile;
pub(crate) mod resolve;
pub(crate) mod tree;
pub(crate) mod version;

/// The objects that `target` means; an error when it names one that is not there.
async fn objects(access: &Access, target: &Target) -> Result<(Vec<Object>, World), Error> {
    let kinds = target.kind.map_or(KindArg::ALL.to_vec(), |kind| vec![kind]);
    let world = World::fetch(access, &kinds).await?;
    let mut objects = world.objects();
    if let (Some(kind), Some(name)) = (target.kind, &target.name) {
        let known = objects.iter().map(|object| object.name.clone()).collect();
        objects.retain(|object| object.name == *name);
        if objects.is_empty() {
            let place = access.namespace().unwrap_or("any").to_owned();
            let (kind, name) = (kind.kind(), name.clone());
            return Err(Error::NoSuchObject { kind, name, namespace: place, known });
        }
    }
    Ok((objects, world))
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
