//! What a Cluster decides in a visit: which release it holds, and who may take it now.

use std::time::Duration;

use cim_crds::{Cluster, ClusterStatus, Machine};

use super::{Desired, Seen, history, rollout};
use crate::driver::Visit;

/// Puts the release that was seen, and what its rollout is to do next, into `status`, for the
/// Machines to read. When to decide again although nothing else happens.
pub(super) fn decide(
    visit: &Visit<'_, Cluster>,
    desired: &Desired,
    observed: &Seen,
    status: &mut ClusterStatus,
) -> Option<Duration> {
    if let Ok(release) = observed {
        // After a failure the release before stays: machines go on with what they run.
        history::replace(status, release.clone(), visit.now());
    }
    // The history tells by whom the release before was approved, so not before it is written.
    status.approval.clone_from(&desired.approval);
    let release = status.release.as_ref().filter(|release| release.digest.is_some())?;
    // Waves and windows that cannot be read let nobody begin.
    let (waves, calendar) = desired.order.as_ref().ok()?;
    let machines: Vec<&Machine> = desired.machines.iter().map(AsRef::as_ref).collect();
    let (opening, now) = (calendar.at(visit.now().0), visit.now());
    let (next, recheck) =
        rollout::advance(visit.object(), release, waves.clone(), &machines, opening, now);
    status.rollout = Some(next);
    recheck
}
