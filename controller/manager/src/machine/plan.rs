//! What would be done on a machine, as far as it may be.

use cim_nixos::{HostState, SyncState, assess};
use cim_plan::Plan;

use super::change::Change;
use super::install;
use super::observe::Seen;
use super::validate::{Delivery, Desired};

pub(super) fn plan(desired: &Desired, seen: &Seen) -> Plan<Change> {
    if let (Some(wanted), Some(bare)) = (&desired.install, &seen.bare) {
        return install::plan(wanted, bare);
    }
    let Some(delivery) = &desired.delivery else { return Plan::default() };
    let plan = cim_nixos::plan(&delivery.wanted_of(&seen.observed), &seen.observed, &seen.health);
    if held(desired, delivery, seen).is_some() {
        // What differs is still told.
        return Plan::new(ahead(seen), plan.findings);
    }
    if plan.is_empty() {
        return Plan::new(ahead(seen), plan.findings);
    }
    Plan::new(plan.changes.into_iter().map(Change::Deliver).collect(), plan.findings)
}

/// The copy of what waits for its turn. Only to a machine on which nothing is under way.
fn ahead(seen: &Seen) -> Vec<Change> {
    let idle = seen.observed.state().is_some_and(|state| !is_under_way(state));
    let next = seen.bring.clone().filter(|_| idle);
    let copy = next.map(|closure| cim_nixos::Change::Copy { closure });
    copy.map(Change::Deliver).into_iter().collect()
}

/// Why a machine that differs is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// No window is open.
    Window,
    /// What somebody changed by hand is only reported.
    Drift,
}

/// Why nothing is done about what differs. What was begun is finished, in or out of a window: a
/// delivery that its Cluster let begin, a closure that awaits its confirmation, the way back.
pub(super) fn held(desired: &Desired, delivery: &Delivery, seen: &Seen) -> Option<Held> {
    let state = seen.observed.state()?;
    let assessment = assess(&delivery.wanted, &seen.observed);
    if is_under_way(state) || assessment.sync == SyncState::InSync {
        return None;
    }
    if delivery.wanted.was_delivered() && desired.reports_drift {
        return Some(Held::Drift);
    }
    let may = desired.open || desired.assignment.taken_back || !delivery.wanted.was_delivered();
    (!may).then_some(Held::Window)
}

/// Whether nothing is under way, held back, or left to be done about what it should run.
pub(super) fn is_settled(desired: &Desired, delivery: &Delivery, seen: &Seen) -> bool {
    let Seen { observed, health, .. } = seen;
    observed.state().is_some_and(|state| !is_under_way(state))
        && held(desired, delivery, seen).is_none()
        && cim_nixos::plan(&delivery.wanted_of(observed), observed, health).is_empty()
}

fn is_under_way(state: &HostState) -> bool {
    state.pending.is_some() || state.running().is_some()
}
