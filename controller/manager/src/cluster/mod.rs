//! Cluster: holds the release of its machines, and says whether all of it is available.

mod approval;
mod failure;
mod history;
mod release;
mod report;
mod rollout;
mod waves;

use std::sync::Arc;

use cim_crds::cluster::release::Release;
use cim_crds::conditions::ConditionType;
use cim_crds::{Cluster, ClusterStatus};
use cim_plan::Plan;
use kube::ResourceExt;

use crate::delivery::Workshop;
use crate::driver::{self, Report, Step, Visit};
use crate::outcome::Outcome;
use crate::scope::Caches;

pub use failure::ClusterFailure;
pub use release::Wanted;

/// Reconciles Clusters.
pub struct Reconciler {
    caches: Caches,
    workshop: Arc<Workshop>,
}

impl Reconciler {
    /// A reconciler that reads from `caches` and evaluates in `workshop`.
    pub fn new(caches: Caches, workshop: Arc<Workshop>) -> Self {
        Self { caches, workshop }
    }
}

/// What was seen of the source: the release, none because nothing is delivered, or why there is no
/// newer one. A source that cannot be read leaves the rest of the report standing.
pub type Seen = Result<Option<Release>, Arc<ClusterFailure>>;

impl driver::Reconciler for Reconciler {
    type Kind = Cluster;
    /// Names of the Cluster's Machines and their configurations.
    type Inputs = Vec<(String, String)>;
    type Desired = Result<Option<Wanted>, Arc<ClusterFailure>>;
    type Observed = Seen;
    /// A release is a fact about the source; nothing outside is changed for it.
    type Change = String;
    type Failure = Arc<ClusterFailure>;

    const CONDITIONS: &'static [ConditionType] =
        &[ConditionType::Available, ConditionType::ReleaseReady, ConditionType::UpToDate];

    async fn gather(&self, visit: &Visit<'_, Cluster>) -> Step<Self::Inputs, Self> {
        let machines = self.caches.machines.list(visit.namespace());
        let ours = machines.iter().filter(|machine| machine.spec.cluster == visit.name());
        Ok(ours.map(|machine| (machine.name_any(), machine.configuration().to_owned())).collect())
    }

    fn validate(&self, cluster: &Cluster, machines: Self::Inputs) -> Step<Self::Desired, Self> {
        Ok(release::wanted(cluster, &machines).map_err(Arc::new))
    }

    async fn observe(
        &self,
        visit: &Visit<'_, Cluster>,
        desired: &Self::Desired,
    ) -> Step<Seen, Self> {
        let wanted = match desired {
            Ok(Some(wanted)) => wanted,
            Ok(None) => return Ok(Ok(None)),
            Err(failure) => return Ok(Err(Arc::clone(failure))),
        };
        let nix = match self.workshop.nix().await {
            Ok(nix) => nix,
            Err(error) => return Ok(Err(Arc::new(error.into()))),
        };
        let resolving = release::resolve(nix, wanted, visit.now());
        let release = self.workshop.metrics().external("nix", "resolve", resolving).await;
        Ok(release.map(Some).map_err(Arc::new))
    }

    fn plan(&self, _desired: &Self::Desired, _observed: &Seen) -> Plan<String> {
        Plan::default()
    }

    async fn apply(
        &self,
        _visit: &Visit<'_, Cluster>,
        _desired: &Self::Desired,
        _observed: &Seen,
        _plan: &Plan<String>,
    ) -> Step<(), Self> {
        Ok(())
    }

    async fn report(
        &self,
        visit: &Visit<'_, Cluster>,
        _desired: &Self::Desired,
        observed: &Seen,
        _plan: &Plan<String>,
        status: &mut ClusterStatus,
    ) -> Report<Arc<ClusterFailure>> {
        report::report(visit, &self.caches, observed, status)
    }

    async fn cleanup(&self, _visit: &Visit<'_, Cluster>) -> Step<Outcome, Self> {
        // Machines and Services are their own objects and follow their own policy.
        Ok(Outcome::done("nothing outside is its own"))
    }
}
