//! What differs, and what to do about it. Pure.
//!
//! For each object the first that applies (additions before removals, always):
//!
//! 1. no verified copy and nowhere to look: lost; reported, nothing is touched;
//! 2. a corrupt copy and a good one: repair;
//! 3. too few copies, or badly spread ones: copy to where they belong;
//! 4. too many: trim, unless any store is unknown.
//!
//! Objects with the fewest copies come first, small before large.

mod census;
mod change;
mod decide;
mod findings;
mod leftovers;
mod placement;
#[cfg(test)]
mod tests;

use cim_plan::Plan;

use crate::observed::StoreState;
use crate::stats::Stats;
use crate::{Desired, Observed, StoreId};
pub(crate) use census::Census;
pub use change::Change;
pub(crate) use decide::Decision;
use decide::{Room, decide};

/// A plan with the numbers behind it, from one pass over the objects.
#[derive(Clone, Debug)]
pub struct Assessment {
    /// What differs and what to do.
    pub plan: Plan<Change>,
    /// Counts for status and metrics.
    pub stats: Stats,
}

/// What differs between `desired` and `observed`, and what to do about it.
pub fn plan(desired: &Desired, observed: &Observed) -> Plan<Change> {
    assess(desired, observed, 0).plan
}

/// As [`plan()`], with counts and the `worst` objects that are most at risk.
pub fn assess(desired: &Desired, observed: &Observed, worst: usize) -> Assessment {
    let mut stats = Stats::new(worst);
    let mut findings = findings::of_stores(desired, observed);
    let mut changes: Vec<Change> = desired
        .stores
        .iter()
        .filter(|spec| observed.stores.get(&spec.id) == Some(&StoreState::Absent))
        .map(|spec| Change::CreateStore { store: spec.id.clone() })
        .collect();
    let mut room = room(observed);
    let mut census: Vec<Census<'_>> = observed
        .objects
        .iter()
        .map(|(cid, object)| Census::new(desired, observed, cid, object))
        .collect();
    census.sort_by_key(|census| (census.urgency(), census.object.size, *census.cid));
    let mut removals = Vec::new();
    let census: Vec<(Census<'_>, Vec<StoreId>)> = census
        .into_iter()
        .map(|census| {
            let decision = decide(desired, observed, &census, &mut room);
            findings.extend(findings::of_object(&census, &decision));
            stats.count(&census, &decision);
            let made = decision.additions.iter().map(Change::store);
            let trimmed = |id: &&StoreId| decision.trims.iter().any(|trim| trim.store() == *id);
            let stay = census.verified.iter().filter(|id| !trimmed(id));
            let verified = stay.chain(made).cloned().collect();
            changes.extend(decision.additions);
            removals.extend(decision.trims);
            (census, verified)
        })
        .collect();
    leftovers::plan(desired, observed, &census, &mut removals, &mut findings);
    changes.extend(removals);
    Assessment { plan: Plan::new(changes, findings), stats }
}

fn room(observed: &Observed) -> Room {
    observed
        .stores
        .iter()
        .filter_map(|(id, state)| match state {
            StoreState::Ready { free: Some(free), .. } => Some((id.clone(), *free)),
            _ => None,
        })
        .collect()
}
