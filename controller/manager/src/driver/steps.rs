//! From the spec to what is told about it.

use std::collections::HashSet;

use cim_crds::{Kind, Mode, PlanStatus};
use cim_plan::{Change, DriftClass, Finding, Plan};
use kube::core::object::HasStatus;

use super::gate::{Gate, decide};
use super::memory::Entry;
use super::{Driver, Reconciler, Report, StatusOf, Step, Trouble, Visit, ended, key};
use crate::outcome::{Failure, Outcome, Stop};
use crate::status::{Judgement, drift_status, plan_status, summary};
use crate::watch::digest;

/// How often a plan is made and carried out on one visit: what was made may open the way to more.
const ROUNDS: usize = 4;

/// What is wanted and what is there.
struct World<'a, R: Reconciler> {
    desired: &'a R::Desired,
    observed: &'a R::Observed,
}

/// What came of the steps.
pub(super) struct Looked<S, F: Failure> {
    pub outcome: Result<Outcome, Trouble<F>>,
    pub judged: Vec<Judgement>,
    /// What differs now; `None` when that could not be seen.
    pub findings: Option<Vec<Finding>>,
    pub plan: Option<PlanStatus>,
    /// The whole status with the kind's part filled; `None`: as it was.
    pub status: Option<S>,
    /// One line for each change that was made.
    pub applied: Vec<String>,
}

impl<S, F: Failure> Looked<S, F> {
    pub(super) fn troubled(trouble: Trouble<F>) -> Self {
        Self {
            outcome: Err(trouble),
            judged: Vec::new(),
            findings: None,
            plan: None,
            status: None,
            applied: Vec::new(),
        }
    }
}

impl<R: Reconciler> Driver<R> {
    pub(super) async fn steps(
        &self,
        visit: &Visit<'_, R::Kind>,
        entry: &mut Entry<StatusOf<R>>,
    ) -> Looked<StatusOf<R>, R::Failure> {
        let (mut desired, mut observed) = match self.look(visit).await {
            Ok(looked) => looked,
            Err(stop) => return self.stopped(stop, Vec::new()),
        };
        let mut plan = self.reconciler.plan(&desired, &observed);
        self.detect(visit, entry, &plan.findings);

        let mut applied = Ok(());
        let mut done = Vec::new();
        let mut gate = self.gate(visit, &desired, &observed, &plan);
        for _ in 0..ROUNDS {
            if gate != Gate::Open {
                break;
            }
            applied = self.reconciler.apply(visit, &desired, &observed, &plan).await;
            // Truth is read back, all of it, above all when applying failed half-way: what was made
            // in the cluster (a key, say) may be what the next part of the plan needs.
            match (self.look(visit).await, applied) {
                (Ok(looked), outcome) => {
                    (desired, observed) = looked;
                    applied = outcome;
                }
                (Err(stop), Ok(())) => {
                    done.extend(lines(&plan.changes));
                    return self.stopped(stop, done);
                }
                (Err(_), Err(stop)) => return self.stopped(stop, done),
            }
            let left = self.reconciler.plan(&desired, &observed);
            // What came up meanwhile counts too, and what was put right may come up again.
            self.detect(visit, entry, &left.findings);
            // A plan that failed and is not pursued any more says nothing of what was made of it.
            if applied.is_ok() || !left.is_empty() {
                done.extend(made(&plan, &left));
            }
            let stuck = left.hash() == plan.hash();
            plan = left;
            gate = self.gate(visit, &desired, &observed, &plan);
            if applied.is_err() || stuck {
                break;
            }
        }
        let world = World { desired: &desired, observed: &observed };
        self.tell(visit, &world, &plan, gate, applied, done).await
    }

    fn gate(
        &self,
        visit: &Visit<'_, R::Kind>,
        desired: &R::Desired,
        observed: &R::Observed,
        plan: &Plan<R::Change>,
    ) -> Gate {
        let object = visit.object();
        let hold = self.reconciler.hold(desired, observed, plan);
        let hash = (!plan.is_empty()).then(|| plan.hash());
        decide(object.mode(), hash.as_deref(), hold, visit.confirmed())
    }

    async fn look(&self, visit: &Visit<'_, R::Kind>) -> Step<(R::Desired, R::Observed), R> {
        let inputs = self.reconciler.gather(visit).await?;
        // What this visit has written counts: the rounds of a visit are no more forgetful than visits.
        let desired = self.reconciler.validate(&visit.current().await, inputs)?;
        let observed = self.reconciler.observe(visit, &desired).await?;
        Ok((desired, observed))
    }

