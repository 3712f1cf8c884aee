//! From the spec and what it refers to, to what `cim-nixos` takes.

use std::str::FromStr;

use cim_crds::Machine;
use cim_crds::machine::Delivery as DeliveryMode;
use cim_crds::machine::provider::Provider;
use cim_nixos::{
    Action, Attempt, Attribute, HostKey, PrivateKey, SigningKey, StorePath, Target, Toplevel,
};

use super::failure::MachineFailure;
use super::gather::{Delivered, Inputs};

/// What one Machine should run, and how it is reached.
pub struct Desired {
    pub(super) target: Target,
    pub(super) delivery: Option<Delivery>,
}

/// What a machine should run, and what it takes to bring it there.
pub(super) struct Delivery {
    pub(super) wanted: cim_nixos::Desired,
    pub(super) toplevel: Toplevel,
    pub(super) attribute: Attribute,
    pub(super) signing_key: SigningKey,
    pub(super) flake: String,
    pub(super) branch: Option<String>,
    pub(super) rev: String,
}

pub(super) fn validate(machine: &Machine, inputs: &Inputs) -> Result<Desired, MachineFailure> {
    supported(machine)?;
    let host = machine.ssh_host().ok_or_else(|| MachineFailure::Invalid {
        field: "spec.ssh.host",
        why: "absent, and no interface lists an address; set one of them".to_owned(),
    })?;
    let host_keys = inputs.host_keys()?;
    let host_keys: Result<Vec<HostKey>, _> =
        host_keys.iter().map(|key| parse("spec.ssh.hostKeys", key)).collect();
    let private_key = inputs.private_key()?;
    let target = Target {
        address: parse("spec.ssh.host", host)?,
        port: inputs.ssh.port,
        user: parse("spec.ssh.user", &inputs.ssh.user)?,
        key: parse::<PrivateKey>("spec.ssh.keySecretRef", private_key)?,
        host_keys: host_keys?,
    };
    let delivery = match &inputs.release {
        Some(delivered) => Some(delivery(machine, delivered)?),
        None => None,
    };
    Ok(Desired { target, delivery })
}

/// Provisioning is not carried out yet; saying so beats waiting for a machine that nobody makes.
fn supported(machine: &Machine) -> Result<(), MachineFailure> {
    if machine.spec.delivery == DeliveryMode::Pull {
        return Err(MachineFailure::Unsupported {
            field: "spec.delivery",
            why: "Pull is not carried out by this version; use Push".to_owned(),
        });
    }
    let provider = match machine.spec.provider {
        Provider::Metal(_) => return Ok(()),
        Provider::DigitalOcean(_) => "digitalOcean",
        Provider::Azure(_) => "azure",
        Provider::Proxmox(_) => "proxmox",
        Provider::Guest(_) => "guest",
    };
    Err(MachineFailure::Unsupported {
        field: "spec.provider",
        why: format!(
            "{provider} machines are not made by this version; make it yourself and declare it as metal"
        ),
    })
}

fn delivery(machine: &Machine, delivered: &Delivered) -> Result<Delivery, MachineFailure> {
    let Delivered { release, machine: entry, .. } = delivered;
    let path = |field: &'static str, path: &Option<String>| {
        path.clone().ok_or_else(|| MachineFailure::Invalid {
            field,
            why: "empty; the Cluster has not evaluated it yet".to_owned(),
        })
    };
    let out_path = path("status.release.machines[].outPath", &entry.out_path)?;
    let drv_path = path("status.release.machines[].drvPath", &entry.drv_path)?;
    let closure: StorePath = parse("status.release.machines[].outPath", &out_path)?;
    let derivation = parse("status.release.machines[].drvPath", &drv_path)?;
    Ok(Delivery {
        wanted: cim_nixos::Desired {
            closure: closure.clone(),
            known: known(machine),
            action: Action::Switch,
            confirm_timeout: machine.spec.activation.confirm_timeout.as_std(),
            may_reboot: false,
            attempt: Attempt::First,
        },
        toplevel: Toplevel { derivation, closure },
        attribute: parse("spec.configuration", machine.configuration())?,
        signing_key: parse("spec.signingKeySecretRef of the Cluster", delivered.signing_key()?)?,
        flake: release.flake.clone(),
        branch: release.ref_.clone(),
        rev: release.rev.clone(),
    })
}

/// The closures that were delivered to this machine before: whatever else runs there, somebody else
/// put there.
fn known(machine: &Machine) -> Vec<StorePath> {
    let status = machine.status.as_ref();
    let delivered = status.map(|status| status.delivered.as_slice()).unwrap_or_default();
    delivered.iter().filter_map(|path| path.parse().ok()).collect()
}

fn parse<T: FromStr<Err = cim_nixos::ParseError>>(
    field: &'static str,
    text: &str,
) -> Result<T, MachineFailure> {
    text.trim().parse().map_err(|why: cim_nixos::ParseError| MachineFailure::Invalid {
        field,
        why: why.to_string(),
    })
}
