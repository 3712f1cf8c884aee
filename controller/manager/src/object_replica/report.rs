//! What an ObjectReplica's status says.

use cim_crds::ObjectReplicaStatus;
use cim_crds::conditions::{ConditionType, reasons};
use cim_crds::object_replica::WorstObject;
use cim_objects::{AtRisk, Stats, StoreId, StoreState, assess};

use super::Observed;
use super::failure::ReplicaFailure;
use super::validate::Desired;
use crate::driver::Report;
use crate::outcome::Outcome;
use crate::status::Judgement;

/// How many objects the status names, as the schema bounds it.
const WORST: usize = 20;

pub(super) fn report(
    desired: &Desired,
    observed: &Observed,
    status: &mut ObjectReplicaStatus,
) -> Report<ReplicaFailure> {
    let found = assess(&desired.objects, &observed.objects, WORST).stats;
    status.objects = found.objects;
    status.satisfied = found.satisfied;
    status.copies = found.copies;
    status.verified = found.verified;
    status.corrupt = found.corrupt;
    status.missing = found.missing;
    status.surplus = found.surplus;
    status.worst = found.worst.iter().map(worst).collect();
    status.worst.sort_by(|a, b| a.cid.cmp(&b.cid));
    let conditions = vec![satisfied(&found), unsafe_(&found), lost(&found)];
    Report::new(conditions, outcome(&found, observed))
}

fn outcome(stats: &Stats, observed: &Observed) -> Result<Outcome, ReplicaFailure> {
    if stats.lost > 0 {
        let lost = stats.worst.iter().filter(|object| object.lost);
        let which: Vec<String> = lost.take(3).map(|object| object.cid.to_string()).collect();
        return Err(ReplicaFailure::Lost { count: stats.lost, which: which.join(", ") });
    }
    let unreachable = unreachable(observed);
    if !unreachable.is_empty() {
        return Err(ReplicaFailure::StoreUnreachable(unreachable.join("; ")));
    }
    if stats.unschedulable > 0 {
        let why = refusals(stats);
        return Err(ReplicaFailure::Unschedulable { count: stats.unschedulable, why });
    }
    Ok(Outcome::done(format!("{} objects have their verified copies", stats.satisfied)))
}

fn unreachable(observed: &Observed) -> Vec<String> {
    let states = observed.objects.stores.iter();
    let unreachable = |(id, state): (&StoreId, &StoreState)| match state {
        StoreState::Unreachable { why, .. } => Some(format!("store {id} does not answer: {why}")),
        _ => None,
    };
    if observed.problems.is_empty() {
        states.filter_map(unreachable).collect()
    } else {
        observed.problems.clone()
    }
}

fn refusals(stats: &Stats) -> String {
    let refusals: Vec<String> =
        stats.refusals.iter().map(|(store, why)| format!("{store}: {why}")).collect();
    refusals.join("; ")
}

fn satisfied(stats: &Stats) -> Judgement {
    let message =
        format!("{} of {} objects have their verified copies", stats.satisfied, stats.objects);
    let all = stats.satisfied == stats.objects;
    let reason = if all { reasons::SUCCEEDED } else { "CopiesMissing" };
    Judgement::new(ConditionType::Satisfied, all, reason, message)
}

fn unsafe_(stats: &Stats) -> Judgement {
    if stats.unschedulable == 0 {
        let message = "every wanted copy has a place";
        return Judgement::new(ConditionType::Unsafe, false, reasons::SUCCEEDED, message);
    }
    let message = format!("{} copies have no place: {}", stats.unschedulable, refusals(stats));
    Judgement::new(ConditionType::Unsafe, true, "Unschedulable", message)
}

fn lost(stats: &Stats) -> Judgement {
    if stats.lost == 0 {
        let message = "every object has a good copy";
        return Judgement::new(ConditionType::Lost, false, reasons::SUCCEEDED, message);
    }
    let message = format!("{} objects have no good copy left", stats.lost);
    Judgement::new(ConditionType::Lost, true, "Unrecoverable", message)
}

fn worst(object: &AtRisk) -> WorstObject {
    let list = |ids: &[StoreId]| ids.iter().map(StoreId::as_str).collect::<Vec<_>>().join(", ");
    let verified = if object.verified.is_empty() {
        "no verified copy".to_owned()
    } else {
        format!("verified in {}", list(&object.verified))
    };
    let reason = if object.corrupt.is_empty() {
        verified
    } else {
        format!("{verified}; corrupt in {}", list(&object.corrupt))
    };
    WorstObject {
        cid: object.cid.to_string(),
        verified: u32::try_from(object.verified.len()).unwrap_or(u32::MAX),
        desired: u32::try_from(object.desired).unwrap_or(u32::MAX),
        reason,
    }
}
