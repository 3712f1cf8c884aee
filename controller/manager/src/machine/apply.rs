//! Builds, signs, copies and activates what a plan says.

use cim_crds::Machine;
use cim_nixos::{BuildOptions, Change, Configuration, Source};
use cim_plan::Plan;

use super::failure::MachineFailure;
use super::validate::{Delivery, Desired};
use super::{Reconciler, host_name};
use crate::driver::{Step, Visit};

pub(super) async fn apply(
    reconciler: &Reconciler,
    visit: &Visit<'_, Machine>,
    desired: &Desired,
    plan: &Plan<Change>,
) -> Step<(), Reconciler> {
    let Some(delivery) = &desired.delivery else { return Ok(()) };
    Ok(deliver(reconciler, visit, desired, delivery, plan).await?)
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
    if plan.changes.iter().any(needs) {
        visit.progress("Building", format!("building {}", delivery.wanted.closure)).await;
        reconciler.ensure_derivation(nix, delivery).await?;
        let build = nix.build(&delivery.toplevel, BuildOptions::default());
        workshop.metrics().external("nix", "build", build).await?;
    }
    let steps: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
    visit.progress("Delivering", steps.join(", then ")).await;
    let host = workshop.hosts().await?.host(&host_name(visit), desired.target.clone())?;
    let signer = workshop.signer(&delivery.signing_key).await?;
    let delivering = cim_nixos::apply(
        cim_nixos::Delivery { nix, signer: &signer, host: &host, progress: None },
        plan,
        Some(&delivery.wanted.closure),
    );
    let applied = workshop.metrics().external("ssh", "deliver", delivering).await?;
    match applied.outcome {
        Some(outcome) if !outcome.is_success() => Err(MachineFailure::Activation {
            reason: outcome.reason(),
            closure: delivery.wanted.closure.to_string(),
            outcome: applied.log.unwrap_or_else(|| outcome.reason().to_owned()),
        }),
        _ => Ok(()),
    }
}

impl Reconciler {
    /// The local store may have been lost since the Cluster evaluated (it is a cache): evaluating
    /// this one machine at the same revision gives the same derivation.
    async fn ensure_derivation(
        &self,
        nix: &cim_nixos::Nix,
        delivery: &Delivery,
    ) -> Result<(), MachineFailure> {
        let present = tokio::fs::try_exists(delivery.toplevel.derivation.as_str()).await;
        if present.unwrap_or(false) {
            return Ok(());
        }
        let source =
            Source::parse(&delivery.flake, delivery.branch.as_deref(), Some(&delivery.rev))
                .map_err(cim_nixos::Error::from)?;
        let locked = nix.resolve(&source).await?;
        let attribute = delivery.attribute.clone();
        let evaluation = nix.evaluate(&locked, None, std::slice::from_ref(&attribute)).await?;
        match evaluation.configurations.get(&attribute) {
            Some(Ok(Configuration { toplevel, .. })) if *toplevel == delivery.toplevel => Ok(()),
            Some(Ok(Configuration { toplevel, .. })) => Err(MachineFailure::NoClosure(format!(
                "revision {} now evaluates to {}; the release says {}",
                delivery.rev, toplevel.closure, delivery.toplevel.closure
            ))),
            Some(Err(error)) => Err(MachineFailure::NoClosure(error.to_string())),
            None => Err(MachineFailure::NoClosure(format!("{attribute} was not evaluated"))),
        }
    }
}
