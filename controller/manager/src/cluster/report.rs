//! What a Cluster's status says.

use std::sync::Arc;
use std::time::Duration;

use cim_crds::cluster::release::Release;
use cim_crds::cluster::rollout_status::RolloutPhase;
use cim_crds::conditions::{ConditionStatus, ConditionType, is_true, reasons};
use cim_crds::{Cluster, ClusterStatus, Kind, Machine};
use kube::ResourceExt;

use super::failure::ClusterFailure;
use super::{Desired, Seen, Shared, rollout};
use crate::driver::{Report, Visit};
use crate::outcome::{Failure, Outcome, Wait};
use crate::scope::Caches;
use crate::status::Judgement;

/// Counts what belongs to the Cluster, and judges that and the release. `recheck`: when to look
/// again although nothing else happens.
pub(super) fn report(
    visit: &Visit<'_, Cluster>,
    caches: &Caches,
    desired: &Desired,
    observed: &Seen,
    recheck: Option<Duration>,
    status: &mut ClusterStatus,
) -> Report<Shared> {
    let (namespace, name) = (visit.namespace(), visit.name());
    let machines: Vec<&Machine> = desired.machines.iter().map(AsRef::as_ref).collect();
    let services = caches.services.list(namespace);
    let services = services.iter().map(AsRef::as_ref).filter(|it| it.spec.cluster == name);
    let counted = Tally::of(machines.iter().copied());
    let counted_services = Tally::of(services);

    status.progress = None;
    status.fqdn = caches
        .domains
        .get(namespace, &visit.object().spec.domain)
        .map(|domain| format!("{}.{}", visit.object().label(), domain.spec.suffix));
    status.machines = counted.total;
    status.machines_ready = counted.ready();
    status.machine_count = Some(counted.to_string());
    status.services = counted_services.total;
    status.services_ready = counted_services.ready();
    status.service_count = Some(counted_services.to_string());

    let waiting = [("Machine", &counted), ("Service", &counted_services)];
    let waiting: Vec<String> = waiting
        .into_iter()
        .flat_map(|(kind, tally)| tally.not_ready.iter().map(move |name| format!("{kind} {name}")))
        .collect();
    let conditions = vec![
        available(&waiting, &counted, &counted_services),
        release_ready(desired, observed, status.release.as_ref()),
        up_to_date(status.release.as_ref(), &machines),
        same_as_approved(visit.object(), desired, observed),
    ];
    let outcome = outcome(desired, observed, status, &waiting, recheck);
    let outcome = outcome.unwrap_or_else(|| {
        Ok(Outcome::Done { message: everything(&counted, &counted_services), requeue: recheck })
    });
    Report::new(conditions, outcome)
}

/// How the visit ends, unless all is as it should be: the first thing that is not.
fn outcome(
    desired: &Desired,
    observed: &Seen,
    status: &ClusterStatus,
    waiting: &[String],
    recheck: Option<Duration>,
) -> Option<Result<Outcome, Shared>> {
    if let Err(failure) = observed {
        return Some(Err(Arc::clone(failure)));
    }
    if let Err(failure) = &desired.order {
        return Some(Err(Arc::clone(failure)));
    }
    let rollout = status.rollout.as_ref();
    if let Some(rollout) = rollout.filter(|rollout| rollout.phase == RolloutPhase::Aborted) {
        return Some(Err(Arc::new(ClusterFailure::Aborted(rollout.message.clone()))));
    }
    if let Some(names) = without_closure(status.release.as_ref()) {
        return Some(Err(Arc::new(ClusterFailure::Evaluation(names))));
    }
    let wait = |reason, message: String| {
        let wait = Wait::new(reason, message);
        let after = recheck.map_or(wait.after, |recheck| recheck.min(wait.after));
        Some(Ok(Outcome::Wait(wait.after(after))))
    };
    if let Some(waits) = &desired.waits {
        return wait(waits.reason, waits.message.clone());
    }
    let under_way = |phase| !matches!(phase, RolloutPhase::Complete | RolloutPhase::Pending);
    if let Some(rollout) = rollout.filter(|rollout| under_way(rollout.phase)) {
        return wait(rollout::reason(rollout.phase), rollout.message.clone());
    }
    if waiting.is_empty() {
        return None;
    }
    wait(reasons::WAITING, format!("not ready: {}", waiting.join(", ")))
}

/// Whether what is to run is what was approved.
fn same_as_approved(cluster: &Cluster, desired: &Desired, observed: &Seen) -> Judgement {
    let judge = |status: ConditionStatus, reason, message: String| {
        Judgement::new(ConditionType::SameAsApproved, status, reason, message)
    };
    if cluster.spec.promotion.is_none() {
        let message = "it follows its own source; nobody approves for it".to_owned();
        return judge(ConditionStatus::Unknown, "NoPromotion", message);
    }
    let Some(approval) = &desired.approval else {
        let message = desired.waits.as_ref().map(|wait| wait.message.clone()).unwrap_or_default();
        return judge(ConditionStatus::Unknown, "WaitingForApproval", message);
    };
    match observed {
        Ok(Some(release)) => {
            let (approved, by) = (&approval.approved, &approval.approved.by);
            let message = format!(
                "{} approved by {by} in {}: {} services and {} configurations were compared",
                approved.rev,
                approval.from,
                release.services.len(),
                approved.configurations.len(),
            );
            judge(ConditionStatus::True, reasons::SUCCEEDED, message)
        }
        Ok(None) => {
            let message = "nothing was evaluated yet".to_owned();
            judge(ConditionStatus::Unknown, reasons::NOT_OBSERVED, message)
        }
        Err(failure) => match &**failure {
            ClusterFailure::NotApproved(_)
            | ClusterFailure::NotThatRelease { .. }
            | ClusterFailure::HashMismatch { .. } => {
                judge(ConditionStatus::False, failure.reason(), failure.to_string())
            }
            _ => judge(ConditionStatus::Unknown, failure.reason(), failure.to_string()),
        },
    }
}

