//! What a Domain refers to in the cluster, read now.

use std::sync::Arc;
use std::time::SystemTime;

use cim_crds::domain::dns::{DnsProvider, Zone};
use cim_crds::domain::nats::DomainNats;
use cim_crds::{Cluster, Domain, Service};
use cim_names::Inventory;
use cim_nats::UnixTime;

use super::access::account_secret;
use super::failure::DomainFailure;
use super::zone::ledger_name;
use super::{Reconciler, Shared};
use crate::driver::Visit;
use crate::inventory::inventory;
use crate::secret::SecretData;

/// What was read in the cluster.
pub struct Inputs {
    /// Everything that has a name.
    pub(super) inventory: Inventory,
    /// For each zone of the spec, in its order.
    pub(super) zones: Vec<Result<ZoneInputs, Shared>>,
    /// For the accounts, if the spec has any.
    pub(super) nats: Option<Result<NatsInputs, Shared>>,
    /// The Services of the Domain, each with its Cluster.
    pub(super) services: Services,
    /// The clock.
    pub(super) now: UnixTime,
}

/// Services, each with its Cluster.
pub(super) type Services = Vec<(Arc<Cluster>, Arc<Service>)>;

/// What one zone needs.
pub(super) struct ZoneInputs {
    pub(super) tsig: SecretData,
    /// As stored; `None` before anything was.
    pub(super) ledger: Option<String>,
}

/// What the accounts need.
pub(super) struct NatsInputs {
    /// `None`: there is no such Secret.
    pub(super) operator: Option<SecretData>,
    /// For each account of the spec, in its order.
    pub(super) accounts: Vec<Option<SecretData>>,
}

pub(super) async fn gather(
    reconciler: &Reconciler,
    visit: &Visit<'_, Domain>,
) -> Result<Inputs, DomainFailure> {
    let spec = &visit.object().spec;
    let inventory = inventory(&reconciler.caches, visit.object())?;
    let mut zones = Vec::new();
    for zone in spec.dns.iter().flat_map(|dns| &dns.zones) {
        zones.push(zone_inputs(visit, zone).await.map_err(Shared::new));
    }
    let nats = match &spec.nats {
        Some(nats) => Some(nats_inputs(visit, nats).await.map_err(Shared::new)),
        None => None,
    };
    let services = services(reconciler, visit);
    Ok(Inputs { inventory, zones, nats, services, now: SystemTime::now().into() })
}

fn services(reconciler: &Reconciler, visit: &Visit<'_, Domain>) -> Services {
    let namespace = visit.namespace();
    let services = reconciler.caches.services.list(namespace);
    services
        .into_iter()
        .filter_map(|service| {
            let cluster = reconciler.caches.clusters.get(namespace, &service.spec.cluster)?;
            (cluster.spec.domain == visit.name()).then_some((cluster, service))
        })
        .collect()
}

async fn zone_inputs(visit: &Visit<'_, Domain>, zone: &Zone) -> Result<ZoneInputs, DomainFailure> {
    let DnsProvider::Rfc2136(server) = &zone.provider;
    let (kube, namespace) = (visit.kube(), visit.namespace());
    let field = format!("spec.dns.zones[{}].provider.rfc2136.tsigSecretRef", zone.name);
    let secret = &server.tsig_secret_ref.name;
    let tsig = SecretData::require(kube, namespace, secret, &field).await?;
    let name = ledger_name(visit.name(), &zone.name);
    let stored = kube.config_map(namespace, &name).await?;
    let ledger = stored
        .and_then(|stored| stored.data)
        .and_then(|mut data| data.remove(super::zone::LEDGER_KEY));
    Ok(ZoneInputs { tsig, ledger })
}

async fn nats_inputs(
    visit: &Visit<'_, Domain>,
    nats: &DomainNats,
) -> Result<NatsInputs, DomainFailure> {
    let (kube, namespace) = (visit.kube(), visit.namespace());
    let operator = SecretData::find(kube, namespace, &nats.operator_secret_ref.name).await?;
    let mut accounts = Vec::new();
    for account in &nats.accounts {
        let name = account_secret(visit.name(), &account.name);
        accounts.push(SecretData::find(kube, namespace, &name).await?);
    }
    Ok(NatsInputs { operator, accounts })
}
