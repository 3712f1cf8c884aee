//! What an installation refers to in the cluster.

use std::path::Path;

use cim_crds::machine::install::{FailedInstall, Install, InstallFile};
use cim_crds::{Cluster, Machine, annotations};
use cim_nixos::install::ExtraFile;
use kube::ResourceExt;

use super::candidate::{Candidate, NotYet, candidate};
use crate::driver::Visit;
use crate::machine::failure::MachineFailure;
use crate::secret::SecretData;

/// What was read for one installation.
pub(in crate::machine) struct Inputs {
    pub(super) spec: Install,
    /// `None`: those of `spec.ssh`.
    pub(super) private_key: Option<SecretData>,
    /// `None`: those in the spec, or those of `spec.ssh`.
    pub(super) host_keys: Option<SecretData>,
    pub(super) files: Vec<ExtraFile>,
    pub(super) disk_keys: Vec<ExtraFile>,
    pub(super) candidate: Result<Candidate, NotYet>,
    /// What failed, and is not tried again.
    pub(super) failed: Option<FailedInstall>,
}

/// Reads it, for a machine that waits for its first system.
pub(in crate::machine) async fn gather(
    visit: &Visit<'_, Machine>,
    cluster: &Cluster,
) -> Result<Option<Inputs>, MachineFailure> {
    // What this visit has written counts.
    let machine = visit.current().await;
    let Some(spec) = machine.spec.install.clone().filter(|_| machine.awaits_install()) else {
        return Ok(None);
    };
    let secret = async |name: &str, field: &str| {
        SecretData::require(visit.kube(), visit.namespace(), name, field).await
    };
    let private_key = match &spec.ssh.key_secret_ref {
        Some(it) => Some(secret(&it.name, "spec.install.ssh.keySecretRef").await?),
        None => None,
    };
    let host_keys = match &spec.ssh.host_keys_secret_ref {
        Some(it) => Some(secret(&it.name, "spec.install.ssh.hostKeysSecretRef").await?),
        None => None,
    };
    let files = files(visit, &spec.files, "spec.install.files").await?;
    let disk_keys = self::files(visit, &spec.disk_keys, "spec.install.diskKeys").await?;
    let candidate = candidate(&machine, cluster, |path| Path::new(path).exists());
    let failed = failed(&machine, candidate.as_ref().is_ok_and(|candidate| candidate.confirmed));
    Ok(Some(Inputs { spec, private_key, host_keys, files, disk_keys, candidate, failed }))
}

/// What failed stays so until the spec changes, somebody asks, or another release is to be confirmed.
fn failed(machine: &Machine, is_confirmed: bool) -> Option<FailedInstall> {
    let install = machine.status.as_ref()?.install.as_ref()?;
    let failed = install.failed.clone().filter(|_| is_confirmed)?;
    let same = machine.metadata.generation == Some(failed.generation)
        && machine.annotations().get(annotations::RETRY) == failed.retry.as_ref();
    same.then_some(failed)
}

async fn files(
    visit: &Visit<'_, Machine>,
    wanted: &[InstallFile],
    field: &'static str,
) -> Result<Vec<ExtraFile>, MachineFailure> {
    let mut files = Vec::new();
    for file in wanted {
        let of = &file.secret_key_ref;
        let secret = SecretData::require(visit.kube(), visit.namespace(), &of.name, field).await?;
        let content = secret.bytes(&of.key)?;
        let mode = u32::from_str_radix(&file.mode, 8).unwrap_or(u32::MAX);
        let file = ExtraFile::new(&file.path, mode, (file.user, file.group), content);
        files.push(file.map_err(|why| MachineFailure::Invalid { field, why: why.to_string() })?);
    }
    Ok(files)
}
