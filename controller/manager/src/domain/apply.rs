//! Carrying out a Domain's plan. One part's failure leaves the others to be tried.

use std::collections::BTreeMap;

use cim_crds::Domain;
use cim_dns::{Ledger, Outcome};
use cim_nats::account::AccountKeys;
use cim_nats::{OperatorBundle, sync};
use cim_plan::Plan;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::change::Change;
use super::failure::DomainFailure;
use super::observe::{Observed, client};
use super::plan::planned;
use super::validate::{AccountsWanted, Desired, NatsWanted};
use super::zone::{LEDGER_KEY, ZoneWanted, ledger_name};
use super::{Reconciler, Shared, id};
use crate::driver::Visit;
use crate::kube::{Fate, Kube};

pub(super) async fn apply(
    reconciler: &Reconciler,
    visit: &Visit<'_, Domain>,
    desired: &Desired,
    observed: &Observed,
    plan: &Plan<Change>,
) -> Result<(), DomainFailure> {
    let mut failures = Vec::new();
    let mut parts = Parts::of(plan);
    for (name, wanted) in &desired.zones {
        let Some(changes) = parts.zones.remove(name) else { continue };
        if let (Ok(wanted), Some(Ok(observed))) = (wanted, observed.zones.get(name)) {
            let made = zone(reconciler, visit, name, wanted, observed, changes).await;
            failures.extend(made.err());
        }
    }
    for making in parts.secrets {
        failures.extend(secret(visit, desired, making).await.err());
    }
    if let Some(Ok(NatsWanted::Accounts(wanted))) = &desired.nats
        && let Some(Ok(observed)) = &observed.accounts
        && !parts.accounts.is_empty()
    {
        let plan = Plan::new(parts.accounts, Vec::new());
        failures.extend(accounts(reconciler, visit, wanted, observed, &plan).await.err());
    }
    let failures = failures.into_iter().map(Shared::new).collect();
    DomainFailure::of_parts(failures).map_or(Ok(()), Err)
}

/// A plan taken apart.
#[derive(Default)]
struct Parts<'a> {
    zones: BTreeMap<String, Vec<cim_dns::Change>>,
    secrets: Vec<&'a Change>,
    accounts: Vec<sync::Change>,
}

impl<'a> Parts<'a> {
    fn of(plan: &'a Plan<Change>) -> Self {
        let mut parts = Self::default();
        for change in &plan.changes {
            match change {
                Change::Zone { zone, change } => {
                    parts.zones.entry(zone.clone()).or_default().push(change.clone());
                }
                Change::MakeOperator { .. } | Change::MakeKeys { .. } => parts.secrets.push(change),
                Change::Account(change) => parts.accounts.push(change.clone()),
            }
        }
        parts
    }
}

async fn zone(
    reconciler: &Reconciler,
    visit: &Visit<'_, Domain>,
    name: &str,
    wanted: &ZoneWanted,
    observed: &cim_dns::Observed,
    changes: Vec<cim_dns::Change>,
) -> Result<(), DomainFailure> {
    // First what is to be ours: a crash in between leaves no record that nobody knows to be.
    store(visit, name, wanted, &planned(wanted, observed)?.ledger).await?;
    let plan = Plan::new(changes, Vec::new());
    let sending = wanted.primary.apply(&wanted.zone, &plan);
    let report = reconciler
        .metrics
        .external("dns", "apply", async {
            let report = sending.await;
            if report.stopped.is_some() { Err(report) } else { Ok(report) }
        })
        .await
        .unwrap_or_else(|stopped| stopped);
    if let Some(source) = report.stopped {
        return Err(DomainFailure::Zone { zone: name.to_owned(), source: Box::new(source) });
    }
    let not_made: Vec<String> = plan
        .changes
        .iter()
        .zip(&report.outcomes)
        .filter_map(|(change, outcome)| {
            let why = match outcome {
                // Overtaken: somebody else was faster; the next look shows what is left to do.
                Outcome::Accepted | Outcome::Overtaken(_) => return None,
                Outcome::Refused(rcode) => rcode.to_string(),
                Outcome::TooLarge => "larger than a message can be".to_owned(),
                Outcome::Unknown | Outcome::NotSent => "no answer".to_owned(),
            };
            Some(format!("{change} ({why})"))
        })
        .collect();
    if not_made.is_empty() {
        return Ok(());
    }
    Err(DomainFailure::NotMade { zone: name.to_owned(), changes: not_made })
}

