//! Cluster: holds the release of its machines, has it built, and lets it reach them in waves.
//!
//! ```text
//! gather    its Machines, the Cluster it receives from, the names of the Domain, credentials
//! validate  who approved what;  source and configurations;  waves and windows
//! observe   the revision now, what it evaluates to, what of that is built and signed
//! plan      closures to build and sign
//! apply     builds them, signs them
//! decide    the release, its history;  who may take it now
//! report    whether all of it is available
//! ```

mod approval;
mod build;
mod decide;
mod failure;
mod gather;
mod history;
mod install;
mod release;
mod report;
mod rollout;
mod roots;
mod waves;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cim_crds::cluster::promotion::Approval;
use cim_crds::cluster::release::Release;
use cim_crds::conditions::ConditionType;
use cim_crds::{Cluster, ClusterStatus, Kind as _, Machine};
use cim_nixos::SigningKey;
use cim_nixos::rollout::Calendar;
use cim_plan::Plan;

use crate::delivery::Workshop;
use crate::driver::{self, Report, Step, Visit};
use crate::ops::metrics::ObjectKey;
use crate::outcome::{Outcome, Stop, Wait};
use crate::scope::Caches;

pub use build::Build;
pub use failure::ClusterFailure;
pub use gather::Inputs;
pub(crate) use rollout::calendar;
pub(crate) use roots::root_name;

/// Reconciles Clusters.
pub struct Reconciler {
    caches: Caches,
    workshop: Arc<Workshop>,
    /// The namespace to which the caches are limited.
    watched: Option<String>,
    /// What was evaluated last for each Cluster: a visit looks more than once before it writes.
    evaluated: Mutex<HashMap<String, Release>>,
}

impl Reconciler {
    /// A reconciler that reads from `caches`, limited to the namespace `watched` if there is one, and
    /// evaluates in `workshop`.
    pub fn new(caches: Caches, watched: Option<&str>, workshop: Arc<Workshop>) -> Self {
        let watched = watched.map(str::to_owned);
        Self { caches, workshop, watched, evaluated: Mutex::default() }
    }
}

type Shared = Arc<ClusterFailure>;

/// What a Cluster should be.
pub struct Desired {
    machines: Vec<Arc<Machine>>,
    /// The source of the release; none because nothing is delivered.
    release: Result<Option<release::Wanted>, Shared>,
    /// The approval in force, for a Cluster with promotion.
    approval: Option<Approval>,
    /// Why there is no newer approval.
    waits: Option<Wait>,
    /// Whether a person could approve another release than the one in force.
    offered: bool,
    /// Names of Machines, and when they may be changed.
    order: Result<(Vec<BTreeSet<String>>, Calendar), Shared>,
    signing_key: Option<SigningKey>,
}

/// What was seen of the source: the release, none because nothing is delivered, or why there is no
/// newer one. A source that cannot be read leaves the rest of the report standing.
pub type Seen = Result<Option<Release>, Shared>;

impl driver::Reconciler for Reconciler {
    type Kind = Cluster;
    type Inputs = Inputs;
    type Desired = Desired;
    type Observed = Seen;
    type Change = Build;
    type Failure = Shared;

