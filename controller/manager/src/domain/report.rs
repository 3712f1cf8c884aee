//! What a Domain's status says, from what was read back.

use cim_crds::conditions::{ConditionType, reasons};
use cim_crds::domain::dns::ZoneStatus;
use cim_crds::domain::nats::{AccountStatus, DomainNatsStatus};
use cim_crds::{Domain, DomainStatus, Kind, Mode};
use cim_nats::sync;
use cim_plan::Plan;

use super::Shared;
use super::apply::store;
use super::change::Change;
use super::failure::DomainFailure;
use super::observe::Observed;
use super::plan::planned;
use super::validate::{AccountsWanted, Desired, NatsWanted};
use super::zone::ZoneWanted;
use crate::driver::{Report, Visit};
use crate::outcome::{Failure, Outcome};
use crate::status::{Judgement, plan_status};

/// As many as the schema admits.
const CONFLICTS_SHOWN: usize = 20;

pub(super) async fn report(
    visit: &Visit<'_, Domain>,
    desired: &Desired,
    observed: &Observed,
    plan: &Plan<Change>,
    status: &mut DomainStatus,
) -> Report<DomainFailure> {
    status.clusters = desired.counts.clusters;
    status.machines = desired.counts.machines;
    status.services = desired.counts.services;
    status.conflicts = desired.conflicts.iter().take(CONFLICTS_SHOWN).cloned().collect();

    let mut zones = Zones::default();
    for (name, wanted) in &desired.zones {
        let before = status.zones.iter().find(|zone| zone.name == *name);
        let now = zones.zone(visit, name, wanted, observed, before).await;
        zones.status.push(now);
    }
    zones.failures.extend(desired.names.clone());
    status.zones = std::mem::take(&mut zones.status);

    let (nats, account_failures) = accounts(desired, observed, plan);
    status.nats = nats;

    let conditions = vec![
        judge(
            ConditionType::NamesPublished,
            &zones.failures,
            (zones.lacking > 0).then(|| {
                format!("{} of {} records are not as named", zones.lacking, zones.records)
            }),
            format!("{} zones hold {} records as named", desired.zones.len(), zones.records),
        ),
        judge(
            ConditionType::AccountsReady,
            &account_failures,
            lacking_accounts(plan),
            format!("{} accounts are on the servers as declared", declared(visit.object())),
        ),
    ];
    let failures = zones.failures.into_iter().chain(account_failures).collect();
    let outcome = match DomainFailure::of_parts(failures) {
        Some(failure) => Err(failure),
        None => Ok(Outcome::done(format!(
            "{} zones and {} accounts are as declared",
            desired.zones.len(),
            declared(visit.object())
        ))),
    };
    Report { held: zones.held, ..Report::new(conditions, outcome) }
}

fn declared(domain: &Domain) -> usize {
    domain.spec.nats.as_ref().map_or(0, |nats| nats.accounts.len())
}

/// What of the plan is still to be done for accounts.
fn lacking_accounts(plan: &Plan<Change>) -> Option<String> {
    let of_accounts = |change: &&Change| !matches!(change, Change::Zone { .. });
    let lacking: Vec<String> =
        plan.changes.iter().filter(of_accounts).map(ToString::to_string).collect();
    (!lacking.is_empty()).then(|| format!("still to be done: {}", lacking.join("; ")))
}

fn judge(
    condition: ConditionType,
    failures: &[Shared],
    lacking: Option<String>,
    fine: String,
) -> Judgement {
    let Some(first) = failures.first() else {
        return match lacking {
            None => Judgement::new(condition, true, reasons::SUCCEEDED, fine),
            Some(lacking) => Judgement::new(condition, false, reasons::CHANGED, lacking),
        };
    };
    let all: Vec<String> = failures.iter().map(ToString::to_string).collect();
    Judgement::new(condition, false, first.reason(), all.join("; "))
}

/// What is gathered over all zones.
#[derive(Default)]
struct Zones {
    status: Vec<ZoneStatus>,
    failures: Vec<Shared>,
    held: Option<cim_crds::PlanStatus>,
    records: usize,
    /// How many of them are not as they should be.
    lacking: usize,
}

impl Zones {
    async fn zone(
        &mut self,
        visit: &Visit<'_, Domain>,
        name: &str,
        wanted: &Result<ZoneWanted, Shared>,
        observed: &Observed,
        before: Option<&ZoneStatus>,
    ) -> ZoneStatus {
        let failed = match (wanted, observed.zones.get(name)) {
            (Err(failure), _) | (_, Some(Err(failure))) => Shared::clone(failure),
            (Ok(wanted), Some(Ok(seen))) => {
                match self.seen(visit, name, wanted, seen, before).await {
                    Ok(status) => return status,
                    Err(failure) => Shared::new(failure),
                }
            }
            (Ok(_), None) => return unknown(name, before, None),
        };
        let status = unknown(name, before, Some(&failed));
        self.failures.push(failed);
        status
    }

