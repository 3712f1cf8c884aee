//! Credentials to issue and streams to make. Pure.

use cim_nats::jetstream;
use cim_plan::{Finding, Plan};

use super::change::Change;
use super::nats::{AccountWanted, Credentials, NatsWanted, RoleWanted};
use super::observe::Observed;
use super::validate::Desired;

pub(super) fn plan(desired: &Desired, observed: &Observed) -> Plan<Change> {
    let Some(NatsWanted::Account(account)) = &desired.nats else { return Plan::default() };
    let mut changes = Vec::new();
    let mut findings = Vec::new();
    for role in &account.roles {
        let subject = format!("credentials of role {}", role.role);
        let issue = || Change::Issue { role: role.role.clone(), secret: role.secret.clone() };
        match &role.credentials {
            Credentials::Missing => {
                findings.push(Finding::missing(subject, &role.secret));
                changes.push(issue());
            }
            Credentials::Stale(why) => {
                findings.push(Finding::changed(subject, "signed by the role's key", why));
                changes.push(issue());
            }
            Credentials::Good(_) => {
                findings.extend(not_admitted(&subject, account, role, observed));
            }
        }
    }
    streams(account, observed, &mut changes, &mut findings);
    Plan::new(changes, findings)
}

/// What is wrong with a login; the Domain mends it.
fn not_admitted(
    subject: &str,
    account: &AccountWanted,
    role: &RoleWanted,
    observed: &Observed,
) -> Option<Finding> {
    match observed.logins.get(&role.role) {
        Some(Ok(login)) if account.admits(role, login) => None,
        Some(Ok(_)) => Some(Finding::changed(
            subject,
            "admitted with the declared permissions",
            "admitted with others",
        )),
        Some(Err(error)) => Some(Finding::unverified(subject, "admitted", error.to_string())),
        None => Some(Finding::unverified(subject, "admitted", "not tried")),
    }
}

fn streams(
    account: &AccountWanted,
    observed: &Observed,
    changes: &mut Vec<Change>,
    findings: &mut Vec<Finding>,
) {
    let planned = match &observed.streams {
        None => return,
        Some(Ok(seen)) => {
            jetstream::plan(&account.streams, seen).map_err(|error| error.to_string())
        }
        Some(Err(error)) => Err(error.to_string()),
    };
    match planned {
        Ok(plan) => {
            changes.extend(plan.changes.into_iter().map(Change::Stream));
            findings.extend(plan.findings);
        }
        Err(why) => findings.push(Finding::unverified("streams", "as declared", why)),
    }
}
