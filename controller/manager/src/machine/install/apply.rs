//! Goes through the phases of an installation that a person has confirmed.

use std::fs;
use std::path::{Path, PathBuf};

use cim_crds::machine::install::{ConfirmedInstall, FailedInstall, InstallPhase, InstallStatus};
use cim_crds::{Machine, MachineStatus, Progress as Told, annotations};
use cim_nixos::install::{InstallProgress, Installation, Installer, Phase, forget, install};
use cim_nixos::{BuildOptions, Error, Progress, Toplevel};
use cim_plan::Plan;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use tokio::sync::watch;

use super::candidate::Candidate;
use super::observe::root_name;
use super::validate::Wanted;
use crate::driver::{Step, Visit};
use crate::logs::{Kind, keep};
use crate::machine::change::Change;
use crate::machine::failure::MachineFailure;
use crate::machine::validate::Desired;
use crate::machine::{Reconciler, host_name};
use crate::outcome::Stop;

/// The longest message, as the schema bounds it.
const MESSAGE_MAX: usize = 1000;
/// The longest line, as the schema bounds it.
const LINE_MAX: usize = 250;

/// Carries out `plan`, and what follows from it: one call of the library goes through all phases, and
/// may be cut off anywhere and called again.
pub(in crate::machine) async fn apply(
    reconciler: &Reconciler,
    visit: &Visit<'_, Machine>,
    desired: &Desired,
    wanted: &Wanted,
    plan: &Plan<Change>,
) -> Step<(), Reconciler> {
    let (Ok(candidate), Some(installation)) = (&wanted.candidate, &wanted.installation) else {
        return Ok(());
    };
    if wanted.signing_key.is_none() {
        return Err(MachineFailure::Invalid {
            field: "spec.signingKeySecretRef of the Cluster",
            why: "absent: a machine accepts only signed closures; name the Secret with the key"
                .to_owned(),
        }
        .into());
    }
    ensure_built(reconciler, visit, candidate).await?;
    let installation = with_tarball(installation)?;
    let before = visit.object().status.as_ref().and_then(|status| status.install.as_ref());
    if !candidate.confirmed || before.is_some_and(|install| install.failed.is_some()) {
        // A person gave the word, or mended what failed. Without that a failure that is found on the
        // machine is one that nobody was told of.
        forget_failures(reconciler, visit, wanted).await?;
    }
    // From here on it is begun: it is gone on with, whatever is released meanwhile.
    let first = plan.changes.iter().find_map(|change| match change {
        Change::Install(step) => Some(step.phase()),
        Change::Deliver(_) => None,
    });
    let confirmed = confirmed(candidate, visit.object(), plan);
    let begun = visit
        .commit("Installing", told(None), |status| {
            status.target = Some(candidate.target.clone());
            let install = enter(status, first);
            install.failed = None;
            install.confirmed = Some(match install.confirmed.take() {
                // The hash is that of the plan that was confirmed, not of what is left of it.
                Some(before) if candidate.confirmed => {
                    ConfirmedInstall { plan: before.plan, ..confirmed }
                }
                _ => confirmed,
            });
        })
        .await;
    begun.map_err(MachineFailure::from)?;
    if !candidate.confirmed {
        // The next visit finds it confirmed; by then all conditions say so.
        return Ok(());
    }
    match Box::pin(run(reconciler, visit, desired, wanted, &installation)).await {
        Ok(()) => Ok(()),
        Err(MachineFailure::Delivery(Error::InstallFailed { host, phase, why, log })) => {
            keep(visit.kube(), visit.object(), Kind::Install, phase_name(phase), &log).await;
            let message = Error::InstallFailed { host, phase, why, log }.to_string();
            note(visit, phase, &message).await;
            Err(Stop::Fail(MachineFailure::InstallFailed(message)))
        }
        Err(other) => Err(other.into()),
    }
}

/// The installation as it is remembered.
fn confirmed(candidate: &Candidate, machine: &Machine, plan: &Plan<Change>) -> ConfirmedInstall {
    let disks = machine.spec.install.as_ref().map(|install| install.disks.clone());
    ConfirmedInstall {
        plan: plan.hash(),
        out_path: candidate.target.out_path.clone().unwrap_or_default(),
        layout: candidate.layout.clone(),
        devices: candidate.devices.clone(),
        kexec: candidate.kexec.clone(),
        disks: disks.unwrap_or_default(),
    }
}

async fn forget_failures(
    reconciler: &Reconciler,
    visit: &Visit<'_, Machine>,
    wanted: &Wanted,
) -> Result<(), MachineFailure> {
    let workshop = &reconciler.workshop;
    let bare = workshop.hosts().await?.host(&root_name(visit), wanted.login.clone())?;
    let forgetting = forget(&bare, workshop.limits());
    Ok(workshop.metrics().external("ssh", "forget", forgetting).await?)
}

/// Notes that a phase failed: it is not tried again by itself.
async fn note(visit: &Visit<'_, Machine>, phase: Phase, message: &str) {
    let machine = visit.object();
    let failed = FailedInstall {
        phase: of(phase),
        message: message[..message.floor_char_boundary(MESSAGE_MAX)].to_owned(),
        generation: machine.metadata.generation.unwrap_or_default(),
        retry: machine.annotations().get(annotations::RETRY).cloned(),
        time: Some(visit.now().clone()),
    };
    visit
        .progress_with("InstallFailed", message.to_owned(), |status| {
            status.progress = None;
            let install = status.install.get_or_insert_default();
            install.phase = InstallPhase::Failed;
            install.since = Some(visit.now().clone());
            install.failed = Some(failed);
        })
        .await;
}

