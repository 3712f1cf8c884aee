//! What the zones and the NATS servers have.

use std::collections::BTreeMap;
use std::sync::Arc;

use cim_crds::Domain;
use cim_nats::sync;
use cim_nats::system::SystemClient;
use futures::{StreamExt, stream};

use super::failure::DomainFailure;
use super::validate::{AccountsWanted, Desired, NatsWanted};
use super::zone::ZoneWanted;
use super::{Reconciler, Shared, id};
use crate::driver::Visit;

/// Zones looked at once.
const PARALLEL: usize = 8;

/// What the zones and the NATS servers have.
pub struct Observed {
    /// By the apex, for each zone that could be read from the spec.
    pub(super) zones: BTreeMap<String, Result<Arc<cim_dns::Observed>, Shared>>,
    /// The accounts, where there is an operator.
    pub(super) accounts: Option<Result<sync::Observed, Shared>>,
}

pub(super) async fn observe(
    reconciler: &Reconciler,
    visit: &Visit<'_, Domain>,
    desired: &Desired,
) -> Observed {
    let domain = id(visit.object());
    let mut looks = Vec::new();
    for (name, wanted) in &desired.zones {
        if let Ok(wanted) = wanted {
            looks.push(zone(reconciler, &domain, name, wanted));
        }
    }
    let zones = stream::iter(looks).buffer_unordered(PARALLEL);
    let accounts = async {
        match &desired.nats {
            Some(Ok(NatsWanted::Accounts(wanted))) => {
                Some(accounts(reconciler, &domain, wanted).await.map_err(Shared::new))
            }
            _ => None,
        }
    };
    let (zones, accounts) = futures::join!(zones.collect(), accounts);
    Observed { zones, accounts }
}

async fn zone(
    reconciler: &Reconciler,
    domain: &str,
    name: &str,
    wanted: &ZoneWanted,
) -> (String, Result<Arc<cim_dns::Observed>, Shared>) {
    let known = reconciler.memory.zone(domain, name);
    let seen = wanted.primary.observe(&wanted.zone, known);
    let seen = reconciler.metrics.external("dns", "observe", seen).await;
    if let Ok(observed) = &seen {
        reconciler.memory.keep_zone(domain, name, observed);
    }
    let failed =
        |error| Shared::new(DomainFailure::Zone { zone: name.to_owned(), source: Box::new(error) });
    (name.to_owned(), seen.map_err(failed))
}

async fn accounts(
    reconciler: &Reconciler,
    domain: &str,
    wanted: &AccountsWanted,
) -> Result<sync::Observed, DomainFailure> {
    let client = client(reconciler, domain, wanted).await?;
    let (ours, system) = (wanted.ours(), wanted.bundle.system_account_key());
    let seen = sync::observe(&client, &ours, system);
    let seen = reconciler.metrics.external("nats", "observe", seen).await;
    if seen.is_err() {
        reconciler.memory.drop_client(domain);
    }
    Ok(seen?)
}

/// The connection to the system account; kept between visits.
pub(super) async fn client(
    reconciler: &Reconciler,
    domain: &str,
    wanted: &AccountsWanted,
) -> Result<SystemClient, DomainFailure> {
    let creds = wanted.bundle.system_creds();
    let made_for = format!("{} {}", wanted.servers.join(" "), creds.user().claims().sub);
    if let Some(client) = reconciler.memory.client(domain, &made_for) {
        return Ok(client);
    }
    let connecting =
        SystemClient::connect(&wanted.servers, creds, "cim-controller", reconciler.deadlines);
    let client = reconciler.metrics.external("nats", "connect", connecting).await?;
    reconciler.memory.keep_client(domain, made_for, client.clone());
    Ok(client)
}
