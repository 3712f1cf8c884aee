//! What a Cluster's status says.

use cim_crds::conditions::{ConditionType, is_true, reasons};
use cim_crds::{Cluster, ClusterStatus, Kind};
use kube::ResourceExt;

use super::failure::ClusterFailure;
use crate::driver::{Report, Visit};
use crate::outcome::{Outcome, Wait};
use crate::scope::Caches;
use crate::status::Judgement;

/// Counts what belongs to the Cluster, and judges it by them.
pub(super) fn report(
    visit: &Visit<'_, Cluster>,
    caches: &Caches,
    status: &mut ClusterStatus,
) -> Report<ClusterFailure> {
    let (namespace, name) = (visit.namespace(), visit.name());
    let machines = caches.machines.list(namespace);
    let machines = machines.iter().filter(|machine| machine.spec.cluster == name);
    let (machines, machines_not_ready) = tally(machines.map(AsRef::as_ref));
    let services = caches.services.list(namespace);
    let services = services.iter().filter(|service| service.spec.cluster == name);
    let (services, services_not_ready) = tally(services.map(AsRef::as_ref));

    status.machines = machines;
    status.machines_ready = machines - count(&machines_not_ready);
    status.machine_count = Some(format!("{}/{machines}", status.machines_ready));
    status.services = services;
    status.services_ready = services - count(&services_not_ready);
    status.service_count = Some(format!("{}/{services}", status.services_ready));

    let waiting: Vec<String> = [("Machine", machines_not_ready), ("Service", services_not_ready)]
        .into_iter()
        .flat_map(|(kind, names)| names.into_iter().map(move |name| format!("{kind} {name}")))
        .collect();
    if waiting.is_empty() {
        let message = format!("{machines} machines and {services} services are ready");
        let available =
            Judgement::new(ConditionType::Available, true, reasons::SUCCEEDED, message.as_str());
        return Report::new(vec![available], Ok(Outcome::done(message)));
    }
    let message = format!("not ready: {}", waiting.join(", "));
    let available =
        Judgement::new(ConditionType::Available, false, reasons::WAITING, message.as_str());
    let outcome = Ok(Outcome::Wait(Wait::new(reasons::WAITING, message)));
    Report::new(vec![available], outcome)
}

fn count(names: &[String]) -> u32 {
    u32::try_from(names.len()).unwrap_or(u32::MAX)
}

/// How many there are, and the names of those that are not ready.
fn tally<'a, K: Kind>(objects: impl Iterator<Item = &'a K>) -> (u32, Vec<String>) {
    let mut total = 0;
    let mut not_ready = Vec::new();
    for object in objects {
        total += 1;
        let ready = object.status_common().is_some_and(|common| {
            common.observed_generation == object.meta().generation.unwrap_or(0)
                && is_true(&common.conditions, ConditionType::Ready)
        });
        if !ready {
            not_ready.push(object.name_any());
        }
    }
    (total, not_ready)
}