async fn run(
    reconciler: &Reconciler,
    visit: &Visit<'_, Machine>,
    desired: &Desired,
    wanted: &Wanted,
    installation: &Installation,
) -> Result<(), MachineFailure> {
    let workshop = &reconciler.workshop;
    let (nix, hosts) = (workshop.nix().await?, workshop.hosts().await?);
    let Some(key) = &wanted.signing_key else { return Ok(()) };
    let signer = workshop.signer(key).await?;
    let bare = hosts.host(&root_name(visit), wanted.login.clone())?;
    let deploy = hosts.host(&host_name(visit), desired.target.clone())?;
    let cluster = &visit.object().spec.cluster;
    let _permit = workshop.may_copy(visit.namespace(), cluster, desired.parallelism).await;
    let (steps, phases) = watch::channel(InstallProgress::default());
    let (copies, bytes) = watch::channel(Progress::default());
    let installer = Installer {
        nix,
        signer: &signer,
        bare: &bare,
        deploy: &deploy,
        deadlines: wanted.deadlines,
        progress: Some(&steps),
        copies: Some(&copies),
    };
    let installing = Box::pin(install(installer, installation));
    let installing = Box::pin(workshop.metrics().external("ssh", "install", installing));
    let counted = |status: &mut MachineStatus| {
        let (now, bytes) = (phases.borrow().clone(), bytes.borrow().bytes);
        let phase = now.step.map(|step| step.phase());
        enter(status, phase);
        let line = now.latest.unwrap_or_else(|| told(phase));
        status.progress = Some(Told {
            step: line[..line.floor_char_boundary(LINE_MAX)].to_owned(),
            done: bytes.done,
            expected: bytes.expected,
            unit: "bytes".to_owned(),
        });
    };
    let ended = visit.tell_while("Installing", &told(None), counted, installing).await?;
    for report in &ended.done {
        tracing::info!(step = %report.step, took = ?report.took, "installed");
    }
    Ok(())
}

/// The Cluster has built it; the local store may have been lost since.
async fn ensure_built(
    reconciler: &Reconciler,
    visit: &Visit<'_, Machine>,
    candidate: &Candidate,
) -> Result<(), MachineFailure> {
    let Candidate { target, layout, kexec, .. } = candidate;
    let parts = [Some(layout), kexec.as_ref()].into_iter().flatten();
    let parts = parts.map(|part| (Some(&part.out_path), part.drv_path.as_ref()));
    for (path, derivation) in parts.chain([(target.out_path.as_ref(), target.drv_path.as_ref())]) {
        let Some(path) = path.filter(|path| !Path::new(path).exists()) else { continue };
        let derivation = derivation.filter(|drv| Path::new(drv).exists());
        let toplevel = derivation.and_then(|drv| {
            Some(Toplevel { derivation: drv.parse().ok()?, closure: path.parse().ok()? })
        });
        let Some(toplevel) = toplevel else {
            return Err(MachineFailure::NoClosure(format!(
                "{path} is not in the controller's store, and cannot be built there"
            )));
        };
        visit.progress("Building", format!("building {path}")).await;
        let workshop = &reconciler.workshop;
        let roots = workshop.roots(visit.namespace(), &visit.object().spec.cluster)?;
        let name = crate::cluster::root_name(&toplevel.closure).unwrap_or_default();
        let root = roots.place(&name).map_err(Error::from)?;
        let options = BuildOptions { root: Some(&root), ..BuildOptions::default() };
        let building = workshop.nix().await?.build(&toplevel, options);
        workshop.metrics().external("nix", "build", building).await?;
    }
    Ok(())
}

/// nixos-images builds a directory with the tarball in it.
fn with_tarball(installation: &Installation) -> Result<Installation, MachineFailure> {
    let mut installation = installation.clone();
    let Some(image) = installation.kexec.as_ref().filter(|image| image.is_dir()) else {
        return Ok(installation);
    };
    let entries = fs::read_dir(image).into_iter().flatten().flatten();
    let is_tarball = |path: &PathBuf| path.to_string_lossy().ends_with(".tar.gz");
    let found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_tarball).collect();
    let [tarball] = found.as_slice() else {
        let (image, count) = (image.display(), found.len());
        return Err(MachineFailure::Invalid {
            field: "spec.install.kexec",
            why: format!("{image} holds {count} files *.tar.gz, and must hold one"),
        });
    };
    installation.kexec = Some(tarball.clone());
    Ok(installation)
}

/// Notes the phase, and since when it is.
fn enter(status: &mut MachineStatus, phase: Option<Phase>) -> &mut InstallStatus {
    let install = status.install.get_or_insert_default();
    if let Some(phase) = phase.map(of).filter(|phase| install.phase != *phase) {
        let now = Timestamp::now();
        install.phase = phase;
        install.since = Some(Time(Timestamp::from_second(now.as_second()).unwrap_or(now)));
    }
    install
}

fn told(phase: Option<Phase>) -> String {
    let what = match phase {
        None => "its first system is being installed",
        Some(Phase::Kexec) => "the installer is being booted",
        Some(Phase::Disko) => "the disks are being laid out",
        Some(Phase::Install) => "the closure is being brought and made bootable",
        Some(Phase::Reboot) => "the new system is being booted",
    };
    what.to_owned()
}

const fn of(phase: Phase) -> InstallPhase {
    match phase {
        Phase::Kexec => InstallPhase::Kexec,
        Phase::Disko => InstallPhase::Disko,
        Phase::Install => InstallPhase::Install,
        Phase::Reboot => InstallPhase::Reboot,
    }
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Kexec => "kexec",
        Phase::Disko => "disko",
        Phase::Install => "install",
        Phase::Reboot => "reboot",
    }
}
