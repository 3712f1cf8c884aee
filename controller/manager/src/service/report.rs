//! What a Service's status says, from what was read back.

use std::sync::Arc;
use std::time::Duration;

use cim_crds::conditions::{ConditionType, reasons};
use cim_crds::service::RoleStatus;
use cim_crds::service::nats::ServiceNatsStatus;
use cim_crds::{Service, ServiceStatus};

use super::ServiceFailure;
use super::nats::{AccountWanted, Credentials, NatsWanted};
use super::observe::Observed;
use super::validate::Desired;
use crate::driver::{Report, Visit};
use crate::outcome::{Failure, Outcome, Stop, Wait};
use crate::status::Judgement;

pub(super) fn report(
    visit: &Visit<'_, Service>,
    desired: &Desired,
    observed: &Observed,
    status: &mut ServiceStatus,
) -> Report<ServiceFailure> {
    let service = visit.object();
    status.fqdn = desired.fqdn.as_ref().map(ToString::to_string);
    status.roles = roles(desired);
    status.nats = service.spec.nats.as_ref().map(|nats| ServiceNatsStatus {
        account: nats.account.clone(),
        account_public_key: account(desired).map(|account| account.key.to_string()),
    });
    let machines = desired.machines.len();
    let ready = machines - observed.failing.len();
    status.machines = u32::try_from(machines).unwrap_or(u32::MAX);
    status.machines_ready = u32::try_from(ready).unwrap_or(u32::MAX);
    status.machine_count = Some(format!("{ready}/{machines}"));

    let (placed, names) = placed(desired);
    let (nats_ready, nats) = nats_ready(desired, observed);
    let (available, serving) = available(desired, observed);
    let serves = serving.is_none();
    if serves && desired.unsettled.is_none() {
        // It stays: a later failure must not take the names of those who still serve.
        status.published_since.get_or_insert_with(|| visit.now().clone());
    }
    let published = published(service, desired, status, serves);
    let outcome = match (names, nats, serving) {
        (Some(failure), ..) | (None, Some(Stop::Fail(failure)), _) => Err(failure),
        (None, Some(Stop::Wait(wait)), _) | (None, None, Some(wait)) => Ok(Outcome::Wait(wait)),
        (None, None, None) => Ok(Outcome::done(format!("{machines} machines serve"))),
    };
    Report::new(vec![available, placed, nats_ready, published], outcome)
}

/// Whether DNS may have its public endpoints.
fn published(
    service: &Service,
    desired: &Desired,
    status: &ServiceStatus,
    serves: bool,
) -> Judgement {
    let judge = |is, reason, message: &str| {
        Judgement::new(ConditionType::Published, is, reason, message.to_owned())
    };
    if !service.spec.endpoints.iter().any(|endpoint| endpoint.public) {
        return judge(true, reasons::SUCCEEDED, "it has no public endpoints");
    }
    match (&status.published_since, &desired.unsettled) {
        (Some(_), _) => judge(true, reasons::SUCCEEDED, "it was seen to serve with the release"),
        (None, _) if !serves => judge(false, "ChecksFailing", "its checks do not hold yet"),
        (None, why) => judge(false, "ReleasePending", why.as_deref().unwrap_or_default()),
    }
}

fn account(desired: &Desired) -> Option<&AccountWanted> {
    match &desired.nats {
        Some(NatsWanted::Account(account)) => Some(account),
        _ => None,
    }
}

fn roles(desired: &Desired) -> Vec<RoleStatus> {
    let placements = desired.roles.iter().enumerate();
    placements
        .map(|(index, placement)| {
            let wanted = account(desired).and_then(|account| account.roles.get(index));
            let issued = wanted.filter(|role| matches!(role.credentials, Credentials::Good(_)));
            RoleStatus {
                name: placement.name.clone(),
                machines: placement.machines.iter().cloned().collect(),
                addresses: placement.addresses.iter().map(ToString::to_string).collect(),
                signing_key: wanted.map(|role| role.key.public().to_string()),
                credentials_secret: issued.map(|role| role.secret.clone()),
                error: placement.error.as_ref().map(|error| error.chars().take(1024).collect()),
            }
        })
        .collect()
}

