//! What a Cluster's status says.

use std::sync::Arc;

use cim_crds::cluster::release::Release;
use cim_crds::conditions::{ConditionStatus, ConditionType, is_true, reasons};
use cim_crds::{Cluster, ClusterStatus, Kind, Machine};
use kube::ResourceExt;

use super::Seen;
use super::failure::ClusterFailure;
use crate::driver::{Report, Visit};
use crate::outcome::{Failure, Outcome, Wait};
use crate::scope::Caches;
use crate::status::Judgement;

/// Counts what belongs to the Cluster, and judges it by them and by its release.
pub(super) fn report(
    visit: &Visit<'_, Cluster>,
    caches: &Caches,
    observed: &Seen,
    status: &mut ClusterStatus,
) -> Report<Arc<ClusterFailure>> {
    let (namespace, name) = (visit.namespace(), visit.name());
    let machines = caches.machines.list(namespace);
    let machines: Vec<&Machine> =
        machines.iter().map(AsRef::as_ref).filter(|it| it.spec.cluster == name).collect();
    let services = caches.services.list(namespace);
    let services = services.iter().map(AsRef::as_ref).filter(|it| it.spec.cluster == name);
    let counted = Tally::of(machines.iter().copied());
    let counted_services = Tally::of(services);

    if let Ok(release) = observed {
        // After a failure the release before stays: machines go on with what they run.
        status.release.clone_from(release);
    }
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
        release_ready(observed, status.release.as_ref()),
        up_to_date(status.release.as_ref(), &machines),
    ];
    let outcome = match observed {
        Err(failure) => Err(Arc::clone(failure)),
        Ok(release) => match without_closure(release.as_ref()) {
            Some(names) => Err(Arc::new(ClusterFailure::Evaluation(names))),
            None if waiting.is_empty() => {
                Ok(Outcome::done(everything(&counted, &counted_services)))
            }
            None => Ok(Outcome::Wait(Wait::new(
                reasons::WAITING,
                format!("not ready: {}", waiting.join(", ")),
            ))),
        },
    };
    Report::new(conditions, outcome)
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

fn release_ready(observed: &Seen, release: Option<&Release>) -> Judgement {
    let judge = |status: ConditionStatus, reason, message: String| {
        Judgement::new(ConditionType::ReleaseReady, status, reason, message)
    };
    if let Err(failure) = observed {
        return judge(ConditionStatus::False, failure.reason(), failure.to_string());
    }
    let Some(release) = release else {
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
    let message = format!("{} evaluates for every machine", release.rev);
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
        .filter(|machine| !runs(machine, release))
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
