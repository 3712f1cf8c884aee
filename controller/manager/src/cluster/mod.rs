//! Cluster: machines and services of one environment under one name.

mod failure;
mod report;

use cim_crds::conditions::ConditionType;
use cim_crds::{Cluster, ClusterStatus};
use cim_plan::Plan;

use crate::driver::{self, Report, Step, Visit};
use crate::outcome::Outcome;
use crate::scope::Caches;

use failure::ClusterFailure;

/// Reconciles Clusters.
pub struct Reconciler {
    caches: Caches,
}

impl Reconciler {
    /// A reconciler that reads from `caches`.
    pub fn new(caches: Caches) -> Self {
        Self { caches }
    }
}

impl driver::Reconciler for Reconciler {
    type Kind = Cluster;
    type Inputs = ();
    type Desired = ();
    type Observed = ();
    type Change = String;
    type Failure = ClusterFailure;

    const CONDITIONS: &'static [ConditionType] = &[ConditionType::Available];

    async fn gather(&self, _visit: &Visit<'_, Cluster>) -> Step<(), Self> {
        Ok(())
    }

    fn validate(&self, _object: &Cluster, (): ()) -> Step<(), Self> {
        Ok(())
    }

    async fn observe(&self, _visit: &Visit<'_, Cluster>, (): &()) -> Step<(), Self> {
        Ok(())
    }

    fn plan(&self, (): &(), (): &()) -> Plan<String> {
        Plan::default()
    }

    async fn apply(
        &self,
        _visit: &Visit<'_, Cluster>,
        (): &(),
        (): &(),
        _plan: &Plan<String>,
    ) -> Step<(), Self> {
        Ok(())
    }

    fn report(
        &self,
        visit: &Visit<'_, Cluster>,
        (): &(),
        (): &(),
        _plan: &Plan<String>,
        status: &mut ClusterStatus,
    ) -> Report<ClusterFailure> {
        report::report(visit, &self.caches, status)
    }

    async fn cleanup(&self, _visit: &Visit<'_, Cluster>) -> Step<Outcome, Self> {
        // Machines and Services are their own objects and follow their own policy.
        Ok(Outcome::done("nothing outside is its own"))
    }
}