fn placed(desired: &Desired) -> (Judgement, Option<ServiceFailure>) {
    let Some(reason) = desired.reason else {
        let message = format!("{} roles are placed", desired.roles.len());
        return (Judgement::new(ConditionType::Placed, true, reasons::SUCCEEDED, message), None);
    };
    let problems = desired.problems.clone();
    let judgement =
        Judgement::new(ConditionType::Placed, false, reason, desired.problems.join("; "));
    (judgement, Some(ServiceFailure::Names { reason, problems }))
}

/// Whether NATS admits every role with its permissions, and has the streams.
fn nats_ready(desired: &Desired, observed: &Observed) -> (Judgement, Option<Stop<ServiceFailure>>) {
    let judge = |status: bool, reason, message: String| {
        Judgement::new(ConditionType::NatsReady, status, reason, message)
    };
    let wait =
        |wait: Wait| (judge(false, wait.reason, wait.message.clone()), Some(Stop::Wait(wait)));
    let fail = |failure: ServiceFailure| {
        (judge(false, failure.reason(), failure.to_string()), Some(Stop::Fail(failure)))
    };
    let account = match &desired.nats {
        None => {
            return (judge(true, reasons::SUCCEEDED, "it has no part in NATS".to_owned()), None);
        }
        Some(NatsWanted::Wait(pending)) => return wait(pending.clone()),
        Some(NatsWanted::Account(account)) => account,
    };
    for role in &account.roles {
        match observed.logins.get(&role.role) {
            Some(Ok(login)) if account.admits(role, login) => {}
            // Its key is made, and the Domain is about to push it.
            Some(Ok(_)) => return wait(pending(account, &role.role, "has other permissions")),
            Some(Err(error)) if refused(error) => {
                return wait(pending(account, &role.role, "is not admitted"));
            }
            Some(Err(error)) => return fail(ServiceFailure::Told(Arc::clone(error))),
            None => return wait(pending(account, &role.role, "has no credentials")),
        }
    }
    if let Some(Err(error)) = &observed.streams {
        return fail(ServiceFailure::Told(Arc::clone(error)));
    }
    let message = format!("{} roles are admitted to account {}", account.roles.len(), account.name);
    (judge(true, reasons::SUCCEEDED, message), None)
}

fn refused(error: &cim_nats::Error) -> bool {
    crate::domain::nats_reason(error) == reasons::AUTHENTICATION_FAILED
}

fn pending(account: &AccountWanted, role: &str, what: &str) -> Wait {
    let message =
        format!("role {role} {what} yet: waits for the Domain to push account {}", account.name);
    Wait::new("AccountPending", message).after(Duration::from_secs(5))
}

/// Whether enough machines serve; and what is waited for until all do.
fn available(desired: &Desired, observed: &Observed) -> (Judgement, Option<Wait>) {
    let (machines, failing) = (desired.machines.len(), observed.failing.len());
    let enough = machines > failing && failing <= desired.may_lack;
    if failing == 0 && enough {
        let message = format!("{machines} of {machines} machines serve");
        return (Judgement::new(ConditionType::Available, true, reasons::SUCCEEDED, message), None);
    }
    if machines == 0 {
        let message = "no machine is selected".to_owned();
        let judgement =
            Judgement::new(ConditionType::Available, false, "NoMachines", message.clone());
        return (judgement, Some(Wait::new("NoMachines", message)));
    }
    let told: Vec<String> = observed
        .failing
        .iter()
        .map(|(machine, checks)| format!("Machine {machine}: {}", checks.join(", ")))
        .collect();
    let message = told.join("; ");
    let judgement =
        Judgement::new(ConditionType::Available, enough, "ChecksFailing", message.clone());
    (judgement, Some(Wait::new("ChecksFailing", message).after(Duration::from_secs(10))))
}
