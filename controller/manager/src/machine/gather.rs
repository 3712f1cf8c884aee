//! What a Machine refers to in the cluster: its Cluster's release, and the credentials for SSH.

use std::sync::Arc;

use cim_crds::conditions::reasons;
use cim_crds::machine::{Delivery as DeliveryMode, Ssh};
use cim_crds::{Cluster, Machine};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::Reconciler;
use super::assign::{Assignment, assign};
use super::failure::MachineFailure;
use super::install;
use super::services::{self, ServiceHere};
use crate::checks::{Check, Resolver};
use crate::driver::{Step, Visit};
use crate::outcome::Wait;
use crate::secret::SecretData;

/// The key of a Secret that holds a private SSH key, as in Secrets of type
/// `kubernetes.io/ssh-auth`.
pub(super) const PRIVATE_KEY: &str = "ssh-privatekey";
/// The key of a Secret that holds public host keys.
const HOST_KEYS: &str = "known_hosts";
/// The key of a Secret that holds a Nix signing key.
const SIGNING_KEY: &str = "signing-key";

/// What was read for one Machine.
pub struct Inputs {
    pub(super) ssh: Ssh,
    pub(super) private_key: SecretData,
    pub(super) host_keys: Option<SecretData>,
    pub(super) assignment: Assignment,
    /// What its first installation takes, while it waits for one.
    pub(super) install: Option<install::Inputs>,
    /// By which its closures are signed; `None` where nothing is delivered.
    pub(super) signing_key: Option<SecretData>,
    /// How many machines of its Cluster may be copied to at a time.
    pub(super) parallelism: u32,
    /// Whether its Cluster's windows let it be changed now.
    pub(super) open: bool,
    /// What must hold while it runs.
    pub(super) checks: Vec<Check>,
    /// The Services on it that have checks.
    pub(super) services: Vec<ServiceHere>,
    /// The clock.
    pub(super) now: Time,
}

pub(super) async fn gather(
    reconciler: &Reconciler,
    visit: &Visit<'_, Machine>,
) -> Step<Inputs, Reconciler> {
    let spec = &visit.object().spec;
    let Some(ssh) = spec.ssh.clone() else {
        return Err(MachineFailure::Unsupported {
            field: "spec.delivery",
            why: "Pull is not carried out by this version; use Push with ssh".to_owned(),
        }
        .into());
    };
    let secret = async |name: &str, field: &str| {
        SecretData::require(visit.kube(), visit.namespace(), name, field)
            .await
            .map_err(MachineFailure::from)
    };
    let private_key = secret(&ssh.key_secret_ref.name, "spec.ssh.keySecretRef").await?;
    let host_keys = match &ssh.host_keys_secret_ref {
        Some(reference) => Some(secret(&reference.name, "spec.ssh.hostKeysSecretRef").await?),
        None => None,
    };
    let cluster = reconciler.cluster(visit)?;
    let delivers = cluster.spec.source.is_some() || cluster.spec.promotion.is_some();
    let assignment = if delivers && spec.delivery == DeliveryMode::Push {
        // What this visit has begun already counts as given.
        assign(&visit.current().await, &cluster)
    } else {
        Assignment::default()
    };
    let install = install::gather(visit, &cluster).await?;
    let needs_key = assignment.target.is_some() || install.is_some();
    let signing_key = match &cluster.spec.signing_key_secret_ref {
        Some(reference) if needs_key => {
            Some(secret(&reference.name, "spec.signingKeySecretRef of the Cluster").await?)
        }
        _ => None,
    };
    let calendar = crate::cluster::calendar(&cluster);
    // Windows that cannot be read are a fault of the Cluster, which says so; nobody begins anything.
    let open = calendar.is_ok_and(|calendar| calendar.at(visit.now().0).is_open());
    let now = visit.now().clone();
    let parallelism = cluster.spec.rollout.parallelism;
    let (checks, services) = checks(reconciler, visit, &cluster).await?;
    Ok(Inputs {
        ssh,
        private_key,
        host_keys,
        assignment,
        install,
        signing_key,
        parallelism,
        open,
        checks,
        services,
        now,
    })
}

/// Its own checks, and those of the Services on it.
async fn checks(
    reconciler: &Reconciler,
    visit: &Visit<'_, Machine>,
    cluster: &Cluster,
) -> Result<(Vec<Check>, Vec<ServiceHere>), MachineFailure> {
    let caches = &reconciler.caches;
    let (kube, namespace) = (visit.kube(), visit.namespace());
    let domain = caches.domains.get(namespace, &cluster.spec.domain);
    let resolver = Resolver { kube, namespace, domain: domain.as_deref(), account: None };
    let own = resolver.resolve(&visit.object().spec.activation.checks).await?;
    let mut services = Vec::new();
    for service in services::here(caches, visit.object()) {
        let account = service.spec.nats.as_ref().map(|nats| nats.account.as_str());
        services.push(ServiceHere {
            name: service.name_any(),
            generation: service.metadata.generation.unwrap_or_default(),
            checks: Resolver { account, ..resolver }.resolve(&service.spec.checks).await?,
        });
    }
    Ok((own, services))
}

impl Reconciler {
    /// The Cluster of the machine, as it is now.
    pub(super) fn cluster(&self, visit: &Visit<'_, Machine>) -> Step<Arc<Cluster>, Self> {
        let name = &visit.object().spec.cluster;
        self.caches.clusters.get(visit.namespace(), name).ok_or_else(|| {
            let message = format!("Cluster {name} does not exist");
            Wait::new(reasons::REFERENCE_NOT_FOUND, message).into()
        })
    }
}

impl Inputs {
    pub(super) fn private_key(&self) -> Result<&str, MachineFailure> {
        Ok(self.private_key.text(PRIVATE_KEY)?)
    }

    pub(super) fn signing_key(&self) -> Result<Option<&str>, MachineFailure> {
        Ok(self.signing_key.as_ref().map(|secret| secret.text(SIGNING_KEY)).transpose()?)
    }

    pub(super) fn host_keys(&self) -> Result<Vec<String>, MachineFailure> {
        match &self.host_keys {
            None => Ok(self.ssh.host_keys.clone()),
            Some(secret) => host_keys_of(secret),
        }
    }
}

/// The public host keys that a Secret holds.
pub(super) fn host_keys_of(secret: &SecretData) -> Result<Vec<String>, MachineFailure> {
    Ok(secret.text(HOST_KEYS)?.lines().filter_map(host_key).collect())
}

/// The key of one line, which is `TYPE KEY [comment]` or, as in a known_hosts file, has the names
/// of the host before it.
fn host_key(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let is_type = |word: &str| word.starts_with("ssh-") || word.starts_with("ecdsa-sha2-");
    let at = words.iter().take(2).position(|word| is_type(word))?;
    let key = words.get(at + 1)?;
    (!line.trim_start().starts_with('#')).then(|| format!("{} {key}", words[at]))
}

#[cfg(test)]
mod tests {
    use super::host_key;

    #[test]
    fn host_keys_are_read_with_and_without_names() {
        let bare = Some("ssh-ed25519 AAAA".to_owned());
        assert_eq!(host_key("ssh-ed25519 AAAA root@host1"), bare);
        assert_eq!(host_key("host1,10.0.0.11 ssh-ed25519 AAAA"), bare);
        assert_eq!(host_key("# ssh-ed25519 AAAA"), None);
        assert_eq!(host_key(""), None);
        assert_eq!(host_key("ssh-ed25519"), None);
    }
}
