//! The release: which revision is wanted now, and what it evaluates to for each machine.
//!
//! ```text
//! wanted     where it comes from, and for whom
//! evaluated  what it came to
//! approved   whether that may be delivered
//! ```

mod approved;
mod evaluated;
mod wanted;

use std::path::Path;
use std::time::{Duration, Instant};

use cim_crds::cluster::release::{Release, ReleaseMachine};
use cim_nixos::{Attribute, Evaluation, Nix};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use self::approved::judge;
use self::evaluated::release;
use super::failure::ClusterFailure;
use super::install;
use crate::ops::metrics::DeliverySeries;

pub(super) use self::wanted::Wanted;

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

#[cfg(test)]
mod tests {
    use cim_crds::{Cluster, Source};
    use cim_nixos::InventoryJson;

    use super::evaluated::machine;
    use super::*;

    pub(super) fn wanted(names: &[(&str, &str)]) -> Wanted {
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

    pub(super) fn evaluated(names: &[(&str, &str)]) -> Release {
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
}
