//! The releases of the past.

use cim_crds::ClusterStatus;
use cim_crds::cluster::release::{PastRelease, Release, ReleaseResult};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// How many are remembered, as the schema bounds it.
const KEPT: usize = 10;

/// Replaces the release of `status` by `next`. If that is another one, the one before goes into the
/// history with what came of it.
pub(super) fn replace(status: &mut ClusterStatus, next: Option<Release>, now: &Time) {
    if let Some(past) = past(status, next.as_ref(), now) {
        status.history.retain(|entry| entry.digest != past.digest);
        status.history.insert(0, past);
        status.history.truncate(KEPT);
    }
    status.release = next;
}

fn past(status: &ClusterStatus, next: Option<&Release>, now: &Time) -> Option<PastRelease> {
    let release = status.release.as_ref()?;
    let digest = release.digest.clone()?;
    if next.is_some_and(|next| next.digest.as_ref() == Some(&digest)) {
        return None;
    }
    let rollout = status.rollout.as_ref().filter(|it| it.release == release.digest);
    let result = match rollout {
        Some(rollout) if rollout.completed => ReleaseResult::Complete,
        Some(rollout) if rollout.aborted => ReleaseResult::Aborted,
        _ => ReleaseResult::Superseded,
    };
    let approval = status.approval.as_ref().filter(|it| it.approved.rev == release.rev);
    Some(PastRelease {
        rev: release.rev.clone(),
        nar_hash: release.nar_hash.clone(),
        digest,
        result,
        since: release.since.clone(),
        // One that was superseded half way was settled by that.
        settled: rollout.and_then(|it| it.settled.clone()).or_else(|| Some(now.clone())),
        approved_by: approval.map(|approval| approval.approved.by.clone()),
    })
}

#[cfg(test)]
mod tests {
    use cim_crds::cluster::rollout_status::RolloutStatus;
    use jiff::Timestamp;

    use super::*;

    fn release(digest: &str) -> Release {
        Release { digest: Some(digest.to_owned()), rev: digest.to_owned(), ..Release::default() }
    }

    fn step(status: &mut ClusterStatus, digest: &str, completed: bool, aborted: bool) {
        replace(status, Some(release(digest)), &Time(Timestamp::UNIX_EPOCH));
        let release = Some(digest.to_owned());
        status.rollout =
            Some(RolloutStatus { release, completed, aborted, ..RolloutStatus::default() });
    }

    #[test]
    fn each_release_is_remembered_once_with_what_came_of_it() {
        let mut status = ClusterStatus::default();
        step(&mut status, "a", true, false);
        step(&mut status, "b", false, true);
        step(&mut status, "b", false, true);
        step(&mut status, "c", false, false);
        step(&mut status, "a", true, false);
        let told: Vec<_> =
            status.history.iter().map(|past| (past.digest.as_str(), past.result)).collect();
        assert_eq!(
            told,
            [
                ("c", ReleaseResult::Superseded),
                ("b", ReleaseResult::Aborted),
                ("a", ReleaseResult::Complete),
            ]
        );
        for n in 0..20 {
            step(&mut status, &n.to_string(), true, false);
        }
        assert_eq!(status.history.len(), KEPT);
        assert_eq!(status.history[0].digest, "18");
    }
}
