//! ObjectReplica: the selected objects have their verified copies.

mod connect;
mod failure;
mod gather;
mod report;
mod validate;

use std::time::Duration;

use cim_crds::conditions::ConditionType;
use cim_crds::{ObjectReplica, ObjectReplicaStatus};
use cim_objects::{Change, Limits, Progress, Rehash, Stores, apply, observe, plan};
use cim_plan::Plan;

use self::connect::Memory;
use crate::driver::{self, Report, Step, Visit};
use crate::ops::metrics::Metrics;
use crate::outcome::Outcome;
use crate::scope::Caches;

pub use failure::ReplicaFailure;
pub use gather::Inputs;
pub use validate::Desired;

/// Reconciles ObjectReplicas.
pub struct Reconciler {
    caches: Caches,
    memory: Memory,
    metrics: Metrics,
    /// How long one request to a store may take.
    deadline: Duration,
    /// Names this process in the stores' locks.
    holder: String,
}

impl Reconciler {
    /// A reconciler that reads from `caches`; one request to a store may take `deadline`.
    pub fn new(caches: Caches, metrics: Metrics, deadline: Duration) -> Self {
        let holder = format!("cim-controller-{:016x}", rand::random::<u64>());
        Self { caches, memory: Memory::default(), metrics, deadline, holder }
    }

    /// The stores that can be entered, and why others cannot.
    async fn stores(&self, desired: &Desired) -> (Stores, Vec<String>) {
        let entered = async {
            match self.memory.stores(desired, self.deadline).await {
                (stores, problems) if problems.is_empty() => Ok((stores, problems)),
                some => Err(some),
            }
        };
        let entered = Box::pin(self.metrics.external("nats", "stores", entered)).await;
        entered.unwrap_or_else(|some| some)
    }
}

/// What was seen of the stores.
pub struct Observed {
    objects: cim_objects::Observed,
    /// Why stores could not be entered.
    problems: Vec<String>,
}

impl driver::Reconciler for Reconciler {
    type Kind = ObjectReplica;
    type Inputs = Inputs;
    type Desired = Desired;
    type Observed = Observed;
    type Change = Change;
    type Failure = ReplicaFailure;

    const CONDITIONS: &'static [ConditionType] =
        &[ConditionType::Satisfied, ConditionType::Unsafe, ConditionType::Lost];

    async fn gather(&self, visit: &Visit<'_, ObjectReplica>) -> Step<Inputs, Self> {
        gather::gather(self, visit).await
    }

    fn validate(&self, object: &ObjectReplica, inputs: Inputs) -> Step<Desired, Self> {
        Ok(validate::validate(object, inputs)?)
    }

    async fn observe(
        &self,
        visit: &Visit<'_, ObjectReplica>,
        desired: &Desired,
    ) -> Step<Observed, Self> {
        let (stores, problems) = self.stores(desired).await;
        let ledger = self.memory.ledger(visit.namespace(), visit.name());
        let mut ledger = ledger.lock().await;
        let objects = observe(
            &stores,
            &desired.objects,
            &mut ledger,
            Rehash::Due,
            &Limits::default(),
            visit.now().0,
            &quiet,
        )
        .await;
        Ok(Observed { objects, problems })
    }

    fn plan(&self, desired: &Desired, observed: &Observed) -> Plan<Change> {
        plan(&desired.objects, &observed.objects)
    }

    async fn apply(
        &self,
        visit: &Visit<'_, ObjectReplica>,
        desired: &Desired,
        _observed: &Observed,
        todo: &Plan<Change>,
    ) -> Step<(), Self> {
        let (stores, _) = self.stores(desired).await;
        let ledger = self.memory.ledger(visit.namespace(), visit.name());
        let mut ledger = ledger.lock().await;
        let applied = apply(
            todo,
            &stores,
            &desired.objects,
            &mut ledger,
            &Limits::default(),
            &self.holder,
            visit.now().0,
            &quiet,
        )
        .await;
        match applied.failed.first() {
            None => Ok(()),
            Some((step, why)) => {
                Err(ReplicaFailure::Step { step: step.to_string(), why: why.to_string() }.into())
            }
        }
    }

    async fn report(
        &self,
        _visit: &Visit<'_, ObjectReplica>,
        desired: &Desired,
        observed: &Observed,
        _plan: &Plan<Change>,
        status: &mut ObjectReplicaStatus,
    ) -> Report<ReplicaFailure> {
        report::report(desired, observed, status)
    }

    async fn cleanup(&self, _visit: &Visit<'_, ObjectReplica>) -> Step<Outcome, Self> {
        Ok(Outcome::done("the copies stay where they are"))
    }
}

/// Progress of single objects is not told anywhere: a status that moved with it would be written
/// once a second.
fn quiet(_: Progress) {}
