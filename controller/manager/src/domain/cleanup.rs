//! What a deleted Domain takes with it, where its policy says Delete: the records that are ours, and
//! the accounts. The Secrets with their keys stay; they are the only copies.

use std::collections::BTreeMap;

use cim_crds::Domain;
use cim_dns::Release;
use cim_nats::sync;

use super::failure::DomainFailure;
use super::gather::gather;
use super::observe::{client, observe};
use super::plan::planned;
use super::validate::{NatsWanted, validate};
use super::{Reconciler, Shared, id};
use crate::driver::Visit;
use crate::outcome::Outcome;

pub(super) async fn cleanup(
    reconciler: &Reconciler,
    visit: &Visit<'_, Domain>,
) -> Result<Outcome, DomainFailure> {
    let inputs = gather(reconciler, visit).await?;
    let mut desired = validate(reconciler, visit.object(), inputs);
    for (_, wanted) in &mut desired.zones {
        if let Ok(wanted) = wanted {
            wanted.desired = cim_dns::Desired::new(wanted.zone.clone());
            wanted.rules.release = Release::Everything;
            wanted.held.clear();
        }
    }
    let observed = observe(reconciler, visit, &desired).await;
    let mut failures = Vec::new();
    for (name, wanted) in &desired.zones {
        match (wanted, observed.zones.get(name)) {
            (Err(failure), _) | (_, Some(Err(failure))) => failures.push(Shared::clone(failure)),
            (Ok(wanted), Some(Ok(seen))) => {
                let planned = planned(wanted, seen)?;
                let report = wanted.primary.apply(&wanted.zone, &planned.plan).await;
                if let Some(source) = report.stopped {
                    let (zone, source) = (name.clone(), Box::new(source));
                    failures.push(Shared::new(DomainFailure::Zone { zone, source }));
                }
            }
            (Ok(_), None) => {}
        }
    }
    match &desired.nats {
        Some(Err(failure)) => failures.push(Shared::clone(failure)),
        Some(Ok(NatsWanted::Accounts(wanted))) if !wanted.keys.is_empty() => {
            let client = client(reconciler, &id(visit.object()), wanted).await?;
            let (ours, system) = (wanted.ours(), wanted.bundle.system_account_key());
            let seen = sync::observe(&client, &ours, system).await?;
            let deletions = wanted.keys.iter().map(|(name, keys)| {
                // Streams are data: they go with nothing but a person's hand.
                (keys.account(), sync::Deletion { name: name.clone(), purge: false })
            });
            let goal = sync::Desired {
                accounts: BTreeMap::new(),
                delete: deletions.collect(),
                ..wanted.desired.clone()
            };
            let plan = sync::plan(&goal, &seen)?;
            let servers: Vec<_> = seen.servers.iter().map(|state| state.server.clone()).collect();
            let applied = sync::apply(&client, wanted.bundle.signing(), &servers, &plan).await?;
            let told =
                |failure: &sync::Failure| format!("account {}: {}", failure.name, failure.why);
            if !applied.failures.is_empty() {
                let failures = applied.failures.iter().map(told).collect();
                return Err(DomainFailure::Accounts(failures));
            }
        }
        Some(Ok(_)) | None => {}
    }
    match DomainFailure::of_parts(failures) {
        Some(failure) => Err(failure),
        None => Ok(Outcome::done("its records and accounts are removed")),
    }
}
