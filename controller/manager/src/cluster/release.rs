//! The release: which revision is wanted now, and what it evaluates to for each machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cim_crds::cluster::promotion::Approval;
use cim_crds::cluster::release::{NamedPath, Release, ReleaseMachine};
use cim_crds::{Cluster, Source};
use cim_nixos::promotion::{Content, Difference, compare, digest};
use cim_nixos::{
    Access, Attribute, Configuration, Evaluation, InventoryJson, LockedSource, Nix, StorePath,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::failure::ClusterFailure;
use super::install;
use crate::ops::metrics::DeliverySeries;

/// The longest message of one machine, as the schema bounds it.
const ERROR_MAX: usize = 1000;

/// Where the release comes from, and for whom it is.
pub(super) struct Wanted {
    pub(super) source: cim_nixos::Source,
    pub(super) access: Option<Arc<Access>>,
    /// As the spec writes them.
    pub(super) flake: String,
    pub(super) branch: Option<String>,
    /// The hash that the tree must have, as the spec or the approval pins it.
    pub(super) nar_hash: Option<String>,
    /// The approval that it rests on, for a Cluster with promotion.
    pub(super) approval: Option<Approval>,
    /// Names of Machines and the configurations that they run.
    pub(super) machines: BTreeMap<String, Attribute>,
    /// Those of them that wait for their first system.
    pub(super) installs: install::Wanted,
    pub(super) inventory: InventoryJson,
    /// What the status holds: an evaluation of the same revision for the same machines is not
    /// repeated, also not after a restart.
    pub(super) present: Option<Release>,
}

/// A source and a revision of it, before they are parsed.
struct Origin {
    flake: String,
    branch: Option<String>,
    rev: Option<String>,
    nar_hash: Option<String>,
}

impl Wanted {
    /// Reads the source and the machines' configurations.
    pub(super) fn new(
        cluster: &Cluster,
        spec: &Source,
        approval: Option<Approval>,
        machines: &[(String, String)],
        inventory: InventoryJson,
        access: Option<Arc<Access>>,
    ) -> Result<Self, ClusterFailure> {
        let origin = match &approval {
            // Never a branch: it may have moved since.
            Some(Approval { approved, .. }) => Origin {
                flake: spec.flake.clone(),
                branch: spec.ref_.clone(),
                rev: Some(approved.rev.clone()),
                nar_hash: Some(approved.nar_hash.clone()),
            },
            None => Origin {
                flake: spec.flake.clone(),
                branch: spec.ref_.clone(),
                rev: spec.rev.clone(),
                nar_hash: spec.nar_hash.clone(),
            },
        };
        let Origin { flake, branch, rev, nar_hash } = origin;
        let source = cim_nixos::Source::parse(&flake, branch.as_deref(), rev.as_deref())
            .map_err(|why| invalid("spec.source", &why))?;
        let machines = machines
            .iter()
            .map(|(name, configuration)| {
                let attribute = configuration.parse();
                let field = format!("spec.configuration of Machine {name}");
                Ok((name.clone(), attribute.map_err(|why| invalid(&field, &why))?))
            })
            .collect::<Result<_, ClusterFailure>>()?;
        let present = cluster.status.as_ref().and_then(|status| status.release.clone());
        let installs = install::Wanted::new();
        Ok(Self {
            source,
            access,
            flake,
            branch,
            nar_hash,
            approval,
            machines,
            installs,
            inventory,
            present,
        })
    }

    /// The same, with what first installations take.
    pub(super) fn installing(self, installs: install::Wanted) -> Self {
        Self { installs, ..self }
    }
}

fn invalid(field: &str, why: &cim_nixos::ParseError) -> ClusterFailure {
    ClusterFailure::Invalid { field: field.to_owned(), why: why.to_string() }
}

/// Looks which revision the source names now. Evaluates it once, for all machines, unless the status
/// holds the result already, or an earlier look of this process that has not reached the status yet.
pub(super) async fn resolve(
    nix: &Nix,
    wanted: &Wanted,
    remembered: Option<&Release>,
    metrics: &DeliverySeries,
    now: &Time,
) -> Result<Release, ClusterFailure> {
    let with_access = wanted.access.clone().map(|access| nix.with_access(access));
    let nix = with_access.as_ref().unwrap_or(nix);
    let rev = nix.current_rev(&wanted.source).await?;
    let serves = |release: &&Release| {
        release.rev == rev.as_str()
            && is_for(release, wanted)
            && release.machines.iter().all(can_be_built)
    };
    if let Some(present) = [remembered, wanted.present.as_ref()].into_iter().flatten().find(serves)
    {
        // The approval may be another one than that under which it was evaluated.
        judge(wanted, present)?;
        let mut present = present.clone();
        install::strip(&mut present, &wanted.installs);
        return Ok(present);
    }
    let locked = nix.resolve(&wanted.source).await?;
    if let Some(pinned) = &wanted.nar_hash
        && pinned != locked.nar_hash.as_str()
    {
        let found = locked.nar_hash.to_string();
        return Err(ClusterFailure::HashMismatch { wanted: pinned.clone(), found });
    }
    let mut attributes: Vec<Attribute> = wanted.machines.values().cloned().collect();
    attributes.sort();
    attributes.dedup();
    let began = Instant::now();
    let installs = install::by_configuration(&wanted.installs, &wanted.machines);
    let evaluating = nix.evaluate_with(&locked, Some(&wanted.inventory), &attributes, &installs);
    let evaluation = evaluating.await;
    count(metrics, &evaluation, began.elapsed());
    let evaluation = evaluation?;
    tracing::info!(
        rev = locked.rev.as_str(),
        configurations = attributes.len(),
        runs = evaluation.stats.runs,
        peak_mib = evaluation.stats.peak_memory >> 20,
        "evaluated"
    );
    let release = release(wanted, &locked, &evaluation, now);
    judge(wanted, &release)?;
    Ok(release)
}

fn count(
    metrics: &DeliverySeries,
    evaluation: &Result<Evaluation, cim_nixos::Error>,
    took: Duration,
) {
    let (result, peak) = match evaluation {
        Ok(found) => {
            let complete = found.configurations.values().all(Result::is_ok);
            (if complete { "ok" } else { "incomplete" }, Some(found.stats.peak_memory))
        }
        Err(error) => (error.reason(), None),
    };
    metrics.evaluated(result, took, peak);
}

/// Whether `release` was evaluated for exactly these machines, configurations and inventory, and all
/// have a closure: what a configuration fetches may fail for a while, so a failure is tried again.
fn is_for(release: &Release, wanted: &Wanted) -> bool {
    let takes_inventory = release.inventory_hash.as_deref();
    release.flake == wanted.flake
        && release.digest.is_some()
        && takes_inventory.is_none_or(|hash| hash == wanted.inventory.hash().as_str())
        && wanted.nar_hash.as_ref().is_none_or(|pinned| *pinned == release.nar_hash)
        && release.machines.len() == wanted.machines.len()
        && release.machines.iter().all(|machine| {
            wanted
                .machines
                .get(&machine.name)
                .is_some_and(|attribute| machine.configuration == attribute.as_str())
                && machine.error.is_none()
        })
        && install::is_for(release, &wanted.installs)
}

/// The local store is a cache and may be lost: then only evaluating gives the derivation again.
fn can_be_built(machine: &ReleaseMachine) -> bool {
    let exists = |path: Option<&String>| path.is_some_and(|path| Path::new(path).exists());
    let parts = install::parts(machine).map(|part| (Some(&part.out_path), part.drv_path.as_ref()));
    parts
        .chain([(machine.out_path.as_ref(), machine.drv_path.as_ref())])
        .all(|(path, derivation)| exists(path) || exists(derivation))
}

fn release(wanted: &Wanted, locked: &LockedSource, evaluation: &Evaluation, now: &Time) -> Release {
    let content = content(locked, evaluation);
    let inventory_hash = evaluation.inventory.as_ref().map(|hash| hash.as_str().to_owned());
    let digest = digest(&content, inventory_hash.as_deref());
    let before = wanted.present.as_ref();
    let since = before.filter(|before| before.digest.as_ref() == Some(&digest));
    let since = since.and_then(|before| before.since.clone()).unwrap_or_else(|| now.clone());
    let machines = wanted.machines.iter().map(|(name, attribute)| {
        let output = wanted.installs.get(name);
        ReleaseMachine {
            install: output.and_then(|output| {
                let configuration = evaluation.configurations.get(attribute)?.as_ref().ok()?;
                Some(install::told(configuration.install.as_ref()?, output.as_ref()))
            }),
            ..machine(name, attribute, evaluation)
        }
    });
    let named = |(name, path): (&String, &StorePath)| NamedPath {
        name: name.clone(),
        out_path: path.to_string(),
    };
    Release {
        flake: wanted.flake.clone(),
        ref_: wanted.branch.clone(),
        rev: locked.rev.to_string(),
        short_rev: locked.rev.short().to_owned(),
        nar_hash: locked.nar_hash.to_string(),
        inventory_hash,
        digest: Some(digest),
        since: Some(since),
        machines: machines.collect(),
        services: content.services.iter().map(named).collect(),
    }
}

/// What the revision comes to. Two configurations may hold different closures of one service (for
/// two systems, say): then each is named with its configuration.
fn content(locked: &LockedSource, evaluation: &Evaluation) -> Content {
    let found: BTreeMap<&Attribute, &Configuration> = evaluation
        .configurations
        .iter()
        .filter_map(|(attribute, found)| Some((attribute, found.as_ref().ok()?)))
        .collect();
    let mut services: BTreeMap<String, StorePath> = BTreeMap::new();
    for (attribute, configuration) in &found {
        for (service, path) in &configuration.services {
            let first = services.entry(service.clone()).or_insert_with(|| path.clone());
            if first != path {
                services.insert(format!("{service}@{attribute}"), path.clone());
            }
        }
    }
    Content {
        rev: locked.rev.clone(),
        nar_hash: locked.nar_hash.clone(),
        configurations: found
            .iter()
            .map(|(attribute, it)| (attribute.to_string(), it.toplevel.closure.clone()))
            .collect(),
        services,
    }
}

/// Refuses what was not approved.
fn judge(wanted: &Wanted, release: &Release) -> Result<(), ClusterFailure> {
    let Some(Approval { approved, .. }) = &wanted.approval else { return Ok(()) };
    if approved.configurations.is_empty() && approved.services.is_empty() {
        // Going back: the very release that ran here before.
        return if release.digest.as_ref() == Some(&approved.digest) {
            Ok(())
        } else {
            let found = release.digest.clone().unwrap_or_default();
            let approved = approved.digest.clone();
            Err(ClusterFailure::NotThatRelease { approved, found })
        };
    }
    let approved = named(
        (&approved.rev, &approved.nar_hash),
        approved.configurations.iter().map(|it| (&it.name, &it.out_path)),
        &approved.services,
    )
    .map_err(|why| invalid("spec.promotion.approved", &why))?;
    let machines = release.machines.iter();
    let evaluated = named(
        (&release.rev, &release.nar_hash),
        machines.filter_map(|it| Some((&it.configuration, it.out_path.as_ref()?))),
        &release.services,
    )
    .map_err(|why| invalid("status.release", &why))?;
    let differences = compare(&approved, &evaluated);
    if differences.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = differences.iter().map(Difference::to_string).collect();
    Err(ClusterFailure::NotApproved(told))
}

/// What the texts of an approval, or of a release, name.
fn named<'a>(
    (rev, nar_hash): (&str, &str),
    configurations: impl Iterator<Item = (&'a String, &'a String)>,
    services: &'a [NamedPath],
) -> Result<Content, cim_nixos::ParseError> {
    let services = services.iter().map(|it| (&it.name, &it.out_path));
    Ok(Content {
        rev: rev.parse()?,
        nar_hash: nar_hash.parse()?,
        configurations: paths(configurations)?,
        services: paths(services)?,
    })
}

