//! Machine: runs the closure that its Cluster's release holds for it.

mod apply;
mod assign;
mod failure;
mod gather;
mod health;
mod report;
mod validate;

use std::sync::Arc;

use cim_crds::conditions::ConditionType;
use cim_crds::{Machine, MachineStatus};
use cim_nixos::{Change, Observed, observe};
use cim_plan::Plan;

use crate::delivery::Workshop;
use crate::driver::{self, Report, Step, Visit};
use crate::outcome::Outcome;
use crate::scope::Caches;

pub use failure::MachineFailure;
pub use gather::Inputs;
pub use health::Seen;
pub use validate::Desired;

/// Reconciles Machines.
pub struct Reconciler {
    caches: Caches,
    workshop: Arc<Workshop>,
}

impl Reconciler {
    /// A reconciler that reads from `caches` and delivers from `workshop`.
    pub fn new(caches: Caches, workshop: Arc<Workshop>) -> Self {
        Self { caches, workshop }
    }
}

/// The name by which the workshop knows a machine: names are unique in a namespace only.
fn host_name(visit: &Visit<'_, Machine>) -> String {
    format!("{}/{}", visit.namespace(), visit.name())
}

impl driver::Reconciler for Reconciler {
    type Kind = Machine;
    type Inputs = Inputs;
    type Desired = Desired;
    type Observed = Seen;
    type Change = Change;
    type Failure = MachineFailure;

    const CONDITIONS: &'static [ConditionType] =
        &[ConditionType::Reachable, ConditionType::InSync, ConditionType::RebootRequired];

    async fn gather(&self, visit: &Visit<'_, Machine>) -> Step<Inputs, Self> {
        gather::gather(self, visit).await
    }

    fn validate(&self, machine: &Machine, inputs: Inputs) -> Step<Desired, Self> {
        Ok(validate::validate(machine, &inputs)?)
    }

    async fn observe(&self, visit: &Visit<'_, Machine>, desired: &Desired) -> Step<Seen, Self> {
        let hosts = self.workshop.hosts().await.map_err(MachineFailure::from)?;
        let host =
            hosts.host(&host_name(visit), desired.target.clone()).map_err(MachineFailure::from)?;
        let wanted = desired.delivery.as_ref().map(|delivery| &delivery.wanted.closure);
        let seen = async {
            match observe(&host, self.workshop.limits(), wanted).await {
                seen @ Observed::Reached(_) => Ok(seen),
                seen @ Observed::Unreachable { .. } => Err(seen),
            }
        };
        let seen = self.workshop.metrics().external("ssh", "observe", seen).await;
        let observed = seen.unwrap_or_else(|unreachable| unreachable);
        let health = health::ask(&host, self.workshop.limits(), desired, &observed).await;
        Ok(Seen { observed, health })
    }

    fn plan(&self, desired: &Desired, seen: &Seen) -> Plan<Change> {
        let delivery = desired.delivery.as_ref();
        delivery.map_or_else(Plan::default, |delivery| {
            cim_nixos::plan(&delivery.wanted, &seen.observed, &seen.health)
        })
    }

    async fn apply(
        &self,
        visit: &Visit<'_, Machine>,
        desired: &Desired,
        _seen: &Seen,
        plan: &Plan<Change>,
    ) -> Step<(), Self> {
        apply::apply(self, visit, desired, plan).await
    }

    async fn report(
        &self,
        visit: &Visit<'_, Machine>,
        desired: &Desired,
        seen: &Seen,
        _plan: &Plan<Change>,
        status: &mut MachineStatus,
    ) -> Report<MachineFailure> {
        report::report(visit.object(), desired, &seen.observed, status)
    }

    async fn cleanup(&self, visit: &Visit<'_, Machine>) -> Step<Outcome, Self> {
        let hosts = self.workshop.hosts().await.map_err(MachineFailure::from)?;
        hosts.forget(&host_name(visit));
        // A metal machine was not made by us; it goes on with what it runs.
        Ok(Outcome::done("the machine is left as it is"))
    }
}
