//! The approval that a promoted Cluster's release rests on: who said yes, to which hashes, and
//! whether that release has passed where it came from.

use cim_crds::Cluster;
use cim_crds::cluster::promotion::{Approval, ApprovalPolicy, Approved, Promotion};
use cim_crds::cluster::release::{NamedPath, Release, ReleaseResult};
use cim_crds::cluster::rollout_status::RolloutPhase;
use cim_crds::conditions::{ConditionType, is_true, reasons};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::outcome::Wait;

/// Who approves when no person does.
pub(super) const CHECKS: &str = "checks";

/// What was found of an approval.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// The approval in force. It may be an older one while the newer is not accepted.
    pub(super) approval: Option<Approval>,
    /// Why there is none, or no newer one.
    pub(super) waits: Option<Wait>,
}

/// Finds the approval in force for `cluster`, which receives from `sender`.
///
/// One that was accepted stays in force when the sender moves on: the record holds all that it takes.
pub(super) fn find(
    cluster: &Cluster,
    promotion: &Promotion,
    sender: Option<&Cluster>,
    now: &Time,
) -> Found {
    let accepted = cluster.status.as_ref().and_then(|status| status.approval.clone());
    let wait = |reason, message: String| Some(Wait::new(reason, message));
    match (promotion.approval, &promotion.approved) {
        (ApprovalPolicy::Manual, None) => {
            let message =
                format!("nothing of Cluster {} is approved (cimctl approve)", promotion.from);
            Found { approval: None, waits: wait("WaitingForApproval", message) }
        }
        (ApprovalPolicy::Manual, Some(approved)) => {
            if let Some(accepted) = accepted.as_ref().filter(|it| it.approved == *approved) {
                return Found { approval: Some(accepted.clone()), waits: None };
            }
            if passed(sender, &approved.digest) || ran_here(cluster, &approved.digest) {
                let approval = record(promotion, sender, approved.clone(), now);
                return Found { approval: Some(approval), waits: None };
            }
            let message = format!(
                "{} was approved by {}, but is no release that was complete in Cluster {}",
                approved.rev, approved.by, promotion.from
            );
            Found { approval: accepted, waits: wait("NotPassed", message) }
        }
        (ApprovalPolicy::Automatic, _) => {
            let Some(sender) = sender else {
                let message = format!("Cluster {} does not exist", promotion.from);
                return Found {
                    approval: accepted,
                    waits: wait(reasons::REFERENCE_NOT_FOUND, message),
                };
            };
            let Some(release) = complete(sender) else {
                let message = format!("Cluster {} is not Ready with its release", promotion.from);
                let waits = accepted.is_none().then(|| Wait::new("WaitingForApproval", message));
                return Found { approval: accepted, waits };
            };
            let digest = release.digest.as_deref().unwrap_or_default();
            let same = accepted.filter(|accepted| accepted.approved.digest == digest);
            let approval = same
                .unwrap_or_else(|| record(promotion, Some(sender), approved(release, CHECKS), now));
            Found { approval: Some(approval), waits: None }
        }
    }
}

/// Whether `sender` is complete with a release that waits for a person's approval.
pub(super) fn is_offered(
    promotion: &Promotion,
    sender: Option<&Cluster>,
    approval: Option<&Approval>,
) -> bool {
    let offered = sender.and_then(complete).and_then(|release| release.digest.as_deref());
    let approved = approval.map(|approval| approval.approved.digest.as_str());
    promotion.approval == ApprovalPolicy::Manual && offered.is_some() && offered != approved
}

/// The record of an approval of `release`.
fn approved(release: &Release, by: &str) -> Approved {
    let mut configurations: Vec<NamedPath> = release
        .machines
        .iter()
        .filter_map(|machine| {
            let out_path = machine.out_path.clone()?;
            Some(NamedPath { name: machine.configuration.clone(), out_path })
        })
        .collect();
    configurations.sort();
    configurations.dedup();
    Approved {
        rev: release.rev.clone(),
        nar_hash: release.nar_hash.clone(),
        digest: release.digest.clone().unwrap_or_default(),
        configurations,
        services: release.services.clone(),
        by: by.to_owned(),
        comment: None,
    }
}

fn record(
    promotion: &Promotion,
    sender: Option<&Cluster>,
    approved: Approved,
    now: &Time,
) -> Approval {
    Approval {
        from: promotion.from.clone(),
        environment: sender.and_then(|sender| sender.spec.environment.clone()),
        approved,
        time: now.clone(),
    }
}

/// Whether `sender` runs, or ran, the release everywhere.
fn passed(sender: Option<&Cluster>, digest: &str) -> bool {
    let Some(sender) = sender else { return false };
    complete(sender).is_some_and(|release| release.digest.as_deref() == Some(digest))
        || ran_here(sender, digest)
}

/// Whether `cluster` ran the release everywhere in the past.
fn ran_here(cluster: &Cluster, digest: &str) -> bool {
    let history = cluster.status.iter().flat_map(|status| &status.history);
    history.into_iter().any(|past| past.digest == digest && past.result == ReleaseResult::Complete)
}

