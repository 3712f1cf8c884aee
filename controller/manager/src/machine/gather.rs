//! What a Machine refers to in the cluster: its Cluster's release, and the credentials for SSH.

use cim_crds::cluster::release::{Release, ReleaseMachine};
use cim_crds::conditions::reasons;
use cim_crds::machine::Ssh;
use cim_crds::{Cluster, Machine};
use kube::ResourceExt;

use super::Reconciler;
use super::failure::MachineFailure;
use crate::driver::{Step, Visit};
use crate::outcome::Wait;
use crate::secret::SecretData;

/// The key of a Secret that holds a private SSH key, as in Secrets of type
/// `kubernetes.io/ssh-auth`.
const PRIVATE_KEY: &str = "ssh-privatekey";
/// The key of a Secret that holds public host keys.
const HOST_KEYS: &str = "known_hosts";
/// The key of a Secret that holds a Nix signing key.
const SIGNING_KEY: &str = "signing-key";

/// What was read for one Machine.
pub struct Inputs {
    pub(super) ssh: Ssh,
    pub(super) private_key: SecretData,
    pub(super) host_keys: Option<SecretData>,
    pub(super) release: Option<Delivered>,
}

/// The part of a release that is for one machine.
pub(super) struct Delivered {
    pub(super) release: Release,
    pub(super) machine: ReleaseMachine,
    pub(super) signing_key: SecretData,
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
    let Some(cluster) = reconciler.caches.clusters.get(visit.namespace(), &spec.cluster) else {
        let message = format!("Cluster {} does not exist", spec.cluster);
        return Err(Wait::new(reasons::REFERENCE_NOT_FOUND, message).into());
    };
    let release = match delivered(&cluster, visit.name())? {
        Some((release, machine)) => {
            let field = "spec.signingKeySecretRef of the Cluster";
            let Some(reference) = &cluster.spec.signing_key_secret_ref else {
                return Err(MachineFailure::Invalid {
                    field,
                    why: "a machine accepts only signed closures; name the Secret with the key"
                        .to_owned(),
                }
                .into());
            };
            let signing_key = secret(&reference.name, field).await?;
            Some(Delivered { release, machine, signing_key })
        }
        None => None,
    };
    Ok(Inputs { ssh, private_key, host_keys, release })
}

/// The release of `cluster` and what it holds for the machine `name`; `None` for a Cluster that
/// delivers nothing.
fn delivered(cluster: &Cluster, name: &str) -> Step<Option<(Release, ReleaseMachine)>, Reconciler> {
    if cluster.spec.source.is_none() {
        return Ok(None);
    }
    let release = cluster.status.as_ref().and_then(|status| status.release.as_ref());
    let machine = release.and_then(|release| {
        let machine = release.machines.iter().find(|machine| machine.name == name);
        machine.map(|machine| (release.clone(), machine.clone()))
    });
    match machine {
        Some((_, ReleaseMachine { error: Some(error), .. })) => {
            Err(MachineFailure::NoClosure(error).into())
        }
        Some(found) => Ok(Some(found)),
        None => {
            let message = format!("Cluster {} has not evaluated it yet", cluster.name_any());
            Err(Wait::new("ReleasePending", message).into())
        }
    }
}

impl Inputs {
    pub(super) fn private_key(&self) -> Result<&str, MachineFailure> {
        Ok(self.private_key.text(PRIVATE_KEY)?)
    }

    pub(super) fn host_keys(&self) -> Result<Vec<String>, MachineFailure> {
        match &self.host_keys {
            None => Ok(self.ssh.host_keys.clone()),
            Some(secret) => Ok(secret.text(HOST_KEYS)?.lines().filter_map(host_key).collect()),
        }
    }
}

impl Delivered {
    pub(super) fn signing_key(&self) -> Result<&str, MachineFailure> {
        Ok(self.signing_key.text(SIGNING_KEY)?)
    }
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
