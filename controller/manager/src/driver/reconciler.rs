//! What a kind offers to the driver.

use std::future::Future;

use cim_crds::conditions::ConditionType;
use cim_crds::{Kind, PlanStatus};
use cim_plan::{Change, Plan};
use kube::core::object::HasStatus;

use super::{Hold, Visit};
use crate::outcome::{Failure, Outcome, Stop};
use crate::status::Judgement;

/// The status type of a reconciler's kind.
pub type StatusOf<R> = <<R as Reconciler>::Kind as HasStatus>::Status;

/// What a step gives: a result, or why there is none.
pub type Step<T, R> = Result<T, Stop<<R as Reconciler>::Failure>>;

/// The steps of one kind.
///
/// | step | may | may not |
/// | --- | --- | --- |
/// | gather | read caches, Secrets and ConfigMaps | write, ask the outside |
/// | validate | turn API types into the capability crates' own | await |
/// | observe | ask the outside | write |
/// | plan | compose the capability crates' pure plans | await |
/// | apply | carry out the plan | decide |
/// | report | tell what was read back; remember, in Kubernetes, what is ours | touch the outside |
pub trait Reconciler: Send + Sync + Sized + 'static {
    /// The kind.
    type Kind: Kind;
    /// What was read in the cluster.
    type Inputs: Send;
    /// What is wanted, in the capability crates' own types.
    type Desired: Send + Sync;
    /// What is there.
    type Observed: Send + Sync;
    /// One change to the outside.
    type Change: Change + Send + Sync;
    /// What can go wrong.
    type Failure: Failure;

    /// The kind's own condition types: always there, Unknown until judged.
    const CONDITIONS: &'static [ConditionType];

    /// Reads what the spec refers to in the cluster.
    fn gather(
        &self,
        visit: &Visit<'_, Self::Kind>,
    ) -> impl Future<Output = Step<Self::Inputs, Self>> + Send;

    /// Turns the spec and `inputs` into what is wanted. `object` has the status as it is now, with what
    /// this visit has written.
    fn validate(&self, object: &Self::Kind, inputs: Self::Inputs) -> Step<Self::Desired, Self>;

    /// Looks at the outside.
    fn observe(
        &self,
        visit: &Visit<'_, Self::Kind>,
        desired: &Self::Desired,
    ) -> impl Future<Output = Step<Self::Observed, Self>> + Send;

    /// What differs, and what is to be done about it.
    fn plan(&self, desired: &Self::Desired, observed: &Self::Observed) -> Plan<Self::Change>;

    /// Why `plan` must not be carried out without a person's word.
    fn hold(
        &self,
        _desired: &Self::Desired,
        _observed: &Self::Observed,
        _plan: &Plan<Self::Change>,
    ) -> Option<Hold> {
        None
    }

    /// Carries out `plan`, in order.
    fn apply(
        &self,
        visit: &Visit<'_, Self::Kind>,
        desired: &Self::Desired,
        observed: &Self::Observed,
        plan: &Plan<Self::Change>,
    ) -> impl Future<Output = Step<(), Self>> + Send;

    /// Fills the kind's part of `status` from what was read back, and judges the kind's conditions.
    /// `plan` is what is still to be done.
    fn report(
        &self,
        visit: &Visit<'_, Self::Kind>,
        desired: &Self::Desired,
        observed: &Self::Observed,
        plan: &Plan<Self::Change>,
        status: &mut StatusOf<Self>,
    ) -> impl Future<Output = Report<Self::Failure>> + Send;

    /// All caches are complete, and nothing was visited yet: whatever was kept for objects that went
    /// while nobody looked is let go.
    fn begin(&self) {}

    /// The object is gone: whatever was kept for it is let go.
    fn forget(&self, _namespace: &str, _name: &str) {}

    /// What a step that gave no result says of the kind's conditions.
    fn judge_stop(&self, _stop: &Stop<Self::Failure>) -> Vec<Judgement> {
        Vec::new()
    }

    /// Removes what the object made outside. Only called for mode Correct and deletionPolicy Delete.
    /// Must not depend on the spec being valid, and must be safe to repeat.
    fn cleanup(
        &self,
        visit: &Visit<'_, Self::Kind>,
    ) -> impl Future<Output = Step<Outcome, Self>> + Send;
}

/// What a kind tells of a visit.
#[derive(Debug)]
pub struct Report<F> {
    /// The kind's own conditions.
    pub conditions: Vec<Judgement>,
    /// How the visit ends. A failure here lets the rest of the report stand: one bad zone, say.
    pub outcome: Result<Outcome, F>,
    /// A part of the plan that waits for a person, where only a part does.
    pub held: Option<PlanStatus>,
}

impl<F> Report<F> {
    /// A report in which nothing is held back.
    pub fn new(conditions: Vec<Judgement>, outcome: Result<Outcome, F>) -> Self {
        Self { conditions, outcome, held: None }
    }
}
