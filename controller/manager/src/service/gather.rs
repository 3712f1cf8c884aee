//! What a Service refers to in the cluster, read now.

use std::sync::Arc;

use cim_crds::conditions::reasons;
use cim_crds::{Cluster, Domain, Service};
use cim_names::Hierarchy;

use super::{Reconciler, ServiceFailure};
use crate::domain::account_secret;
use crate::driver::Visit;
use crate::inventory::hierarchy;
use crate::naming::object_name;
use crate::outcome::{Stop, Wait};
use crate::secret::SecretData;

/// What was read in the cluster.
pub struct Inputs {
    pub(super) cluster: Arc<Cluster>,
    pub(super) domain: Arc<Domain>,
    pub(super) hierarchy: Hierarchy,
    /// The keys of its account; `None` while the Domain has not made them.
    pub(super) keys: Option<SecretData>,
    /// For each role, in the order of the spec: its credentials as they are.
    pub(super) credentials: Vec<Option<SecretData>>,
}

/// The name of the Secret with a role's credentials.
pub(super) fn credentials_secret(service: &str, role: &str) -> String {
    object_name(&[service, role, "nats"])
}

pub(super) async fn gather(
    reconciler: &Reconciler,
    visit: &Visit<'_, Service>,
) -> Result<Inputs, Stop<ServiceFailure>> {
    let spec = &visit.object().spec;
    let (kube, namespace) = (visit.kube(), visit.namespace());
    let missing = |field: &str, kind: &str, name: &str| {
        let message = format!("{field}: there is no {kind} {name} in this namespace");
        Wait::new(reasons::REFERENCE_NOT_FOUND, message)
    };
    let caches = &reconciler.caches;
    let cluster = caches
        .clusters
        .get(namespace, &spec.cluster)
        .ok_or_else(|| missing("spec.cluster", "Cluster", &spec.cluster))?;
    let domain = caches
        .domains
        .get(namespace, &cluster.spec.domain)
        .ok_or_else(|| missing("spec.domain of its Cluster", "Domain", &cluster.spec.domain))?;
    let hierarchy = hierarchy(caches, &domain).map_err(ServiceFailure::from)?;
    let mut keys = None;
    let mut credentials = Vec::new();
    if let Some(nats) = &spec.nats {
        let secret = account_secret(&cluster.spec.domain, &nats.account);
        keys = SecretData::find(kube, namespace, &secret).await.map_err(ServiceFailure::from)?;
        for role in &spec.roles {
            let secret = credentials_secret(visit.name(), &role.name);
            let found = SecretData::find(kube, namespace, &secret).await;
            credentials.push(found.map_err(ServiceFailure::from)?);
        }
    }
    Ok(Inputs { cluster, domain, hierarchy, keys, credentials })
}