fn everything(machines: &Tally, services: &Tally) -> String {
    format!("{} machines and {} services are ready", machines.total, services.total)
}

fn available(waiting: &[String], machines: &Tally, services: &Tally) -> Judgement {
    if waiting.is_empty() {
        let message = everything(machines, services);
        return Judgement::new(ConditionType::Available, true, reasons::SUCCEEDED, message);
    }
    let message = format!("not ready: {}", waiting.join(", "));
    Judgement::new(ConditionType::Available, false, reasons::WAITING, message)
}

fn release_ready(desired: &Desired, observed: &Seen, release: Option<&Release>) -> Judgement {
    let judge = |status: ConditionStatus, reason, message: String| {
        Judgement::new(ConditionType::ReleaseReady, status, reason, message)
    };
    if let Err(failure) = observed {
        return judge(ConditionStatus::False, failure.reason(), failure.to_string());
    }
    let Some(release) = release else {
        if let Some(waits) = &desired.waits {
            return judge(ConditionStatus::Unknown, waits.reason, waits.message.clone());
        }
        let message = "spec.source is absent; nothing is delivered".to_owned();
        return judge(ConditionStatus::Unknown, "NothingDelivered", message);
    };
    if let Some(names) = without_closure(Some(release)) {
        return judge(
            ConditionStatus::False,
            "EvaluationFailed",
            format!("no closure for {names}"),
        );
    }
    let unbuilt: Vec<&str> = release
        .machines
        .iter()
        .filter(|machine| !rollout::is_built(machine))
        .map(|machine| machine.name.as_str())
        .collect();
    if !unbuilt.is_empty() {
        let message = format!("not built yet for {}", unbuilt.join(", "));
        return judge(ConditionStatus::False, "NotBuilt", message);
    }
    let message = format!("{} is built and signed for every machine", release.rev);
    judge(ConditionStatus::True, reasons::SUCCEEDED, message)
}

/// The machines that have no closure, each with the reason.
fn without_closure(release: Option<&Release>) -> Option<String> {
    let machines = &release?.machines;
    let failed: Vec<String> = machines
        .iter()
        .filter_map(|machine| {
            machine.error.as_ref().map(|error| format!("{}: {error}", machine.name))
        })
        .collect();
    (!failed.is_empty()).then(|| failed.join("; "))
}

fn up_to_date(release: Option<&Release>, machines: &[&Machine]) -> Judgement {
    let condition = ConditionType::UpToDate;
    let Some(release) = release else {
        let message = "there is no release";
        return Judgement::new(condition, ConditionStatus::Unknown, "NothingDelivered", message);
    };
    let behind: Vec<String> = machines
        .iter()
        .filter(|machine| !machine.awaits_install() && !runs(machine, release))
        .map(|machine| machine.name_any())
        .collect();
    if behind.is_empty() {
        let message = format!("every machine runs {}", release.rev);
        return Judgement::new(condition, true, reasons::SUCCEEDED, message);
    }
    let message = format!("not at {} yet: {}", release.rev, behind.join(", "));
    Judgement::new(condition, false, reasons::PROGRESSING, message)
}

/// Whether the machine was seen to run what `release` holds for it.
fn runs(machine: &Machine, release: &Release) -> bool {
    let name = machine.name_any();
    let wanted = release.machines.iter().find(|entry| entry.name == name);
    let wanted = wanted.and_then(|entry| entry.out_path.as_ref());
    machine.status.as_ref().is_some_and(|status| {
        let current = status.system.as_ref().and_then(|system| system.current.as_ref());
        wanted.is_some()
            && current == wanted
            && is_true(&status.common.conditions, ConditionType::InSync)
    })
}

/// How many there are, and the names of those that are not ready.
struct Tally {
    total: u32,
    not_ready: Vec<String>,
}

impl Tally {
    fn of<'a, K: Kind>(objects: impl Iterator<Item = &'a K>) -> Self {
        let mut tally = Self { total: 0, not_ready: Vec::new() };
        for object in objects {
            tally.total += 1;
            if !is_ready(object) {
                tally.not_ready.push(object.name_any());
            }
        }
        tally
    }

    fn ready(&self) -> u32 {
        self.total - u32::try_from(self.not_ready.len()).unwrap_or(self.total)
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.ready(), self.total)
    }
}

/// A condition of an older generation says nothing about the present one.
fn is_ready<K: Kind>(object: &K) -> bool {
    object.status_common().is_some_and(|common| {
        common.observed_generation == object.meta().generation.unwrap_or(0)
            && is_true(&common.conditions, ConditionType::Ready)
    })
}
