//! What another release would change in a Cluster.

use std::collections::{BTreeMap, BTreeSet};

use cim_crds::{
    Cluster,
    cluster::release::{PastRelease, Release},
};
use kube::ResourceExt;
use serde::Serialize;

use super::{configurations, refusal::Refusal, services};

/// What another release would change in a Cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Difference {
    /// The namespace of the Cluster.
    pub(crate) namespace: String,
    /// The Cluster.
    pub(crate) cluster: String,
    /// Its present release; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) now: Option<Identity>,
    /// The other one.
    pub(crate) then: Identity,
    /// The toplevel of each configuration that the Cluster uses.
    pub(crate) configurations: Vec<Item>,
    /// The closure of each service in either.
    pub(crate) services: Vec<Item>,
}

/// Which release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    /// Where it is from, for people: `Cluster dev`, `history of prod`.
    pub(crate) of: String,
    pub(crate) rev: String,
    pub(crate) nar_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
}

/// One store path, now and then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Item {
    /// The configuration or service.
    pub(crate) name: String,
    pub(crate) change: Change,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) now: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) then: Option<String>,
    /// The machines that run it; of configurations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) machines: Vec<String>,
}

/// In which way a path changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    Same,
    Changed,
    Added,
    Removed,
    /// Not known before the controller has evaluated it.
    Unknown,
}

/// The release to compare with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Other<'r> {
    /// What a Cluster has.
    Release(&'r Cluster, &'r Release),
    /// Of which only the identity was kept.
    Past(&'r PastRelease),
}

/// Compares the release of a Cluster with another.
pub(crate) fn compare(cluster: &Cluster, other: Other<'_>) -> Result<Difference, Refusal> {
    let name = cluster.name_any();
    let present = cluster.status.as_ref().and_then(|status| status.release.as_ref());
    let now = present.map(configurations).transpose()?.unwrap_or_default();
    let now_services = present.map(services).unwrap_or_default();
    let machines = machines(present);
    let (then, configurations, services) = match other {
        Other::Release(sender, release) => {
            let then = configurations(release)?;
            // Of a Cluster without a release nobody knows yet what it uses.
            let wanted: BTreeSet<_> = match present {
                Some(_) => now.keys().copied().collect(),
                None => then.keys().copied().collect(),
            };
            let configurations = wanted.into_iter().map(|it| {
                let then = then.get(it).copied();
                // A configuration that the other does not use is evaluated when it is delivered.
                item(it, now.get(it).copied(), then, Change::Unknown)
            });
            let theirs = self::services(release);
            let all: BTreeSet<_> = now_services.keys().chain(theirs.keys()).copied().collect();
            let services = all.into_iter().map(|it| {
                item(it, now_services.get(it).copied(), theirs.get(it).copied(), Change::Removed)
            });
            let of = format!("Cluster {}", sender.name_any());
            let identity = identity(of, &release.rev, &release.nar_hash, release.digest.as_deref());
            (identity, configurations.collect(), services.collect())
        }
        Other::Past(past) => {
            let unknown =
                |(name, now): (&&str, &&str)| item(name, Some(now), None, Change::Unknown);
            let of = format!("history of {name}");
            let identity = identity(of, &past.rev, &past.nar_hash, Some(&past.digest));
            let services = now_services.iter().map(unknown).collect();
            (identity, now.iter().map(unknown).collect::<Vec<_>>(), services)
        }
    };
    let with_machines = |item: Item| Item {
        machines: machines.get(item.name.as_str()).cloned().unwrap_or_default(),
        ..item
    };
    Ok(Difference {
        namespace: cluster.namespace().unwrap_or_default(),
        now: present.map(|it| {
            identity(format!("Cluster {name}"), &it.rev, &it.nar_hash, it.digest.as_deref())
        }),
        cluster: name,
        then,
        configurations: configurations.into_iter().map(with_machines).collect(),
        services,
    })
}

impl Difference {
    /// Whether anything would change, or might.
    pub(crate) fn differs(&self) -> bool {
        let source = |it: &Identity| (it.rev.clone(), it.nar_hash.clone());
        self.now.as_ref().map(source) != Some(source(&self.then))
            || self.items().any(|item| !matches!(item.change, Change::Same | Change::Unknown))
    }

    /// All paths.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.configurations.iter().chain(&self.services)
    }
}

fn identity(of: String, rev: &str, nar_hash: &str, digest: Option<&str>) -> Identity {
    let owned = str::to_owned;
    Identity { of, rev: owned(rev), nar_hash: owned(nar_hash), digest: digest.map(owned) }
}

fn item(name: &str, now: Option<&str>, then: Option<&str>, absent: Change) -> Item {
    let change = match (now, then) {
        (Some(now), Some(then)) if now == then => Change::Same,
        (Some(_), Some(_)) => Change::Changed,
        (None, _) => Change::Added,
        (Some(_), None) => absent,
    };
    let owned = |path: Option<&str>| path.map(str::to_owned);
    Item { name: name.to_owned(), change, now: owned(now), then: owned(then), machines: vec![] }
}

/// The machines of each configuration.
fn machines(release: Option<&Release>) -> BTreeMap<&str, Vec<String>> {
    let mut machines = BTreeMap::<&str, Vec<String>>::new();
    for machine in release.into_iter().flat_map(|release| &release.machines) {
        let configuration = match machine.configuration.as_str() {
            "" => machine.name.as_str(),
            configuration => configuration,
        };
        machines.entry(configuration).or_default().push(machine.name.clone());
    }
    machines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures, release::choice};

    #[test]
    fn what_approving_would_change() {
        let (dev, prod) = (fixtures::cluster("dev"), fixtures::cluster("prod"));
        let release = choice::release(&dev).unwrap();
        let difference = compare(&prod, Other::Release(&dev, release)).unwrap();
        assert!(difference.differs());
        insta::assert_yaml_snapshot!(difference);
        assert!(!compare(&dev, Other::Release(&dev, release)).unwrap().differs());
    }

    #[test]
    fn of_a_past_release_the_closures_are_not_known() {
        let prod = fixtures::cluster("prod");
        let past = super::super::past::find(&prod, None).unwrap();
        let difference = compare(&prod, Other::Past(past)).unwrap();
        assert!(difference.differs() && difference.items().all(|it| it.change == Change::Unknown));
    }
}
