//! What a Service's status says, from what was read back.

use std::sync::Arc;
use std::time::Duration;

use cim_crds::conditions::{ConditionStatus, ConditionType, reasons};
use cim_crds::service::RoleStatus;
use cim_crds::service::nats::ServiceNatsStatus;
use cim_crds::{Service, ServiceStatus};

use super::ServiceFailure;
use super::nats::{AccountWanted, Credentials, NatsWanted};
use super::observe::{Observed, Serving};
use super::validate::Desired;
use crate::checks::Troubles;
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
    let ready = machines - observed.serving.machines.len();
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
    let (all, serving) = (desired.machines.len(), &observed.serving);
    let judge = |status, reason, message: &str| {
        Judgement::new(ConditionType::Available, status, reason, message)
    };
    if all == 0 {
        let message = "no machine is selected";
        let wait = Wait::new("NoMachines", message);
        return (judge(ConditionStatus::False, "NoMachines", message), Some(wait));
    }
    if serving.whole.is_empty() && serving.machines.is_empty() {
        let message = format!("{all} of {all} machines serve");
        return (judge(ConditionStatus::True, reasons::SUCCEEDED, &message), None);
    }
    let on = |(machine, troubles): (&String, &Troubles)| {
        format!("Machine {machine}: {}", troubles.told().join(", "))
    };
    let whole = serving.whole.told().into_iter();
    let message = whole.chain(serving.machines.iter().map(on)).collect::<Vec<_>>().join("; ");
    let troubles = || serving.machines.values().chain([&serving.whole]);
    let fails = troubles().any(|troubles| !troubles.failing.is_empty());
    let reason = if fails { "ChecksFailing" } else { "ChecksUnknown" };
    let status = enough(all, desired.may_lack, serving);
    (
        judge(status, reason, &message),
        Some(Wait::new(reason, message).after(Duration::from_secs(10))),
    )
}

/// Whether enough of `all` machines serve: not if those lack that were seen to fail; not known if
/// it takes those of which nobody knows.
fn enough(all: usize, may_lack: usize, serving: &Serving) -> ConditionStatus {
    let lacking = |count: usize| count >= all || count > may_lack;
    let failing = |troubles: &&Troubles| !troubles.failing.is_empty();
    let failed = serving.machines.values().filter(failing).count();
    if failing(&&serving.whole) || lacking(failed) {
        ConditionStatus::False
    } else if !serving.whole.is_empty() || lacking(serving.machines.len()) {
        ConditionStatus::Unknown
    } else {
        ConditionStatus::True
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Verdict;

    fn serving(failing: usize, unknown: usize) -> Serving {
        let troubles = |count: usize, is_failing: bool| {
            (0..count).map(move |n| {
                let list = vec!["x".to_owned()];
                let (failing, unknown) = if is_failing { (list, vec![]) } else { (vec![], list) };
                (format!("{is_failing}{n}"), Troubles { failing, unknown })
            })
        };
        let machines = troubles(failing, true).chain(troubles(unknown, false)).collect();
        Serving { machines, ..Serving::default() }
    }

    #[test]
    fn what_is_not_known_does_not_make_it_available() {
        use ConditionStatus::{False, True, Unknown};
        for (all, may_lack, failing, unknown, wanted) in [
            (3, 1, 1, 0, True),
            (3, 1, 2, 0, False),
            (3, 1, 1, 1, Unknown),
            (3, 1, 0, 1, True),
            (3, 1, 0, 2, Unknown),
            (1, 1, 1, 0, False),
            (1, 1, 0, 1, Unknown),
        ] {
            let found = enough(all, may_lack, &serving(failing, unknown));
            assert_eq!(found, wanted, "{all} {may_lack} {failing} {unknown}");
        }
    }

    #[test]
    fn what_holds_for_the_whole_is_lacked_by_all() {
        let whole = |verdict| {
            let mut serving = serving(0, 0);
            serving.whole.note(verdict);
            enough(3, 1, &serving)
        };
        assert_eq!(whole(Verdict::Failing("x".into())), ConditionStatus::False);
        assert_eq!(whole(Verdict::Unknown("x".into())), ConditionStatus::Unknown);
    }
}