fn paths<'a>(
    named: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<BTreeMap<String, StorePath>, cim_nixos::ParseError> {
    named.map(|(name, path)| Ok((name.clone(), path.parse()?))).collect()
}

fn machine(name: &str, attribute: &Attribute, evaluation: &Evaluation) -> ReleaseMachine {
    let entry = ReleaseMachine {
        name: name.to_owned(),
        configuration: attribute.to_string(),
        ..ReleaseMachine::default()
    };
    match evaluation.configurations.get(attribute) {
        Some(Ok(Configuration { toplevel, .. })) => ReleaseMachine {
            drv_path: Some(toplevel.derivation.to_string()),
            out_path: Some(toplevel.closure.to_string()),
            ..entry
        },
        Some(Err(error)) => ReleaseMachine { error: Some(short(&error.to_string())), ..entry },
        None => ReleaseMachine { error: Some("it was not evaluated".to_owned()), ..entry },
    }
}

fn short(text: &str) -> String {
    text[..text.floor_char_boundary(ERROR_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(names: &[(&str, &str)]) -> Wanted {
        let cluster: Cluster = serde_json::from_value(serde_json::json!({
            "apiVersion": "cim.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "c"},
            "spec": {"domain": "d"},
        }))
        .expect("a cluster");
        let spec = Source {
            flake: "git+https://git.example.com/infra".to_owned(),
            ref_: Some("main".to_owned()),
            rev: None,
            nar_hash: None,
            credentials_secret_ref: None,
        };
        let machines: Vec<_> =
            names.iter().map(|(name, it)| ((*name).to_owned(), (*it).to_owned())).collect();
        let inventory = InventoryJson::new(&serde_json::json!({})).expect("an inventory");
        Wanted::new(&cluster, &spec, None, &machines, inventory, None).expect("wanted")
    }

    fn evaluated(names: &[(&str, &str)]) -> Release {
        let wanted = wanted(names);
        let machines = wanted.machines.iter().map(|(name, attribute)| ReleaseMachine {
            error: None,
            ..machine(name, attribute, &Evaluation::default())
        });
        Release {
            flake: wanted.flake.clone(),
            digest: Some("d".to_owned()),
            machines: machines.collect(),
            ..Release::default()
        }
    }

    #[test]
    fn an_evaluation_serves_only_what_it_was_made_for() {
        let release = evaluated(&[("host1", "a"), ("host2", "b")]);
        assert!(is_for(&release, &wanted(&[("host2", "b"), ("host1", "a")])));
        assert!(!is_for(&release, &wanted(&[("host1", "a")])));
        assert!(!is_for(&release, &wanted(&[("host1", "a"), ("host3", "b")])));
        assert!(!is_for(&release, &wanted(&[("host1", "a"), ("host2", "c")])));
        assert!(is_for(&evaluated(&[]), &wanted(&[])));
        let mut failed = release.clone();
        failed.machines[1].error = Some("it throws".to_owned());
        assert!(!is_for(&failed, &wanted(&[("host1", "a"), ("host2", "b")])));
        let mut other = release.clone();
        other.inventory_hash = Some("sha256-another".to_owned());
        assert!(!is_for(&other, &wanted(&[("host1", "a"), ("host2", "b")])));
    }

    #[test]
    fn what_is_at_hand_is_held_against_the_approval_of_today() {
        let path = |name: &str| format!("/nix/store/{}-{name}", "0".repeat(32));
        let mut release = evaluated(&[("host1", "a")]);
        release.rev = "1".repeat(40);
        release.nar_hash = format!("sha256-{}=", "A".repeat(43));
        release.machines[0].out_path = Some(path("a"));
        let judged = |approved: &str| {
            let approval = serde_json::json!({
                "from": "dev", "time": "2026-01-01T00:00:00Z", "by": "jane", "digest": "d",
                "rev": release.rev, "narHash": release.nar_hash,
                "configurations": [{"name": "a", "outPath": path(approved)}],
            });
            let approval = serde_json::from_value(approval).expect("an approval");
            let wanted = wanted(&[("host1", "a")]);
            judge(&Wanted { approval: Some(approval), ..wanted }, &release)
        };
        assert!(judged("a").is_ok());
        let told = judged("b").expect_err("another closure").to_string();
        assert!(told.contains(&path("a")) && told.contains(&path("b")), "{told}");
    }

    #[test]
    fn a_message_is_cut_between_characters_to_what_the_schema_admits() {
        let length = short(&"ü".repeat(2 * ERROR_MAX)).len();
        assert!((ERROR_MAX - 1..=ERROR_MAX).contains(&length), "{length}");
    }
}
