//! Machine: runs the closure that its Cluster's release holds for it.
//!
//! ```text
//! gather    its Cluster's word (assign), credentials for SSH, the signing key
//! validate  how it is reached;  what it should run, and whether it may be tried (attempt);  its checks
//! observe   what runs, whether it and the Services on it serve, now and then whether its store is what it should be
//! plan      what waits for its turn is brought ahead;  copy, check, test, confirm or go back, reboot;  nothing out of a window
//! apply     does that, and keeps the log of what failed
//! install   the first system of a machine that is bare: these steps for it, held until confirmed
//! report    how it stands, what it was given, what failed on it
//! ```

mod ahead;
mod apply;
mod assign;
mod attempt;
mod change;
mod failure;
mod gather;
mod health;
mod install;
mod observe;
mod plan;
mod report;
mod services;
mod validate;

use std::sync::Arc;

use cim_crds::conditions::ConditionType;
use cim_crds::{Kind as _, Machine, MachineStatus};
use cim_plan::Plan;

use crate::delivery::Workshop;
use crate::driver::{self, Hold, Report, Step, Visit};
use crate::ops::metrics::ObjectKey;
use crate::outcome::Outcome;
use crate::scope::Caches;

pub use change::Change;
pub use failure::MachineFailure;
pub use gather::Inputs;
pub use observe::Seen;
pub use validate::Desired;

/// Reconciles Machines.
pub struct Reconciler {
    caches: Caches,
    workshop: Arc<Workshop>,
    ahead: ahead::Ahead,
}

impl Reconciler {
    /// A reconciler that reads from `caches` and delivers from `workshop`.
    pub fn new(caches: Caches, workshop: Arc<Workshop>) -> Self {
        Self { caches, workshop, ahead: ahead::Ahead::default() }
    }
}

/// The name by which the workshop knows a machine: names are unique in a namespace only.
fn host_name(visit: &Visit<'_, Machine>) -> String {
    format!("{}/{}", visit.namespace(), visit.name())
}

/// How metrics name a Machine.
fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { kind: Machine::KIND, namespace: namespace.to_owned(), name: name.to_owned() }
}

impl driver::Reconciler for Reconciler {
    type Kind = Machine;
    type Inputs = Inputs;
    type Desired = Desired;
    type Observed = Seen;
    type Change = Change;
    type Failure = MachineFailure;

    const CONDITIONS: &'static [ConditionType] = &[
        ConditionType::Reachable,
        ConditionType::Installed,
        ConditionType::Healthy,
        ConditionType::InSync,
        ConditionType::RebootRequired,
    ];

    async fn gather(&self, visit: &Visit<'_, Machine>) -> Step<Inputs, Self> {
        gather::gather(self, visit).await
    }

    fn validate(&self, machine: &Machine, inputs: Inputs) -> Step<Desired, Self> {
        Ok(validate::validate(machine, inputs)?)
    }

    async fn observe(&self, visit: &Visit<'_, Machine>, desired: &Desired) -> Step<Seen, Self> {
        observe::look(self, visit, desired).await
    }

    fn plan(&self, desired: &Desired, seen: &Seen) -> Plan<Change> {
        plan::plan(desired, seen)
    }

    fn hold(&self, desired: &Desired, _seen: &Seen, plan: &Plan<Change>) -> Option<Hold> {
        desired.install.as_ref().and_then(|wanted| install::hold(wanted, plan))
    }

    async fn apply(
        &self,
        visit: &Visit<'_, Machine>,
        desired: &Desired,
        seen: &Seen,
        plan: &Plan<Change>,
    ) -> Step<(), Self> {
        match &desired.install {
            Some(wanted) if seen.bare.is_some() => {
                install::apply(self, visit, desired, wanted, plan).await
            }
            _ => apply::apply(self, visit, desired, seen, plan).await,
        }
    }

    async fn report(
        &self,
        visit: &Visit<'_, Machine>,
        desired: &Desired,
        seen: &Seen,
        _plan: &Plan<Change>,
        status: &mut MachineStatus,
    ) -> Report<MachineFailure> {
        let next = desired.next.as_ref();
        status.preview = next.and_then(|next| self.ahead.preview(&host_name(visit), next));
        let told = report::report(visit, desired, seen, status);
        let key = key(visit.namespace(), visit.name());
        self.workshop.metrics().deliveries().machine(&key, status.state);
        told
    }

    fn forget(&self, namespace: &str, name: &str) {
        self.workshop.metrics().deliveries().forget(&key(namespace, name));
        let host = format!("{namespace}/{name}");
        self.workshop.forget_host(&host);
        self.workshop.forget_host(&install::as_root(&host));
        self.ahead.forget(&host);
    }

    async fn cleanup(&self, _visit: &Visit<'_, Machine>) -> Step<Outcome, Self> {
        // A metal machine was not made by us; it goes on with what it runs.
        Ok(Outcome::done("the machine is left as it is"))
    }
}
