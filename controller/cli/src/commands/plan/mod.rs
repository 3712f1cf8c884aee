//! `plan`: what runs where, what would change, and what the controller would do, or is doing.

pub(crate) mod fleet;

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use self::fleet::{Fleet, Named, fleets};
use super::{count, nothing, objects_of, titles, unreadable};
use crate::{
    access::Access,
    error::Error,
    kinds::KindArg,
    output::Report,
    release::path::Paths,
    state::Object,
    style::Tone,
    table::Cell,
    target::{Aim, Target},
    world::World,
};

/// The plans of some objects.
#[derive(Debug, Serialize)]
pub(crate) struct Plans {
    clusters: Vec<Fleet>,
    objects: Vec<Object>,
    #[serde(skip)]
    wide: bool,
    #[serde(skip)]
    now: Timestamp,
    #[serde(skip)]
    remarks: Vec<String>,
}

pub(crate) async fn run(access: &Access, target: &Target, wide: bool) -> Result<Plans, Error> {
    let aim = target.aim()?;
    let world = World::fetch(access, &kinds(&aim)).await?;
    let mut objects = objects_of(access, &world, &aim)?;
    let clusters = whose(&world, &aim, &mut objects);
    let mut remarks = unreadable(&world);
    if objects.is_empty() {
        remarks.push(nothing(access));
    }
    Ok(Plans { clusters, objects, wide, now: Timestamp::now(), remarks })
}

/// What must be read: machines are shown beside their Cluster, and waves by their names.
fn kinds(aim: &Aim) -> Vec<KindArg> {
    match aim {
        Aim::Kind(kind) | Aim::Object(kind, _)
            if !matches!(kind, KindArg::Cluster | KindArg::Machine) =>
        {
            vec![*kind]
        }
        _ => KindArg::ALL.to_vec(),
    }
}

/// The Clusters with the machines that are meant. One Cluster means all that belongs to it.
fn whose(world: &World, aim: &Aim, objects: &mut Vec<Object>) -> Vec<Fleet> {
    let mut clusters = fleets(world);
    match aim {
        Aim::All | Aim::Kind(KindArg::Cluster) => {}
        Aim::Kind(KindArg::Machine) => clusters.retain_mut(|fleet| fleet.keep(|_, _| true)),
        Aim::Kind(_) => clusters.clear(),
        Aim::Object(..) | Aim::Name(_) => {
            let meant = |kind: KindArg, namespace: &str, name: &str| {
                objects.iter().any(|it| {
                    it.kind == kind.kind() && it.namespace == namespace && it.name == name
                })
            };
            let belongs: Vec<Object> = world
                .machines
                .iter()
                .map(|it| (&it.spec.cluster, it.namespace(), Object::of(it)))
                .chain(
                    world
                        .services
                        .iter()
                        .map(|it| (&it.spec.cluster, it.namespace(), Object::of(it))),
                )
                .filter(|(cluster, namespace, object)| {
                    let namespace = namespace.as_deref().unwrap_or_default();
                    meant(KindArg::Cluster, namespace, cluster)
                        && !objects.iter().any(|it| {
                            (it.kind, &it.namespace, &it.name)
                                == (object.kind, &object.namespace, &object.name)
                        })
                })
                .map(|(_, _, object)| object)
                .collect();
            clusters.retain_mut(|fleet| {
                fleet.is_one_of(|namespace, name| meant(KindArg::Cluster, namespace, name))
                    || fleet.keep(|namespace, name| meant(KindArg::Machine, namespace, name))
            });
            objects.extend(belongs);
        }
    }
    clusters
}

impl Report for Plans {
    /// The Clusters with their machines; then the changes of each object below its name, in the order
    /// in which they would happen.
    fn table(&self, colour: bool) -> String {
        let paths = Paths::of(self.clusters.iter().flat_map(Fleet::paths), self.wide);
        let namespaces = self.clusters.iter().map(Fleet::namespace);
        let several = namespaces.clone().min() != namespaces.max();
        let named = if several { Named::WithNamespace } else { Named::Briefly };
        let table = |fleet: &Fleet| fleet.table((paths, named), self.now, colour);
        let fleets = self.clusters.iter().map(table);
        let changes = self.changes(colour);
        let nothing = changes.is_empty() && !self.objects.is_empty();
        let last = if nothing {
            format!("Nothing to do for {}.\n", count(self.objects.len()))
        } else {
            changes
        };
        fleets.chain([last]).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }
}

impl Plans {
    fn changes(&self, colour: bool) -> String {
        let title = titles(&self.objects);
        let mut out = String::new();
        for object in &self.objects {
            let Some(plan) = object.plan.as_ref().filter(|plan| !plan.changes.is_empty()) else {
                continue;
            };
            let hash = plan.hash.as_ref().map(|hash| format!(" ({hash})")).unwrap_or_default();
            out.push_str(&Tone::Heading.paint(&title(object), colour));
            out.push_str(&Tone::Faint.paint(&hash, colour));
            out.push('\n');
            for change in &plan.changes {
                out.extend(["  ", Cell::from(change).plain(), "\n"]);
            }
            if plan.truncated {
                out.push_str("  … and more\n");
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn plans(world: &World, aim: &Aim) -> Plans {
        let mut objects = world.objects();
        let named = |it: &Object| match aim {
            Aim::Object(kind, name) => it.kind == kind.kind() && it.name == *name,
            Aim::Kind(kind) => it.kind == kind.kind(),
            _ => true,
        };
        objects.retain(named);
        let clusters = whose(world, aim, &mut objects);
        let now = "2026-01-01T13:00:00Z".parse().unwrap();
        Plans { clusters, objects, wide: false, now, remarks: vec![] }
    }

    #[test]
    fn changes_stand_below_their_object() {
        let mut plans = plans(&fixtures::world(), &Aim::All);
        insta::assert_snapshot!(plans.table(false));
        plans.objects.retain(|object| object.plan.is_none());
        assert_eq!(plans.table(false), "Nothing to do for 7 objects.\n");
    }

    #[test]
    fn a_cluster_means_what_belongs_to_it() {
        let prod = Aim::Object(KindArg::Cluster, "prod".to_owned());
        insta::assert_snapshot!(plans(&fixtures::releases(), &prod).table(false));
    }

    #[test]
    fn a_machine_is_shown_beside_its_cluster() {
        let prod2 = Aim::Object(KindArg::Machine, "prod2".to_owned());
        insta::assert_snapshot!(plans(&fixtures::releases(), &prod2).table(false));
    }
}