/// The release of `sender`, if all its machines run it and it is Ready.
fn complete(sender: &Cluster) -> Option<&Release> {
    let status = sender.status.as_ref()?;
    let rollout = status.rollout.as_ref()?;
    let release = status.release.as_ref()?;
    let complete = rollout.phase == RolloutPhase::Complete && rollout.release == release.digest;
    let ready = is_true(&status.common.conditions, ConditionType::Ready);
    (complete && ready && release.digest.is_some()).then_some(release)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn cluster(spec: &Value, status: &Value) -> Cluster {
        let mut spec = spec.clone();
        spec["domain"] = json!("d");
        serde_json::from_value(json!({
            "apiVersion": "cim.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "c"},
            "spec": spec, "status": status,
        }))
        .expect("a cluster")
    }

    fn sender(phase: &str, ready: &str) -> Cluster {
        let ready = json!({"type": "Ready", "status": ready, "reason": "R", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        cluster(
            &json!({"environment": "dev"}),
            &json!({
                "observedGeneration": 1, "conditions": [ready],
                "release": {"rev": "r2", "narHash": "h2", "digest": "d2", "machines": [
                    {"name": "a", "configuration": "web", "outPath": "/w"},
                    {"name": "b", "configuration": "web", "outPath": "/w"}],
                    "services": [{"name": "site", "outPath": "/s"}]},
                "rollout": {"release": "d2", "phase": phase},
                "history": [{"rev": "r1", "narHash": "h1", "digest": "d1", "result": "Complete"},
                    {"rev": "r0", "narHash": "h0", "digest": "d0", "result": "Aborted"}],
            }),
        )
    }

    fn receiver(approval: &str, approved: &Value, status: &Value) -> Cluster {
        let mut promotion = json!({"from": "dev", "approval": approval});
        if !approved.is_null() {
            promotion["approved"] = approved.clone();
        }
        cluster(&json!({"promotion": promotion}), status)
    }

    fn by_jane(digest: &str) -> Value {
        json!({"rev": "r", "narHash": "h", "digest": digest, "by": "jane"})
    }

    fn found(receiver: &Cluster, sender: Option<&Cluster>) -> Found {
        let promotion = receiver.spec.promotion.as_ref().expect("a promotion");
        find(receiver, promotion, sender, &Time(Timestamp::UNIX_EPOCH))
    }

    fn digest(found: &Found) -> Option<&str> {
        found.approval.as_ref().map(|approval| approval.approved.digest.as_str())
    }

    #[test]
    fn a_person_may_approve_only_what_was_complete() {
        let dev = sender("Complete", "True");
        for (wanted, accepted) in [("d2", true), ("d1", true), ("d0", false), ("dx", false)] {
            let prod = receiver("Manual", &by_jane(wanted), &Value::Null);
            let found = found(&prod, Some(&dev));
            assert_eq!(digest(&found), accepted.then_some(wanted), "{wanted}");
            assert_eq!(found.waits.map(|wait| wait.reason), (!accepted).then_some("NotPassed"));
        }
        let still = receiver("Manual", &by_jane("d2"), &Value::Null);
        assert_eq!(digest(&found(&still, Some(&sender("Soaking", "True")))), None);
        assert_eq!(digest(&found(&still, Some(&sender("Complete", "False")))), None);
    }

    #[test]
    fn without_a_word_nothing_is_approved() {
        let prod = receiver("Manual", &Value::Null, &Value::Null);
        let found = found(&prod, Some(&sender("Complete", "True")));
        assert_eq!(found.approval, None);
        assert_eq!(found.waits.map(|wait| wait.reason), Some("WaitingForApproval"));
    }

    #[test]
    fn what_was_accepted_stays_when_the_sender_moves_on_or_goes() {
        let prod = receiver("Manual", &by_jane("d9"), &Value::Null);
        let status = json!({"approval": {"from": "dev", "time": "2026-01-01T00:00:00Z",
            "rev": "r", "narHash": "h", "digest": "d9", "by": "jane"}});
        let accepted = receiver("Manual", &by_jane("d9"), &status);
        assert_eq!(digest(&found(&prod, None)), None);
        assert_eq!(digest(&found(&accepted, None)), Some("d9"));
        // A newer one that has not passed leaves it in force.
        let newer = receiver("Manual", &by_jane("dx"), &status);
        assert_eq!(digest(&found(&newer, Some(&sender("Complete", "True")))), Some("d9"));
    }

    #[test]
    fn what_is_complete_and_not_approved_is_offered() {
        let offered = |approval, wanted, sender: &Cluster| {
            let prod = receiver(approval, &wanted, &Value::Null);
            let promotion = prod.spec.promotion.clone().expect("a promotion");
            is_offered(&promotion, Some(sender), found(&prod, Some(sender)).approval.as_ref())
        };
        let complete = sender("Complete", "True");
        assert!(offered("Manual", Value::Null, &complete));
        assert!(offered("Manual", by_jane("d1"), &complete));
        assert!(!offered("Manual", by_jane("d2"), &complete));
        assert!(!offered("Manual", Value::Null, &sender("Soaking", "True")));
        assert!(!offered("Automatic", Value::Null, &complete));
    }

    #[test]
    fn going_back_needs_a_release_of_the_own_history() {
        let status = json!({"history": [
            {"rev": "r7", "narHash": "h", "digest": "d7", "result": "Complete"}]});
        let prod = receiver("Manual", &by_jane("d7"), &status);
        assert_eq!(digest(&found(&prod, None)), Some("d7"));
    }

    #[test]
    fn checks_approve_what_is_complete_and_ready_and_name_its_hashes() {
        let prod = receiver("Automatic", &Value::Null, &Value::Null);
        let approval = found(&prod, Some(&sender("Complete", "True"))).approval.expect("one");
        assert_eq!(
            (approval.approved.by.as_str(), approval.environment.as_deref()),
            (CHECKS, Some("dev"))
        );
        assert_eq!(approval.approved.configurations.len(), 1, "one for each configuration");
        assert_eq!(approval.approved.services[0].out_path, "/s");
        let none = found(&prod, Some(&sender("Progressing", "True")));
        assert_eq!(none.waits.map(|wait| wait.reason), Some("WaitingForApproval"));
    }
}
