//! What an ObjectReplica refers to in the cluster: the stores of its Clusters, the credentials for
//! them, and the other policies over the same stores.

use std::sync::Arc;

use cim_crds::cluster::store::ObjectStore;
use cim_crds::conditions::reasons;
use cim_crds::{Cluster, Domain, ObjectReplica, Replicas};
use kube::ResourceExt;

use super::Reconciler;
use super::failure::ReplicaFailure;
use crate::domain::account_secret;
use crate::driver::{Step, Visit};
use crate::outcome::Wait;
use crate::secret::SecretData;

/// What was read for one ObjectReplica.
pub struct Inputs {
    pub(super) stores: Vec<StoreInput>,
    /// Of the Domain, for a policy that names no numbers itself.
    pub(super) replicas: Option<Replicas>,
    pub(super) others: Vec<Arc<ObjectReplica>>,
}

/// One declared store, and how it is entered.
pub(super) struct StoreInput {
    pub(super) cluster: String,
    pub(super) store: ObjectStore,
    pub(super) servers: Vec<String>,
    pub(super) credentials: Credentials,
}

/// By which right a store is entered.
pub(super) enum Credentials {
    /// The keys of the store's account: the controller issues itself a user.
    Account(SecretData),
    /// A credentials file.
    File(SecretData),
}

pub(super) async fn gather(
    reconciler: &Reconciler,
    visit: &Visit<'_, ObjectReplica>,
) -> Step<Inputs, Reconciler> {
    let caches = &reconciler.caches;
    let namespace = visit.namespace();
    let clusters = clusters(reconciler, visit)?;
    let mut inputs = Inputs {
        stores: Vec::new(),
        replicas: None,
        others: caches
            .replicas
            .list(namespace)
            .into_iter()
            .filter(|it| it.name_any() != visit.name())
            .collect(),
    };
    for cluster in &clusters {
        let Some(domain) = caches.domains.get(namespace, &cluster.spec.domain) else {
            let message = format!("Domain {} does not exist", cluster.spec.domain);
            return Err(Wait::new(reasons::REFERENCE_NOT_FOUND, message).into());
        };
        let replicas = domain.spec.objects.as_ref().map(|objects| objects.replicas);
        inputs.replicas = inputs.replicas.or(replicas);
        for store in &cluster.spec.object_stores {
            inputs.stores.push(enter(visit, cluster, &domain, store).await?);
        }
    }
    Ok(inputs)
}

fn clusters(
    reconciler: &Reconciler,
    visit: &Visit<'_, ObjectReplica>,
) -> Step<Vec<Arc<Cluster>>, Reconciler> {
    let caches = &reconciler.caches;
    let Some(name) = &visit.object().spec.cluster else {
        return Ok(caches.clusters.list(visit.namespace()));
    };
    let cluster = caches.clusters.get(visit.namespace(), name).ok_or_else(|| {
        Wait::new(reasons::REFERENCE_NOT_FOUND, format!("Cluster {name} does not exist"))
    })?;
    Ok(vec![cluster])
}

async fn enter(
    visit: &Visit<'_, ObjectReplica>,
    cluster: &Cluster,
    domain: &Domain,
    store: &ObjectStore,
) -> Step<StoreInput, Reconciler> {
    let field = || format!("spec.objectStores[{}] of Cluster {}", store.name, cluster.name_any());
    let Some(nats) = &store.nats else {
        return Err(ReplicaFailure::Invalid { field: field(), why: "has no engine".into() }.into());
    };
    let credentials = if let Some(reference) = &nats.credentials_secret_ref {
        let secret =
            SecretData::require(visit.kube(), visit.namespace(), &reference.name, &field()).await;
        Credentials::File(secret.map_err(ReplicaFailure::from)?)
    } else {
        let name = account_secret(&domain.name_any(), &nats.account);
        let secret = SecretData::find(visit.kube(), visit.namespace(), &name).await;
        let secret = secret.map_err(|error| ReplicaFailure::Secret(error.into()))?;
        Credentials::Account(secret.ok_or_else(|| {
            let account = &nats.account;
            let message = format!("the Domain has not made the keys of account {account} yet");
            Wait::new("AccountPending", message)
        })?)
    };
    let of_domain = domain.spec.nats.as_ref().map(|nats| nats.servers.clone()).unwrap_or_default();
    let servers = if nats.servers.is_empty() { of_domain } else { nats.servers.clone() };
    if servers.is_empty() {
        let why = "names no servers, and the Domain has none either".to_owned();
        return Err(ReplicaFailure::Invalid { field: field(), why }.into());
    }
    Ok(StoreInput {
        cluster: cluster.label().to_owned(),
        store: store.clone(),
        servers,
        credentials,
    })
}
