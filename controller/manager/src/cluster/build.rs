//! Building and signing the closures of a release, before any machine takes it.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::sync::Arc;

use cim_crds::cluster::release::{Release, ReleaseMachine};
use cim_crds::{Cluster, ClusterStatus, Progress as Told};
use cim_nixos::{BuildOptions, Nix, Progress, Root, Signer, Toplevel};
use futures::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Reconciler;
use super::failure::ClusterFailure;
use super::install;
use super::roots::root_name;
use crate::driver::Visit;
use crate::logs::{Kind, keep};

/// Questions to the store at a time.
const PARALLEL: usize = 4;
/// The longest name of a step, as the schema bounds it.
const STEP_MAX: usize = 253;

/// One closure to be built and signed, for one or more machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// How it is built.
    #[serde(flatten)]
    pub(super) toplevel: Toplevel,
    /// The Machines that are to run it.
    pub(super) machines: Vec<String>,
}

impl Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "build {} for {}", self.toplevel.closure, self.machines.join(", "))
    }
}

/// The closures of `release` that are not built, or not signed by the key of that name.
pub(super) fn missing(release: &Release, key: &str) -> Vec<Build> {
    let mut builds: BTreeMap<&str, Build> = BTreeMap::new();
    for machine in release.machines.iter().filter(|machine| !is_ready(machine, key)) {
        let (Some(closure), Some(derivation)) = (&machine.out_path, &machine.drv_path) else {
            continue;
        };
        let (Ok(path), Ok(derivation)) = (closure.parse(), derivation.parse()) else { continue };
        let build = builds.entry(closure).or_insert_with(|| Build {
            toplevel: Toplevel { derivation, closure: path },
            machines: Vec::new(),
        });
        build.machines.push(machine.name.clone());
    }
    let mut builds: Vec<Build> = builds.into_values().collect();
    for machine in &release.machines {
        for toplevel in install::missing(machine) {
            match builds.iter_mut().find(|build| build.toplevel == toplevel) {
                Some(build) => build.machines.push(machine.name.clone()),
                None => builds.push(Build { toplevel, machines: vec![machine.name.clone()] }),
            }
        }
    }
    builds
}

fn is_ready(machine: &ReleaseMachine, key: &str) -> bool {
    machine.nar_hash.is_some() && machine.signed_by.iter().any(|signer| signer == key)
}

/// Fills in what the local store knows of the closures that the release does not say built.
pub(super) async fn look(nix: &Nix, release: &mut Release, key: &str) {
    release.machines.iter_mut().for_each(install::look);
    let mut work = Vec::new();
    for build in missing(release, key) {
        work.push(async move {
            let found = nix.provenance(&build.toplevel.closure).await.ok()?;
            Some((build.toplevel.closure.to_string(), found))
        });
    }
    let known: Vec<_> = stream::iter(work).buffer_unordered(PARALLEL).collect().await;
    let known: BTreeMap<String, cim_nixos::Provenance> = known.into_iter().flatten().collect();
    for machine in &mut release.machines {
        let Some(found) = machine.out_path.as_ref().and_then(|path| known.get(path)) else {
            continue;
        };
        machine.nar_hash = Some(found.nar_hash.to_string());
        machine.signed_by.clone_from(&found.signed_by);
    }
}

/// Builds and signs. One that fails does not stop the others.
pub(super) async fn build(
    reconciler: &Reconciler,
    visit: &Visit<'_, Cluster>,
    nix: &Nix,
    signer: &Signer,
    builds: &[Build],
) -> Result<(), ClusterFailure> {
    let roots = reconciler.workshop.roots(visit.namespace(), visit.name())?;
    let builders = reconciler.workshop.builders().await?;
    let (sink, told) = watch::channel(Progress::default());
    let options = BuildOptions { root: None, builders, progress: Some(&sink) };
    let place =
        |build: &Build| roots.place(&root_name(&build.toplevel.closure).unwrap_or_default());
    let places = builds.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    let began = Instant::now();
    let making = Box::pin(make(nix, signer, builds, &places, options));
    let message = format!("building {} closures", builds.len());
    let counted = |status: &mut ClusterStatus| {
        status.progress = Some(counted(&told.borrow(), &message));
    };
    let made = visit.tell_while("Building", &message, counted, making).await;
    let result = if made.iter().all(Result::is_ok) { "ok" } else { "error" };
    reconciler.workshop.metrics().external_call("nix", "build", result, began.elapsed());
    for made in &made {
        let result = made.as_ref().map_or_else(cim_nixos::Error::reason, |()| "ok");
        reconciler.workshop.metrics().deliveries().built(result);
    }
    let mut failed = Vec::new();
    for (build, made) in builds.iter().zip(made) {
        let Err(error) = made else { continue };
        if let cim_nixos::Error::BuildFailed { log, .. } = &error {
            for name in &build.machines {
                if let Some(machine) = reconciler.caches.machines.get(visit.namespace(), name) {
                    keep(visit.kube(), &*machine, Kind::Build, &log.derivation, &log.text).await;
                }
            }
        }
        failed.push((build.machines.join(", "), Arc::new(error)));
    }
    if failed.is_empty() { Ok(()) } else { Err(ClusterFailure::Build(failed)) }
}

/// How the build and the signature of each ended.
async fn make(
    nix: &Nix,
    signer: &Signer,
    builds: &[Build],
    places: &[Root],
    options: BuildOptions<'_>,
) -> Vec<Result<(), cim_nixos::Error>> {
    let wanted = builds
        .iter()
        .zip(places)
        .map(|(build, root)| (&build.toplevel, BuildOptions { root: Some(root), ..options }));
    let wanted: Vec<_> = wanted.collect();
    let mut made = nix.build_all(&wanted).await;
    let built = || wanted.iter().map(|(toplevel, _)| &toplevel.closure);
    let closures: Vec<_> =
        built().zip(&made).filter(|(_, made)| made.is_ok()).map(|(path, _)| path).collect();
    if nix.sign_all(signer, &closures).await.is_err() {
        // Alone, each tells its own error.
        for (closure, made) in built().zip(&mut made).filter(|(_, made)| made.is_ok()) {
            *made = nix.sign(signer, closure).await;
        }
    }
    made
}

/// How far the builds are; `message` is what is told before the first of them has begun.
fn counted(progress: &Progress, message: &str) -> Told {
    Told {
        step: progress.latest.as_deref().unwrap_or(message).chars().take(STEP_MAX).collect(),
        done: progress.builds.done,
        expected: progress.builds.expected,
        unit: "derivations".to_owned(),
    }
}
