//! What lies in the stores beside the copies.
//!
//! Leftovers of ours are removed once they are old and the object has its copies; what others left is
//! only reported, and only by a policy for all objects, since it belongs to none.

use std::collections::BTreeMap;
use std::time::Duration;

use cim_plan::Finding;

use super::census::Census;
use super::change::Change;
use crate::schedule::passed;
use crate::{Cid, Desired, Observed, Select, StoreId, Stray, StrayKind};

/// A write that has been silent for so long was interrupted.
const IN_FLIGHT: Duration = Duration::from_hours(1);

/// Adds removals of old leftovers and findings about the rest. `census` has each object with the
/// stores whose copies are verified once the plan's additions are made.
pub(super) fn plan(
    desired: &Desired,
    observed: &Observed,
    census: &[(Census<'_>, Vec<StoreId>)],
    removals: &mut Vec<Change>,
    findings: &mut Vec<Finding>,
) {
    let census: BTreeMap<&Cid, _> = census.iter().map(|owner| (owner.0.cid, owner)).collect();
    for spec in &desired.stores {
        let mut foreign = 0;
        for stray in observed.strays.get(&spec.id).into_iter().flatten() {
            let age = match &stray.kind {
                StrayKind::Quarantined { .. } => desired.policy.trash,
                StrayKind::Unfinished { .. } | StrayKind::Orphan => IN_FLIGHT,
                StrayKind::Foreign { .. } => {
                    foreign += 1;
                    continue;
                }
            };
            if !passed(stray.since, age, observed.at) {
                continue;
            }
            let owner = match &stray.kind {
                StrayKind::Quarantined { cid } | StrayKind::Unfinished { cid } => census.get(cid),
                _ => None,
            };
            match owner {
                Some((owner, keep)) => {
                    let change = expunge(owner, keep, &spec.id, stray);
                    if spec.writable {
                        removals.extend(change);
                    }
                }
                None if desired.select == Select::All => findings.push(orphan(&spec.id, stray)),
                None => {}
            }
        }
        if foreign > 0 && desired.select == Select::All {
            let found = format!("objects whose name is not a CID, left alone: {foreign}");
            findings.push(Finding::unexpected(format!("object store {}", spec.id), found));
        }
    }
}

fn expunge(
    census: &Census<'_>,
    keep: &[StoreId],
    store: &StoreId,
    stray: &Stray,
) -> Option<Change> {
    let need = census.replicas.desired();
    let enough = keep.len() >= need && !census.blind;
    enough.then(|| Change::Expunge {
        cid: *census.cid,
        store: store.clone(),
        stray: stray.clone(),
        keep: keep.to_vec(),
        need,
    })
}

fn orphan(store: &StoreId, stray: &Stray) -> Finding {
    Finding::unexpected(
        format!("object store {store}"),
        format!("{} chunks {} without a name since {}", stray.parts, stray.id, stray.since),
    )
}