    /// A step gave no result.
    fn stopped(
        &self,
        stop: Stop<R::Failure>,
        applied: Vec<String>,
    ) -> Looked<StatusOf<R>, R::Failure> {
        let judged = self.reconciler.judge_stop(&stop);
        let outcome = ended(stop);
        Looked { outcome, judged, findings: None, plan: None, status: None, applied }
    }

    /// What was seen last, what is still to be done, and how the visit ends.
    async fn tell(
        &self,
        visit: &Visit<'_, R::Kind>,
        world: &World<'_, R>,
        left: &Plan<R::Change>,
        gate: Gate,
        applied: Step<(), R>,
        made: Vec<String>,
    ) -> Looked<StatusOf<R>, R::Failure> {
        let mut object = visit.current().await;
        let status = object.status_mut().get_or_insert_default();
        let World { desired, observed } = world;
        let Report { conditions, outcome, held } =
            self.reconciler.report(visit, desired, observed, left, status).await;
        let shown = matches!(gate, Gate::Show | Gate::Held(_)) && !left.is_empty();
        let plan = held.or_else(|| shown.then(|| plan_status(left)));
        let outcome = match (applied, gate, outcome) {
            (Err(stop), ..) => ended(stop),
            (Ok(()), Gate::Held(hold), _) => Err(Trouble::Held(hold)),
            (Ok(()), _, Err(failure)) => Err(Trouble::Kind(failure)),
            (Ok(()), _, Ok(done @ Outcome::Done { .. })) => {
                settled(visit.object().mode(), left, done)
            }
            (Ok(()), _, Ok(outcome)) => Ok(outcome),
        };
        self.measure(visit, &left.findings);
        Looked {
            outcome,
            judged: conditions,
            findings: Some(left.findings.clone()),
            plan,
            status: object.status().cloned(),
            applied: made,
        }
    }

    /// Counts differences that were not there at the visit before, and shows all in the gauge, also
    /// those that will be gone in a moment.
    fn detect(
        &self,
        visit: &Visit<'_, R::Kind>,
        entry: &mut Entry<StatusOf<R>>,
        findings: &[Finding],
    ) {
        let seen: HashSet<u64> =
            findings.iter().map(|finding| digest(&(finding.class, &finding.subject))).collect();
        for finding in findings {
            if !entry.findings.contains(&digest(&(finding.class, &finding.subject))) {
                self.metrics.drift_detected(R::Kind::KIND, visit.namespace(), finding.class);
            }
        }
        entry.findings = seen;
        self.measure(visit, findings);
    }

    fn measure(&self, visit: &Visit<'_, R::Kind>, findings: &[Finding]) {
        let before = visit.object().status_common().and_then(|common| common.drift.as_ref());
        let since = drift_status(findings, before, visit.now()).and_then(|drift| drift.since);
        let count =
            |class: DriftClass| findings.iter().filter(|finding| finding.class == class).count();
        self.metrics.objects().drift(&key(visit.object()), count, since.map(|since| since.0));
    }
}

/// Whether what a kind calls done is done: in mode Correct nothing may be left to do, and nothing
/// may differ but what nobody asked for.
fn settled<C: Change, F: Failure>(
    mode: Mode,
    left: &Plan<C>,
    done: Outcome,
) -> Result<Outcome, Trouble<F>> {
    if mode != Mode::Correct {
        return Ok(watched(mode, left, done));
    }
    if let Some(first) = left.changes.first() {
        return Err(Trouble::NotConverged { left: left.changes.len(), first: first.to_string() });
    }
    let wrong: Vec<Finding> = left
        .findings
        .iter()
        .filter(|finding| finding.class != DriftClass::Unexpected)
        .cloned()
        .collect();
    if wrong.is_empty() { Ok(done) } else { Err(Trouble::Drifted(summary(&wrong).1)) }
}

/// What is done about an object that is only watched: its kind may call it as wanted by mistake.
fn watched<C: Change>(mode: Mode, left: &Plan<C>, done: Outcome) -> Outcome {
    let Outcome::Done { requeue, .. } = done else { return done };
    let message = match (mode, left.changes.len()) {
        _ if left.findings.is_empty() && left.is_empty() => return done,
        (Mode::Plan, n) if n > 0 => format!("planned, and nothing changed: {n} changes"),
        _ => format!("observed, and nothing changed: {}", summary(&left.findings).1),
    };
    Outcome::Done { message, requeue }
}

fn lines<C: Change>(changes: &[C]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

/// The changes of `plan` that are not in `left`: those that were made.
fn made<C: Change>(plan: &Plan<C>, left: &Plan<C>) -> Vec<String> {
    let left: HashSet<String> = left.changes.iter().map(ToString::to_string).collect();
    lines(&plan.changes).into_iter().filter(|line| !left.contains(line)).collect()
}
