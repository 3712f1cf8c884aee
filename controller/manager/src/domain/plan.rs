//! The zones' plans and the accounts' plan, as one. Pure.

use std::collections::BTreeSet;

use cim_dns::{Edit, Name, Planned};
use cim_nats::sync;
use cim_plan::{Finding, Plan};

use super::change::Change;
use super::failure::DomainFailure;
use super::observe::Observed;
use super::validate::{AccountsWanted, Desired, NatsWanted};
use super::zone::ZoneWanted;

pub(super) fn plan(desired: &Desired, observed: &Observed) -> Plan<Change> {
    let mut changes = Vec::new();
    let mut findings = Vec::new();
    for (name, wanted) in &desired.zones {
        match zone(name, wanted, observed) {
            Ok(planned) => {
                let of_zone = |change| Change::Zone { zone: name.clone(), change };
                changes.extend(planned.plan.changes.into_iter().map(of_zone));
                findings.extend(planned.plan.findings);
            }
            Err(why) => {
                findings.push(Finding::unverified(format!("zone {name}"), "its records", why));
            }
        }
    }
    match &desired.nats {
        None => {}
        Some(Err(why)) => findings.push(unverified_accounts(why)),
        Some(Ok(NatsWanted::Operator { secret, name })) => {
            findings.push(Finding::missing("NATS operator", name));
            changes.push(Change::MakeOperator { secret: secret.clone(), name: name.clone() });
        }
        Some(Ok(NatsWanted::Accounts(wanted))) => {
            accounts(wanted, observed, &mut changes, &mut findings);
        }
    }
    Plan::new(changes, findings)
}

/// The plan of one zone, or why there is none.
pub(super) fn zone(
    name: &str,
    wanted: &Result<ZoneWanted, super::Shared>,
    observed: &Observed,
) -> Result<Planned, String> {
    let wanted = wanted.as_ref().map_err(ToString::to_string)?;
    match observed.zones.get(name) {
        Some(Ok(observed)) => planned(wanted, observed).map_err(|error| error.to_string()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("it was not looked at".to_owned()),
    }
}

/// The plan of one zone, in which nothing is taken away at names that are not certain.
pub(super) fn planned(
    wanted: &ZoneWanted,
    observed: &cim_dns::Observed,
) -> Result<Planned, DomainFailure> {
    let ZoneWanted { desired, ledger, rules, held, zone, .. } = wanted;
    let mut planned = cim_dns::plan(desired, observed, ledger, rules).map_err(|source| {
        DomainFailure::Zone { zone: zone.to_string(), source: Box::new(source) }
    })?;
    keep_uncertain(&mut planned.plan.changes, held);
    Ok(planned)
}

/// Drops edits that would take values away from names in `held`.
fn keep_uncertain(changes: &mut Vec<cim_dns::Change>, held: &BTreeSet<Name>) {
    for change in changes.iter_mut().filter(|change| held.contains(&change.name)) {
        change.edits.retain(only_adds);
    }
    changes.retain(|change| !change.edits.is_empty());
}

fn only_adds(edit: &Edit) -> bool {
    match (&edit.before, &edit.after) {
        (None, _) => true,
        (Some(before), Some(after)) => before.values.is_subset(&after.values),
        (Some(_), None) => false,
    }
}

fn accounts(
    wanted: &AccountsWanted,
    observed: &Observed,
    changes: &mut Vec<Change>,
    findings: &mut Vec<Finding>,
) {
    for keys in &wanted.keys_to_make {
        let roles: Vec<String> = keys.roles.iter().map(ToString::to_string).collect();
        findings.push(Finding::missing(
            format!("keys of account {}", keys.account),
            if roles.is_empty() { "its own".to_owned() } else { roles.join(", ") },
        ));
        changes.push(Change::MakeKeys {
            account: keys.account.clone(),
            secret: keys.secret.clone(),
            roles,
            new: keys.new,
        });
    }
    if !wanted.keys_to_make.is_empty() {
        // What the servers should have is known when the keys are.
        return;
    }
    let planned = match &observed.accounts {
        Some(Ok(observed)) => {
            sync::plan(&wanted.desired, observed).map_err(|error| error.to_string())
        }
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the servers were not asked".to_owned()),
    };
    match planned {
        Ok(plan) => {
            changes.extend(plan.changes.into_iter().map(Change::Account));
            findings.extend(plan.findings);
        }
        Err(why) => findings.push(unverified_accounts(&why)),
    }
}

fn unverified_accounts(why: &impl ToString) -> Finding {
    Finding::unverified("NATS accounts", "as declared", why.to_string())
}

#[cfg(test)]
mod tests {
    use cim_dns::{Rdata, RecordType, RrSet};

    use super::*;

    fn set(last: &[u8]) -> RrSet {
        RrSet::new(300, last.iter().map(|last| Rdata::A([10, 0, 0, *last].into())))
    }

    fn change(name: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> cim_dns::Change {
        let edit = Edit { kind: RecordType::A, before: before.map(set), after: after.map(set) };
        cim_dns::Change { name: name.parse().expect("name"), edits: vec![edit], vacant: false }
    }

    #[test]
    fn nothing_is_taken_away_from_a_name_that_is_not_certain() {
        let held = BTreeSet::from(["a.example.com".parse().expect("name")]);
        let kept = |change: cim_dns::Change| {
            let mut changes = vec![change];
            keep_uncertain(&mut changes, &held);
            !changes.is_empty()
        };
        assert!(kept(change("a.example.com", None, Some(&[1]))));
        assert!(kept(change("a.example.com", Some(&[1]), Some(&[1, 2]))));
        assert!(!kept(change("a.example.com", Some(&[1, 2]), Some(&[1]))));
        assert!(!kept(change("a.example.com", Some(&[1]), None)));
        assert!(kept(change("b.example.com", Some(&[1]), None)));
    }
}
