//! Builds what is missing here, signs, copies, activates, confirms and reboots: what a plan says.

use std::path::Path;

use cim_crds::machine::system::DeliveryPhase;
use cim_crds::{Machine, MachineStatus, Progress as Told};
use cim_nixos::{
    Applied, BuildOptions, Change, Health, Nix, Outcome, Progress, RollbackReason, StorePath,
    Toplevel,
};
use cim_plan::Plan;
use tokio::sync::watch;
use tokio::time::Duration;

use super::assign::assign;
use super::attempt::{self, ROLLED_BACK, failed};
use super::change::Change as Planned;
use super::failure::MachineFailure;
use super::observe::Seen;
use super::validate::{Delivery, Desired};
use super::{Reconciler, host_name};
use crate::driver::{Step, Visit};
use crate::logs::{Kind, keep};
use crate::outcome::{Class, Failure, Stop, Wait};

pub(super) async fn apply(
    reconciler: &Reconciler,
    visit: &Visit<'_, Machine>,
    desired: &Desired,
    seen: &Seen,
    plan: &Plan<Planned>,
) -> Step<(), Reconciler> {
    let plan = &of_delivery(plan);
    let Some(delivery) = &desired.delivery else { return Ok(()) };
    // Between the decision and the first effect the Cluster may have decided otherwise.
    let assignment = &desired.assignment;
    let now = assign(&visit.current().await, &*reconciler.cluster(visit)?);
    let closure = |target: &Option<cim_crds::machine::system::Target>| {
        target.as_ref().and_then(|target| target.out_path.clone())
    };
    if closure(&now.target) != closure(&assignment.target) {
        let message = "its Cluster has decided on another closure meanwhile";
        return Err(Wait::new("Reassigned", message).after(Duration::ZERO).into());
    }
    if brought_ahead(desired, plan).is_none() {
        // From here on it was begun: a pause or a window that closes does not take it back.
        let given = |status: &mut MachineStatus| {
            status.target.clone_from(&assignment.target);
            status.previous.clone_from(&assignment.previous);
            status.delivery_phase = plan.changes.iter().find_map(phase).or(status.delivery_phase);
            attempt::begin(visit.object(), assignment, delivery, &seen.observed, plan, status);
        };
        let begun = visit.commit("Delivering", message(plan), given).await;
        begun.map_err(MachineFailure::from)?;
    }
    match Box::pin(deliver(reconciler, visit, desired, delivery, plan)).await {
        Err(failure) if is_final(&failure) => {
            // Trying again would not help, so it counts as a failure of the release.
            let words = failure.to_string();
            let now = Some(visit.now());
            let failed = failed(assignment, delivery, failure.reason(), &words, now);
            visit
                .progress_with(failure.reason(), words, |status| status.failed = Some(failed))
                .await;
            Err(Stop::Fail(failure))
        }
        Ok(()) => {
            note_unhealthy(visit, desired, delivery, seen, plan).await;
            Ok(())
        }
        Err(failure) => Err(failure.into()),
    }
}

/// The machine itself remembers no more than that it was unhealthy; which checks said so is told here.
async fn note_unhealthy(
    visit: &Visit<'_, Machine>,
    desired: &Desired,
    delivery: &Delivery,
    seen: &Seen,
    plan: &Plan<Change>,
) {
    let unhealthy = |change: &Change| {
        matches!(change, Change::Revert { why: Some(RollbackReason::Unhealthy), .. })
    };
    let Health::Failing(told) = &seen.health else { return };
    if !plan.changes.iter().any(unhealthy) {
        return;
    }
    let words = format!("it went back, since its checks did not hold: {}", told.join("; "));
    let now = Some(visit.now());
    let failed = failed(&desired.assignment, delivery, ROLLED_BACK, &words, now);
    visit.progress_with(ROLLED_BACK, words, |status| status.failed = Some(failed)).await;
}

/// What is planned for a machine that takes deliveries.
fn of_delivery(plan: &Plan<Planned>) -> Plan<Change> {
    let change = |planned: &Planned| match planned {
        Planned::Deliver(change) => Some(change.clone()),
        Planned::Install(_) => None,
    };
    Plan::new(plan.changes.iter().filter_map(change).collect(), plan.findings.clone())
}

/// Whether the same again would fail again.
fn is_final(failure: &MachineFailure) -> bool {
    match failure {
        MachineFailure::Activation { passing, .. } => !passing,
        other => other.class() == Class::Stalled,
    }
}

