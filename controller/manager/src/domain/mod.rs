//! Domain: a name and the boundary within which names, authority and policy hold.
//!
//! Two parts, neither of which harms the other: its zones (the records of everything that has a name
//! in it) and its NATS accounts. The Domain is the only writer of both.
//!
//! ```text
//! gather    the Domain's objects from the caches; TSIG keys, ledgers, NATS operator, account keys
//! validate  names ─► records of each zone;  accounts + roles of its Services ─► claims
//! observe   zone transfers;  every server's copy of every account
//! plan      the zones' plans and the accounts' plan, one after the other
//! apply     ledger first, then updates;  keys first, then pushes
//! report    ledger as it is now; serials, counts, keys; conditions
//! ```

mod access;
mod account;
mod apply;
mod change;
mod cleanup;
mod failure;
mod gather;
mod memory;
mod observe;
mod plan;
mod report;
mod validate;
mod zone;

use std::sync::Arc;
use std::time::Duration;

use cim_crds::conditions::ConditionType;
use cim_crds::{Domain, DomainStatus};
use cim_plan::Plan;
use kube::ResourceExt;

use crate::driver::{self, Report, Step, Visit};
use crate::ops::metrics::Metrics;
use crate::outcome::Outcome;
use crate::scope::Caches;

pub use access::{access, account_secret, role_of, subject};
pub use change::Change;
pub use failure::{DomainFailure, nats_class, nats_reason};
pub use gather::Inputs;
pub use observe::Observed;
pub use validate::Desired;

use memory::Memory;

/// Reconciles Domains.
pub struct Reconciler {
    caches: Caches,
    metrics: Metrics,
    limits: cim_dns::Limits,
    deadlines: cim_nats::system::Deadlines,
    memory: Memory,
}

impl Reconciler {
    /// A reconciler that reads from `caches`; one exchange outside takes `timeout` at most.
    pub fn new(caches: Caches, metrics: Metrics, timeout: Duration) -> Self {
        let limits = cim_dns::Limits::default();
        let deadlines = cim_nats::system::Deadlines::default();
        Self {
            caches,
            metrics,
            limits: cim_dns::Limits {
                connect: limits.connect.min(timeout),
                answer: limits.answer.min(timeout),
                ..limits
            },
            deadlines: cim_nats::system::Deadlines {
                connect: deadlines.connect.min(timeout),
                request: deadlines.request.min(timeout),
                ..deadlines
            },
            memory: Memory::default(),
        }
    }
}

impl driver::Reconciler for Reconciler {
    type Kind = Domain;
    type Inputs = Inputs;
    type Desired = Desired;
    type Observed = Observed;
    type Change = Change;
    type Failure = DomainFailure;

    const CONDITIONS: &'static [ConditionType] =
        &[ConditionType::NamesPublished, ConditionType::AccountsReady];

    async fn gather(&self, visit: &Visit<'_, Domain>) -> Step<Inputs, Self> {
        Ok(gather::gather(self, visit).await?)
    }

    fn validate(&self, domain: &Domain, inputs: Inputs) -> Step<Desired, Self> {
        Ok(validate::validate(self, domain, inputs))
    }

    async fn observe(&self, visit: &Visit<'_, Domain>, desired: &Desired) -> Step<Observed, Self> {
        Ok(observe::observe(self, visit, desired).await)
    }

    fn plan(&self, desired: &Desired, observed: &Observed) -> Plan<Change> {
        plan::plan(desired, observed)
    }

    async fn apply(
        &self,
        visit: &Visit<'_, Domain>,
        desired: &Desired,
        observed: &Observed,
        plan: &Plan<Change>,
    ) -> Step<(), Self> {
        Ok(apply::apply(self, visit, desired, observed, plan).await?)
    }

    async fn report(
        &self,
        visit: &Visit<'_, Domain>,
        desired: &Desired,
        observed: &Observed,
        plan: &Plan<Change>,
        status: &mut DomainStatus,
    ) -> Report<DomainFailure> {
        report::report(visit, desired, observed, plan, status).await
    }

    async fn cleanup(&self, visit: &Visit<'_, Domain>) -> Step<Outcome, Self> {
        Ok(cleanup::cleanup(self, visit).await?)
    }
}

/// The name by which this process knows a Domain: names are unique in a namespace only.
fn id(domain: &Domain) -> String {
    format!("{}/{}", domain.namespace().unwrap_or_default(), domain.name_any())
}

/// A failure that harms one part and is told when all parts were looked at.
type Shared = Arc<DomainFailure>;
