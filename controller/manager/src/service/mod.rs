//! Service: one discrete function, whose roles are placed on machines.
//!
//! ```text
//! gather    its Cluster and Domain; the account's keys (made by the Domain), its own credentials; what its
//!           machines saw of its checks
//! validate  roles ─► machines;  roles ─► users under their signing keys;  streams and buckets
//! observe   logs in with each role's credentials; the account's streams; the checks
//! plan      credentials to issue, streams to make
//! apply     Secrets, streams
//! report    where the roles are, whether NATS admits them, whether it serves
//! ```

mod apply;
mod change;
mod failure;
mod gather;
mod nats;
mod observe;
mod plan;
mod report;
mod validate;

use std::time::Duration;

use cim_crds::conditions::ConditionType;
use cim_crds::{Service, ServiceStatus};
use cim_plan::Plan;

use crate::driver::{self, Report, Step, Visit};
use crate::ops::metrics::Metrics;
use crate::outcome::Outcome;
use crate::scope::Caches;

pub use change::Change;
pub use failure::ServiceFailure;
pub use gather::Inputs;
pub use observe::Observed;
pub use validate::Desired;

/// Reconciles Services.
pub struct Reconciler {
    caches: Caches,
    metrics: Metrics,
    deadlines: cim_nats::system::Deadlines,
}

impl Reconciler {
    /// A reconciler that reads from `caches`; one exchange outside takes `timeout` at most.
    pub fn new(caches: Caches, metrics: Metrics, timeout: Duration) -> Self {
        let deadlines = cim_nats::system::Deadlines::default();
        Self {
            caches,
            metrics,
            deadlines: cim_nats::system::Deadlines {
                connect: deadlines.connect.min(timeout),
                request: deadlines.request.min(timeout),
                ..deadlines
            },
        }
    }
}

impl driver::Reconciler for Reconciler {
    type Kind = Service;
    type Inputs = Inputs;
    type Desired = Desired;
    type Observed = Observed;
    type Change = Change;
    type Failure = ServiceFailure;

    const CONDITIONS: &'static [ConditionType] = &[
        ConditionType::Available,
        ConditionType::Placed,
        ConditionType::NatsReady,
        ConditionType::Published,
    ];

    async fn gather(&self, visit: &Visit<'_, Service>) -> Step<Inputs, Self> {
        gather::gather(self, visit).await
    }

    fn validate(&self, service: &Service, inputs: Inputs) -> Step<Desired, Self> {
        Ok(validate::validate(service, inputs)?)
    }

    async fn observe(
        &self,
        _visit: &Visit<'_, Service>,
        desired: &Desired,
    ) -> Step<Observed, Self> {
        Ok(observe::observe(self, desired).await)
    }

    fn plan(&self, desired: &Desired, observed: &Observed) -> Plan<Change> {
        plan::plan(desired, observed)
    }

    async fn apply(
        &self,
        visit: &Visit<'_, Service>,
        desired: &Desired,
        _observed: &Observed,
        plan: &Plan<Change>,
    ) -> Step<(), Self> {
        Ok(apply::apply(self, visit, desired, plan).await?)
    }

    async fn report(
        &self,
        visit: &Visit<'_, Service>,
        desired: &Desired,
        observed: &Observed,
        _plan: &Plan<Change>,
        status: &mut ServiceStatus,
    ) -> Report<ServiceFailure> {
        report::report(visit, desired, observed, status)
    }

    async fn cleanup(&self, _visit: &Visit<'_, Service>) -> Step<Outcome, Self> {
        // Its credentials go with it, and the Domain drops its roles' keys, which shuts their users
        // out. Streams and buckets stay: they may hold messages.
        Ok(Outcome::done("its users are shut out by the Domain; streams and buckets stay"))
    }
}