    const CONDITIONS: &'static [ConditionType] = &[
        ConditionType::Available,
        ConditionType::ReleaseReady,
        ConditionType::UpToDate,
        ConditionType::SameAsApproved,
    ];

    async fn gather(&self, visit: &Visit<'_, Cluster>) -> Step<Inputs, Self> {
        gather::gather(self, visit).await
    }

    fn validate(&self, cluster: &Cluster, inputs: Inputs) -> Step<Desired, Self> {
        Ok(validate(cluster, inputs))
    }

    async fn observe(&self, visit: &Visit<'_, Cluster>, desired: &Desired) -> Step<Seen, Self> {
        let wanted = match &desired.release {
            Ok(Some(wanted)) => wanted,
            // Nothing is approved: what runs goes on running.
            Ok(None) => return Ok(Ok(present(visit.object()))),
            Err(failure) => return Ok(Err(Arc::clone(failure))),
        };
        let nix = match self.workshop.nix().await {
            Ok(nix) => nix,
            Err(error) => return Ok(Err(Arc::new(error.into()))),
        };
        let name = format!("{}/{}", visit.namespace(), visit.name());
        let remembered = self.evaluated().get(&name).cloned();
        let metrics = self.workshop.metrics();
        let (remembered, now) = (remembered.as_ref(), visit.now());
        let resolving = release::resolve(nix, wanted, remembered, metrics.deliveries(), now);
        let seen = metrics.external("nix", "resolve", resolving).await;
        let mut release = match seen {
            Ok(release) => release,
            Err(failure) => return Ok(Err(Arc::new(failure))),
        };
        if let Some(key) = &desired.signing_key {
            build::look(nix, &mut release, key.name()).await;
        }
        self.evaluated().insert(name, release.clone());
        Ok(Ok(Some(release)))
    }

    fn plan(&self, desired: &Desired, observed: &Seen) -> Plan<Build> {
        let (Ok(Some(release)), Some(key)) = (observed, &desired.signing_key) else {
            return Plan::default();
        };
        if !matches!(desired.release, Ok(Some(_))) {
            return Plan::default();
        }
        Plan::new(build::missing(release, key.name()), Vec::new())
    }

    async fn apply(
        &self,
        visit: &Visit<'_, Cluster>,
        desired: &Desired,
        _observed: &Seen,
        plan: &Plan<Build>,
    ) -> Step<(), Self> {
        let Some(key) = &desired.signing_key else { return Ok(()) };
        let failed = |error: cim_nixos::Error| Stop::Fail(Arc::new(ClusterFailure::from(error)));
        let nix = self.workshop.nix().await.map_err(failed)?;
        let signer = self.workshop.signer(key).await.map_err(failed)?;
        build::build(self, visit, nix, &signer, &plan.changes)
            .await
            .map_err(|failure| Stop::Fail(Arc::new(failure)))
    }

    async fn report(
        &self,
        visit: &Visit<'_, Cluster>,
        desired: &Desired,
        observed: &Seen,
        plan: &Plan<Build>,
        status: &mut ClusterStatus,
    ) -> Report<Shared> {
        if let (true, Ok(Some(release))) = (plan.is_empty(), observed) {
            let owner = (visit.namespace(), visit.name());
            roots::hold(&self.workshop, &self.caches, owner, release).await;
        }
        let recheck = decide::decide(visit, desired, observed, status);
        let (key, metrics) = (key(visit.namespace(), visit.name()), self.workshop.metrics());
        metrics.deliveries().rollout(&key, status.rollout.as_ref());
        metrics.deliveries().approval_waiting(&key, desired.offered);
        report::report(visit, &self.caches, desired, observed, recheck, status)
    }

    fn forget(&self, namespace: &str, name: &str) {
        self.evaluated().remove(&format!("{namespace}/{name}"));
        self.workshop.metrics().deliveries().forget(&key(namespace, name));
        roots::abandon(&self.workshop, &self.caches, (namespace, name));
    }

    fn begin(&self) {
        roots::sweep(&self.workshop, &self.caches, self.watched.as_deref());
    }

    async fn cleanup(&self, _visit: &Visit<'_, Cluster>) -> Step<Outcome, Self> {
        // What is held in the local store goes with the object; Machines and Services are their own
        // objects, and follow their own policy.
        Ok(Outcome::done("nothing outside is its own"))
    }
}

/// How metrics name a Cluster.
fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { kind: Cluster::KIND, namespace: namespace.to_owned(), name: name.to_owned() }
}

impl Reconciler {
    fn evaluated(&self) -> MutexGuard<'_, HashMap<String, Release>> {
        self.evaluated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn validate(cluster: &Cluster, inputs: Inputs) -> Desired {
    let order = waves::waves(cluster, &cluster.spec.rollout, &inputs.hierarchy)
        .and_then(|waves| Ok((waves, rollout::calendar(cluster)?)))
        .map_err(Arc::new);
    let sender = inputs.sender.as_deref();
    let (approval, waits, offered) = match &cluster.spec.promotion {
        None => (None, None, false),
        Some(promotion) => {
            let found = approval::find(cluster, promotion, sender, &inputs.now);
            let offered = approval::is_offered(promotion, sender, found.approval.as_ref());
            (found.approval, found.waits, offered)
        }
    };
    let source = cluster.spec.source.as_ref();
    let source = match &cluster.spec.promotion {
        None => source,
        // Without an approval nothing is looked at, and so nothing can be delivered.
        Some(_) if approval.is_none() => None,
        Some(_) => source.or_else(|| sender.and_then(|sender| sender.spec.source.as_ref())),
    };
    let configurations = gather::configurations(&inputs.machines);
    let release = source.map(|source| {
        let (inventory, access) = (inputs.inventory, inputs.access);
        let (approval, configurations) = (approval.clone(), &configurations);
        release::Wanted::new(cluster, source, approval, configurations, inventory, access)
            .and_then(|wanted| Ok(wanted.installing(install::wanted(&inputs.machines)?)))
    });
    let signed = inputs.signing_key.is_some();
    let release = match release.transpose() {
        Ok(Some(_)) if !signed && !configurations.is_empty() => Err(ClusterFailure::Invalid {
            field: "spec.signingKeySecretRef".to_owned(),
            why: "absent: machines accept only signed closures; name the Secret with the key"
                .to_owned(),
        }),
        other => other,
    };
    Desired {
        machines: inputs.machines,
        release: release.map_err(Arc::new),
        approval,
        waits,
        offered,
        order,
        signing_key: inputs.signing_key,
    }
}

fn present(cluster: &Cluster) -> Option<Release> {
    cluster.spec.promotion.as_ref()?;
    cluster.status.as_ref()?.release.clone()
}
