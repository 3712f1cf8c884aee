//! From the spec and what it refers to, to what `cim_nixos::install` takes.

use std::path::PathBuf;

use cim_crds::Machine;
use cim_crds::machine::install::{FailedInstall, InstallDeadlines};
use cim_nixos::install::{Consent, Deadlines, Existing, Installation, Phase};
use cim_nixos::{HostKey, PrivateKey, SigningKey, Target};

use super::candidate::{Candidate, NotYet};
use super::gather::Inputs;
use crate::machine::failure::MachineFailure;
use crate::machine::gather::{PRIVATE_KEY, host_keys_of};
use crate::machine::validate::parse;

/// What is to be installed, and how.
pub(in crate::machine) struct Wanted {
    /// How root logs in.
    pub(super) login: Target,
    pub(super) candidate: Result<Candidate, NotYet>,
    /// The same for `cim-nixos`; `None` as long as there is no candidate.
    pub(super) installation: Option<Installation>,
    pub(super) signing_key: Option<SigningKey>,
    pub(super) deadlines: Deadlines,
    /// What failed, and is not tried again.
    pub(super) failed: Option<FailedInstall>,
}

/// `deploy` is how the machine is reached once the new system runs.
pub(in crate::machine) fn validate(
    machine: &Machine,
    inputs: Inputs,
    deploy: &Target,
    signing_key: Option<SigningKey>,
) -> Result<Wanted, MachineFailure> {
    let Inputs { spec, private_key, host_keys, files, disk_keys, candidate, failed } = inputs;
    let field = "spec.install.ssh.hostKeys";
    let own = match &host_keys {
        Some(secret) => host_keys_of(secret)?,
        None => spec.ssh.host_keys.clone(),
    };
    let own: Vec<HostKey> = own.iter().map(|key| parse(field, key)).collect::<Result<_, _>>()?;
    let host = spec.ssh.host.as_deref().or_else(|| machine.ssh_host()).unwrap_or_default();
    let login = Target {
        address: parse("spec.install.ssh.host", host)?,
        port: spec.ssh.port,
        user: parse("spec.install.ssh.user", &spec.ssh.user)?,
        key: match &private_key {
            Some(secret) => {
                parse::<PrivateKey>("spec.install.ssh.keySecretRef", secret.text(PRIVATE_KEY)?)?
            }
            None => deploy.key.clone(),
        },
        host_keys: if own.is_empty() { deploy.host_keys.clone() } else { own },
    };
    let of = |candidate: &Candidate| -> Result<Installation, MachineFailure> {
        let out_path = candidate.target.out_path.as_deref().unwrap_or_default();
        Ok(Installation {
            disko_script: parse(
                "status.release.machines[].install.layout of the Cluster",
                &candidate.layout.out_path,
            )?,
            toplevel: parse("status.release.machines[].outPath of the Cluster", out_path)?,
            disks: candidate.devices.clone(),
            consent: (!spec.disks.is_empty()).then(|| Consent::to_destroy(spec.disks.clone())),
            kexec: candidate.kexec.as_ref().map(|kexec| PathBuf::from(&kexec.out_path)),
            files,
            disk_keys,
            keep_host_keys: spec.keep_host_keys,
            existing: Existing::Refuse,
            until: Phase::Reboot,
        })
    };
    let installation = candidate.as_ref().ok().map(of).transpose()?;
    let deadlines = deadlines(&spec.deadlines);
    Ok(Wanted { login, candidate, installation, signing_key, deadlines, failed })
}

fn deadlines(spec: &InstallDeadlines) -> Deadlines {
    Deadlines {
        kexec: spec.kexec.as_std(),
        disko: spec.disko.as_std(),
        install: spec.install.as_std(),
        reboot: spec.reboot.as_std(),
    }
}
