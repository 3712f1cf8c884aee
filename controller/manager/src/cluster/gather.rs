//! What a Cluster refers to in the cluster, read now.

use std::sync::Arc;

use cim_crds::conditions::reasons;
use cim_crds::{Cluster, Machine};
use cim_names::Hierarchy;
use cim_nixos::{Access, Credentials, FlakeUrl, InventoryJson, SigningKey};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::failure::ClusterFailure;
use super::{Reconciler, Shared};
use crate::driver::{Step, Visit};
use crate::outcome::{Stop, Wait};
use crate::secret::{SecretData, SecretError};

/// Keys of a Secret with credentials, as in Secrets of the types `kubernetes.io/ssh-auth` and
/// `kubernetes.io/basic-auth`.
const PRIVATE_KEY: &str = "ssh-privatekey";
const KNOWN_HOSTS: &str = "known_hosts";
const USERNAME: &str = "username";
const PASSWORD: &str = "password";
/// The key of a Secret that holds a Nix signing key.
const SIGNING_KEY: &str = "signing-key";

/// What was read for one Cluster.
pub struct Inputs {
    /// Its Machines.
    pub(super) machines: Vec<Arc<Machine>>,
    /// The Cluster from which it receives, if it does and that exists.
    pub(super) sender: Option<Arc<Cluster>>,
    pub(super) hierarchy: Hierarchy,
    pub(super) inventory: InventoryJson,
    /// By which its flake is fetched.
    pub(super) access: Option<Arc<Access>>,
    /// By which its closures are signed; `None` where none is named.
    pub(super) signing_key: Option<SigningKey>,
    /// The clock.
    pub(super) now: Time,
}

pub(super) async fn gather(
    reconciler: &Reconciler,
    visit: &Visit<'_, Cluster>,
) -> Step<Inputs, Reconciler> {
    let (caches, namespace) = (&reconciler.caches, visit.namespace());
    let spec = &visit.object().spec;
    let Some(domain) = caches.domains.get(namespace, &spec.domain) else {
        let message = format!("spec.domain: there is no Domain {} in this namespace", spec.domain);
        return Err(Wait::new(reasons::REFERENCE_NOT_FOUND, message).into());
    };
    let inventory = crate::inventory::inventory(caches, &domain).map_err(stop)?;
    let sender = spec.promotion.as_ref();
    let sender = sender.and_then(|promotion| caches.clusters.get(namespace, &promotion.from));
    let machines = caches.machines.list(namespace);
    Ok(Inputs {
        machines: machines
            .into_iter()
            .filter(|machine| machine.spec.cluster == visit.name())
            .collect(),
        hierarchy: Hierarchy::build(&inventory),
        inventory: InventoryJson::new(&inventory).map_err(stop)?,
        access: access(reconciler, visit, sender.as_deref()).await.map_err(stop)?,
        signing_key: signing_key(visit).await.map_err(stop)?,
        sender,
        now: visit.now().clone(),
    })
}

fn stop(failure: impl Into<ClusterFailure>) -> Stop<Shared> {
    Stop::Fail(Arc::new(failure.into()))
}

/// The credentials of the source: its own, or those of the Cluster from which it receives.
async fn access(
    reconciler: &Reconciler,
    visit: &Visit<'_, Cluster>,
    sender: Option<&Cluster>,
) -> Result<Option<Arc<Access>>, ClusterFailure> {
    let source = visit.object().spec.source.as_ref();
    let source = source.or_else(|| sender.and_then(|sender| sender.spec.source.as_ref()));
    let Some((source, reference)) =
        source.and_then(|source| Some((source, source.credentials_secret_ref.as_ref()?)))
    else {
        return Ok(None);
    };
    let url: FlakeUrl = source.flake.parse().map_err(ClusterFailure::source)?;
    let field = "spec.source.credentialsSecretRef";
    let secret =
        SecretData::require(visit.kube(), visit.namespace(), &reference.name, field).await?;
    let credentials = credentials(&secret)?;
    let owner = format!("{}/{}", visit.namespace(), visit.name());
    Ok(Some(reconciler.workshop.access(&owner, &url, &credentials).await?))
}

fn credentials(secret: &SecretData) -> Result<Credentials, SecretError> {
    if secret.has(PRIVATE_KEY) {
        let private_key = secret.text(PRIVATE_KEY)?.parse();
        let known_hosts = secret.text(KNOWN_HOSTS)?.parse();
        return Ok(Credentials::Ssh {
            private_key: private_key.map_err(|why| secret.invalid(why))?,
            known_hosts: known_hosts.map_err(|why| secret.invalid(why))?,
        });
    }
    let password = secret.text(PASSWORD)?.parse();
    Ok(Credentials::Basic {
        username: secret.text(USERNAME)?.trim_end().to_owned(),
        password: password.map_err(|why| secret.invalid(why))?,
    })
}

async fn signing_key(visit: &Visit<'_, Cluster>) -> Result<Option<SigningKey>, ClusterFailure> {
    let Some(reference) = &visit.object().spec.signing_key_secret_ref else { return Ok(None) };
    let field = "spec.signingKeySecretRef";
    let secret =
        SecretData::require(visit.kube(), visit.namespace(), &reference.name, field).await?;
    let key = secret.text(SIGNING_KEY)?.parse();
    Ok(Some(key.map_err(|why| secret.invalid(why))?))
}

/// The configuration that each Machine runs.
pub(super) fn configurations(machines: &[Arc<Machine>]) -> Vec<(String, String)> {
    let delivered = machines
        .iter()
        .filter(|machine| machine.spec.delivery != cim_crds::machine::Delivery::None);
    delivered.map(|machine| (machine.name_any(), machine.configuration().to_owned())).collect()
}