    /// A zone that was transferred.
    async fn seen(
        &mut self,
        visit: &Visit<'_, Domain>,
        name: &str,
        wanted: &ZoneWanted,
        seen: &cim_dns::Observed,
        before: Option<&ZoneStatus>,
    ) -> Result<ZoneStatus, DomainFailure> {
        let planned = planned(wanted, seen)?;
        if visit.object().mode() == Mode::Correct {
            // As it is after all changes: the next one must find what we wrote to be ours.
            store(visit, name, wanted, &planned.ledger).await?;
        }
        let before_failures = self.failures.len();
        if !planned.conflicts.is_empty() {
            let conflicts = planned.conflicts.iter().map(ToString::to_string).collect();
            self.fail(DomainFailure::Conflicts { zone: name.to_owned(), conflicts });
        }
        if !wanted.problems.is_empty() {
            let (reason, problems) = ("InvalidRecord", wanted.problems.clone());
            self.fail(DomainFailure::Names { reason, problems });
        }
        if let Some(held) = &planned.held {
            self.held.get_or_insert_with(|| plan_status(&held.plan));
            let (why, hash) = (held.reason.to_string(), held.hash.clone());
            self.fail(DomainFailure::DeletionHeld { zone: name.to_owned(), why, hash });
        }
        self.records += planned.counts.desired;
        self.lacking += planned.counts.desired.saturating_sub(planned.counts.in_sync);
        let error = self.failures.get(before_failures).map(bounded);
        let serial = Some(i64::from(seen.serial()));
        let unchanged = before.filter(|before| before.serial == serial);
        Ok(ZoneStatus {
            name: name.to_owned(),
            serial,
            records: u32::try_from(planned.counts.owned).unwrap_or(u32::MAX),
            foreign: u32::try_from(planned.counts.foreign).unwrap_or(u32::MAX),
            last_change_time: unchanged
                .and_then(|before| before.last_change_time.clone())
                .or_else(|| Some(visit.now().clone())),
            error,
        })
    }

    fn fail(&mut self, failure: DomainFailure) {
        self.failures.push(Shared::new(failure));
    }
}

/// As many characters as the schema admits.
fn bounded(what: &impl ToString) -> String {
    const MAX: usize = 1024;
    what.to_string().chars().take(MAX).collect()
}

/// A zone that could not be seen: its numbers stay, its serial goes.
fn unknown(name: &str, before: Option<&ZoneStatus>, error: Option<&Shared>) -> ZoneStatus {
    ZoneStatus {
        name: name.to_owned(),
        serial: None,
        records: before.map_or(0, |before| before.records),
        foreign: before.map_or(0, |before| before.foreign),
        last_change_time: before.and_then(|before| before.last_change_time.clone()),
        error: error.map(bounded),
    }
}

/// The NATS part of the status, and what is wrong with it.
fn accounts(
    desired: &Desired,
    observed: &Observed,
    plan: &Plan<Change>,
) -> (Option<DomainNatsStatus>, Vec<Shared>) {
    let mut failures = Vec::new();
    let wanted = match &desired.nats {
        None | Some(Ok(NatsWanted::Operator { .. })) => return (None, failures),
        Some(Err(failure)) => {
            failures.push(Shared::clone(failure));
            return (None, failures);
        }
        Some(Ok(NatsWanted::Accounts(wanted))) => wanted,
    };
    if !wanted.problems.is_empty() {
        failures.push(Shared::new(DomainFailure::Accounts(wanted.problems.clone())));
    }
    let operator = Some(wanted.bundle.operator_key().to_string());
    let seen = match &observed.accounts {
        Some(Ok(seen)) => seen,
        Some(Err(failure)) => {
            failures.push(Shared::clone(failure));
            return (Some(DomainNatsStatus { operator, ..DomainNatsStatus::default() }), failures);
        }
        None => {
            return (Some(DomainNatsStatus { operator, ..DomainNatsStatus::default() }), failures);
        }
    };
    let signer = &wanted.desired.signer;
    if seen.servers.iter().any(|state| !state.server.trusts.contains(signer)) {
        failures.push(Shared::new(DomainFailure::NotTrusted(signer.to_string())));
    }
    let accounts = wanted
        .keys
        .iter()
        .map(|(name, keys)| account_status(name, &keys.account(), wanted, seen, plan))
        .collect();
    let servers = u32::try_from(seen.servers.len()).unwrap_or(u32::MAX);
    (Some(DomainNatsStatus { operator, servers, accounts }), failures)
}

fn account_status(
    name: &str,
    key: &cim_nats::keys::AccountKey,
    wanted: &AccountsWanted,
    seen: &sync::Observed,
    plan: &Plan<Change>,
) -> AccountStatus {
    let copies = seen.accounts.get(key).map(Vec::as_slice).unwrap_or_default();
    let tokens: Vec<_> = copies.iter().filter_map(cim_nats::system::Lookup::token).collect();
    // As declared, on every server: nothing is left to do for it.
    let settled = wanted.desired.accounts.contains_key(key)
        && !plan
            .changes
            .iter()
            .any(|change| matches!(change, Change::Account(change) if change.account() == key));
    AccountStatus {
        name: name.to_owned(),
        public_key: Some(key.to_string()),
        jti: tokens.first().filter(|_| settled).map(|token| token.claims().jti.clone()),
        servers: u32::try_from(tokens.len()).unwrap_or(u32::MAX),
    }
}