async fn deliver(
    reconciler: &Reconciler,
    visit: &Visit<'_, Machine>,
    desired: &Desired,
    delivery: &Delivery,
    plan: &Plan<Change>,
) -> Result<(), MachineFailure> {
    let workshop = &reconciler.workshop;
    let nix = workshop.nix().await?;
    // Both are taken from the local store, which may have lost the closure.
    let needs =
        |change: &Change| matches!(change, Change::Copy { .. } | Change::CopySignatures { .. });
    let ahead = brought_ahead(desired, plan);
    let _permit = if plan.changes.iter().any(needs) {
        if ahead.is_none() {
            reconciler.ensure_built(nix, visit, delivery).await?;
        }
        let cluster = &visit.object().spec.cluster;
        Some(workshop.may_copy(visit.namespace(), cluster, desired.parallelism).await)
    } else {
        None
    };
    let host = workshop.hosts().await?.host(&host_name(visit), desired.target.clone())?;
    let signer = workshop.signer(&delivery.signing_key).await?;
    let (sink, told) = watch::channel(Progress::default());
    let delivering = cim_nixos::apply(
        cim_nixos::Delivery { nix, signer: &signer, host: &host, progress: Some(&sink) },
        plan,
        Some(&delivery.wanted.closure),
    );
    let delivering = Box::pin(workshop.metrics().external("ssh", "deliver", delivering));
    let metrics = workshop.metrics().deliveries();
    let count = |step, applied: &Result<Applied, cim_nixos::Error>| {
        metrics.delivered(step, applied.as_ref().map_or_else(cim_nixos::Error::reason, ended));
    };
    if let Some(next) = ahead {
        // Nothing of what runs is touched, so there is nothing to tell.
        let applied = delivering.await;
        count("ahead", &applied);
        applied?;
        reconciler.ahead.note(&host_name(visit), &host, next, nix.limits()).await;
        return Ok(());
    }
    let phase = plan.changes.iter().find_map(phase);
    let counted = |status: &mut MachineStatus| {
        status.delivery_phase = phase.or(status.delivery_phase);
        status.progress = counted(&told.borrow());
    };
    let applied = visit.tell_while("Delivering", &message(plan), counted, delivering).await;
    count(step(plan), &applied);
    judge(visit, delivery, applied?).await
}

/// What is brought before its turn, if that is all that the plan does.
fn brought_ahead<'a>(desired: &'a Desired, plan: &Plan<Change>) -> Option<&'a StorePath> {
    let next = desired.next.as_ref()?;
    let is_it = |change: &Change| matches!(change, Change::Copy { closure } if closure == next);
    plan.changes.iter().all(is_it).then_some(next)
}

async fn judge(
    visit: &Visit<'_, Machine>,
    delivery: &Delivery,
    applied: Applied,
) -> Result<(), MachineFailure> {
    let closure = delivery.wanted.closure.to_string();
    let Some(outcome) = applied.outcome.filter(|outcome| !outcome.is_success()) else {
        return Ok(());
    };
    if let Some(log) = &applied.log {
        keep(visit.kube(), visit.object(), Kind::Activation, &closure, log).await;
    }
    if outcome == Outcome::RolledBack {
        // What the machine says of it is read next.
        return Ok(());
    }
    let told = applied.log.unwrap_or_else(|| outcome.to_string());
    let (reason, passing) = (outcome.reason(), outcome.is_passing());
    Err(MachineFailure::Activation { reason, closure, outcome: told, passing })
}

impl Reconciler {
    /// The Cluster has built it; the local store may have been lost since.
    async fn ensure_built(
        &self,
        nix: &Nix,
        visit: &Visit<'_, Machine>,
        delivery: &Delivery,
    ) -> Result<(), MachineFailure> {
        let closure = &delivery.wanted.closure;
        if Path::new(closure.as_str()).exists() {
            return Ok(());
        }
        let derivation = delivery.derivation.clone();
        let Some(derivation) = derivation.filter(|path| Path::new(path.as_str()).exists()) else {
            return Err(MachineFailure::NoClosure(format!(
                "{closure} was lost from the controller's store, and so was its derivation: \
                 deliver a release that has it"
            )));
        };
        visit.progress("Building", format!("building {closure}")).await;
        let roots = self.workshop.roots(visit.namespace(), &visit.object().spec.cluster)?;
        let root = roots
            .place(&crate::cluster::root_name(closure).unwrap_or_default())
            .map_err(cim_nixos::Error::from)?;
        let toplevel = Toplevel { derivation, closure: closure.clone() };
        let options = BuildOptions { root: Some(&root), ..BuildOptions::default() };
        let building = nix.build(&toplevel, options);
        Ok(self.workshop.metrics().external("nix", "build", building).await?)
    }
}

fn message(plan: &Plan<Change>) -> String {
    let steps: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
    steps.join(", then ")
}

/// How a step ended, as it is counted.
fn ended(applied: &Applied) -> &'static str {
    match &applied.outcome {
        Some(outcome) if !outcome.is_success() => outcome.reason(),
        _ => "ok",
    }
}

/// What a plan is mainly about, as it is counted.
fn step(plan: &Plan<Change>) -> &'static str {
    let has = |is: fn(&Change) -> bool| plan.changes.iter().any(is);
    if has(|change| matches!(change, Change::Activate { .. })) {
        "activate"
    } else if has(|change| matches!(change, Change::Confirm { .. })) {
        "confirm"
    } else if has(|change| matches!(change, Change::Revert { .. })) {
        "revert"
    } else if has(|change| matches!(change, Change::Reboot { .. })) {
        "reboot"
    } else if has(|change| matches!(change, Change::Await { .. })) {
        "wait"
    } else {
        "copy"
    }
}

/// How many bytes were brought, once it is known how many there are.
fn counted(progress: &Progress) -> Option<Told> {
    let bytes = progress.bytes;
    (bytes.expected > 0).then(|| Told {
        step: "copying".to_owned(),
        done: bytes.done,
        expected: bytes.expected,
        unit: "bytes".to_owned(),
    })
}

const fn phase(change: &Change) -> Option<DeliveryPhase> {
    match change {
        Change::Copy { .. } | Change::CopySignatures { .. } => Some(DeliveryPhase::Copying),
        Change::Check { .. } | Change::Activate { .. } | Change::Revert { .. } => {
            Some(DeliveryPhase::Activating)
        }
        Change::Confirm { .. } => Some(DeliveryPhase::Confirming),
        Change::Reboot { .. } => Some(DeliveryPhase::Rebooting),
        Change::Await { .. } => None,
    }
}
