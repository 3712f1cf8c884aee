//! The Services on a machine, and whether their checks hold as seen from it.
//!
//! The machine's visits make them for two reasons: commands take the connection that only a Machine
//! has, and a rollout may go on only when the Services of a machine were seen to serve *after* it took
//! the release, which is certain when it is seen on the same visit.

use std::sync::Arc;

use cim_crds::machine::service_checks::{CheckResult, CheckTrouble, ServiceChecks};
use cim_crds::{Machine, Service};
use cim_nixos::Host;
use kube::ResourceExt;

use super::validate::Desired;
use crate::checks::{Check, Place, Verdict, run_all};
use crate::scope::Caches;

/// The most that a status has room for.
const MAX: usize = 256;

/// A Service with checks that has a role on the machine.
pub(super) struct ServiceHere {
    pub(super) name: String,
    pub(super) generation: i64,
    /// All of them, in the order of the spec.
    pub(super) checks: Vec<Check>,
}

/// The Services with checks of which a role is on `machine`, as they say themselves, by name.
pub(super) fn here(caches: &Caches, machine: &Machine) -> Vec<Arc<Service>> {
    let (namespace, name) = (machine.namespace().unwrap_or_default(), machine.name_any());
    let mut here = caches.services.list(&namespace);
    here.retain(|service| !service.spec.checks.is_empty() && is_on(service, &name));
    here.sort_by_key(|service| service.name_any());
    here.truncate(MAX);
    here
}

/// Whether a role of `service` is on `machine`, as the Service says.
fn is_on(service: &Service, machine: &str) -> bool {
    let roles = service.status.iter().flat_map(|status| &status.roles);
    roles.into_iter().any(|role| role.machines.iter().any(|name| name == machine))
}

/// Makes the checks of all of them.
pub(super) async fn look(host: &Host, desired: &Desired) -> Vec<ServiceChecks> {
    let place = Place { address: desired.address, host: Some(host) };
    let mut seen = Vec::with_capacity(desired.services.len());
    // One after another, so that a machine with many Services is not asked everything at once.
    for service in &desired.services {
        let verdicts = run_all(&service.checks, place).await;
        let troubles = verdicts.into_iter().enumerate().filter_map(trouble);
        seen.push(ServiceChecks {
            name: service.name.clone(),
            generation: service.generation,
            troubles: troubles.collect(),
        });
    }
    seen
}

fn trouble((index, verdict): (usize, Verdict)) -> Option<CheckTrouble> {
    let (result, message) = match verdict {
        Verdict::Passing => return None,
        Verdict::Failing(message) => (CheckResult::Failing, message),
        Verdict::Unknown(message) => (CheckResult::Unknown, message),
    };
    Some(CheckTrouble { check: u32::try_from(index).unwrap_or(u32::MAX), result, message })
}

/// Whether the checks of all Services on it hold, as far as they were seen.
pub(super) fn serve(services: &[ServiceChecks]) -> bool {
    services.iter().all(|service| service.troubles.is_empty())
}