/// Stores what is ours in a zone, if that differs from what is stored.
pub(super) async fn store(
    visit: &Visit<'_, Domain>,
    zone: &str,
    wanted: &ZoneWanted,
    ledger: &Ledger,
) -> Result<(), DomainFailure> {
    let name = ledger_name(visit.name(), zone);
    let text = serde_json::to_string(ledger)
        .map_err(|error| DomainFailure::Ledger { name: name.clone(), why: error.to_string() })?;
    if wanted.stored.as_deref() == Some(text.as_str())
        || (wanted.stored.is_none() && ledger.is_empty())
    {
        return Ok(());
    }
    let object = ConfigMap {
        metadata: Kube::owned(visit.object(), &name, Fate::Goes),
        data: Some([(LEDGER_KEY.to_owned(), text)].into()),
        ..ConfigMap::default()
    };
    visit.kube().apply_owned(&object).await?;
    Ok(())
}

async fn secret(
    visit: &Visit<'_, Domain>,
    desired: &Desired,
    making: &Change,
) -> Result<(), DomainFailure> {
    match making {
        Change::MakeOperator { secret, name } => {
            let now = std::time::SystemTime::now().into();
            let bundle = OperatorBundle::generate(name, now)?;
            // Created, never applied: an operator that is there is not replaced.
            visit.kube().create_owned(&sealed(visit, secret, bundle.to_data())).await?;
        }
        Change::MakeKeys { account, secret, .. } => {
            let Some(Ok(NatsWanted::Accounts(wanted))) = &desired.nats else { return Ok(()) };
            let Some(making) = wanted.keys_to_make.iter().find(|making| making.account == *account)
            else {
                return Ok(());
            };
            let mut keys = match wanted.keys.get(account) {
                Some(keys) => keys.clone(),
                None => AccountKeys::generate()?,
            };
            keys.set_roles(&making.roles)?;
            let object = sealed(visit, secret, keys.to_data());
            if making.new {
                visit.kube().create_owned(&object).await?;
            } else {
                visit.kube().apply_owned(&object).await?;
            }
        }
        Change::Zone { .. } | Change::Account(_) => {}
    }
    Ok(())
}

/// A Secret that stays when the Domain goes: it is the only copy of a key on which accounts rest.
fn sealed(visit: &Visit<'_, Domain>, name: &str, data: BTreeMap<String, String>) -> Secret {
    let data =
        data.into_iter().map(|(key, text)| (key, k8s_openapi::ByteString(text.into_bytes())));
    Secret {
        metadata: Kube::owned(visit.object(), name, Fate::Stays),
        type_: Some("Opaque".to_owned()),
        data: Some(data.collect()),
        ..Secret::default()
    }
}

async fn accounts(
    reconciler: &Reconciler,
    visit: &Visit<'_, Domain>,
    wanted: &AccountsWanted,
    observed: &sync::Observed,
    plan: &Plan<sync::Change>,
) -> Result<(), DomainFailure> {
    let domain = id(visit.object());
    let client = client(reconciler, &domain, wanted).await?;
    let servers: Vec<_> = observed.servers.iter().map(|state| state.server.clone()).collect();
    let pushing = sync::apply(&client, wanted.bundle.signing(), &servers, plan);
    let applied = reconciler.metrics.external("nats", "apply", pushing).await?;
    reconciler.memory.keep_issued(&domain, applied.issued);
    if applied.failures.is_empty() {
        return Ok(());
    }
    let told = |failure: &sync::Failure| format!("account {}: {}", failure.name, failure.why);
    Err(DomainFailure::Accounts(applied.failures.iter().map(told).collect()))
}
