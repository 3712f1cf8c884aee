//! From the spec and what it refers to, to what `cim-nixos` takes.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use cim_crds::Machine;
use cim_crds::conditions::{ConditionType, find};
use cim_crds::machine::Delivery as DeliveryMode;
use cim_crds::machine::activation::OnDrift;
use cim_crds::machine::provider::Provider;
use cim_crds::machine::system::BegunAgain;
use cim_nixos::{Action, DerivationPath, HostKey, PrivateKey, SigningKey, StorePath, Target};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::assign::Assignment;
use super::attempt::attempt;
use super::failure::MachineFailure;
use super::gather::Inputs;
use super::install;
use super::services::ServiceHere;
use crate::checks::Check;

/// What one Machine should run, and how it is reached.
pub struct Desired {
    pub(super) target: Target,
    pub(super) assignment: Assignment,
    pub(super) delivery: Option<Delivery>,
    /// What is installed first, while it waits for that.
    pub(super) install: Option<install::Wanted>,
    /// What is brought to it ahead of its turn.
    pub(super) next: Option<StorePath>,
    /// How many machines of its Cluster may be copied to at a time.
    pub(super) parallelism: u32,
    /// What must hold while it runs.
    pub(super) checks: Vec<Check>,
    /// The Services on it that have checks.
    pub(super) services: Vec<ServiceHere>,
    /// Where checks are made.
    pub(super) address: Option<IpAddr>,
    /// How long a closure may wait for its checks to hold.
    pub(super) confirm_timeout: Duration,
    /// Whether the windows let it be changed now.
    pub(super) open: bool,
    /// Whether what somebody changed by hand is left alone.
    pub(super) reports_drift: bool,
    /// Whether its closure is to be read and compared with its hashes.
    pub(super) verifies: bool,
}

/// What a machine should run, and what it takes to bring it there.
pub(super) struct Delivery {
    pub(super) wanted: cim_nixos::Desired,
    pub(super) derivation: Option<DerivationPath>,
    pub(super) signing_key: SigningKey,
    /// The attempt after a failure that was begun and goes on.
    pub(super) again: Option<BegunAgain>,
}

pub(super) fn validate(machine: &Machine, mut inputs: Inputs) -> Result<Desired, MachineFailure> {
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
    let activation = &machine.spec.activation;
    let install = match inputs.install.take() {
        Some(it) => Some(install::validate(machine, it, &target, signing_key(&inputs)?)?),
        None => None,
    };
    Ok(Desired {
        target,
        install,
        delivery: delivery(machine, &inputs)?,
        address: machine.primary_address().or(Some(host)).and_then(|address| address.parse().ok()),
        confirm_timeout: activation.confirm_timeout.as_std(),
        next: next(&inputs.assignment)?,
        parallelism: inputs.parallelism,
        open: inputs.open,
        reports_drift: activation.on_drift == OnDrift::Report,
        verifies: verifies(machine, &inputs.now),
        checks: inputs.checks,
        services: inputs.services,
        assignment: inputs.assignment,
    })
}

/// Reading a closure costs the machine as much as reading all of its files, so it is done rarely: as
/// long after it was last read, or came to run, as the spec says.
fn verifies(machine: &Machine, now: &Time) -> bool {
    let Some(status) = &machine.status else { return false };
    let Some(in_sync) = find(&status.common.conditions, ConditionType::InSync) else {
        return false;
    };
    if in_sync.status != "True" {
        // One that was found corrupt is looked at again: somebody may have mended it.
        return in_sync.reason == "Corrupt";
    }
    let read = status.verification.as_ref().and_then(|verification| verification.time.as_ref());
    // What a clock that has gone back says was later says nothing.
    let past = |time: &&Time| time.0 <= now.0;
    let last = [Some(&in_sync.last_transition_time), read].into_iter().flatten().filter(past).max();
    let interval = machine.spec.activation.verify_interval.as_std();
    let interval = jiff::SignedDuration::try_from(interval).unwrap_or(jiff::SignedDuration::MAX);
    last.is_none_or(|last| now.0.duration_since(last.0) >= interval)
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

fn delivery(machine: &Machine, inputs: &Inputs) -> Result<Option<Delivery>, MachineFailure> {
    let Some(target) = &inputs.assignment.target else { return Ok(None) };
    let Some(signing_key) = signing_key(inputs)? else {
        return Err(MachineFailure::Invalid {
            field: "spec.signingKeySecretRef of the Cluster",
            why: "absent: a machine accepts only signed closures; name the Secret with the key"
                .to_owned(),
        });
    };
    let field = "status.target.outPath";
    let out_path = target.out_path.as_deref().unwrap_or_default();
    let closure: StorePath = parse(field, out_path)?;
    let derivation = target.drv_path.as_deref().map(|path| parse("status.target.drvPath", path));
    let (attempt, again) = attempt(machine, &inputs.assignment, out_path);
    Ok(Some(Delivery {
        wanted: cim_nixos::Desired {
            attempt,
            closure,
            known: known(machine),
            action: Action::Switch,
            confirm_timeout: machine.spec.activation.confirm_timeout.as_std(),
            may_reboot: inputs.assignment.may_reboot,
        },
        derivation: derivation.transpose()?,
        signing_key,
        again,
    }))
}

fn signing_key(inputs: &Inputs) -> Result<Option<SigningKey>, MachineFailure> {
    let key = inputs.signing_key()?;
    key.map(|key| parse("spec.signingKeySecretRef of the Cluster", key)).transpose()
}

fn next(assignment: &Assignment) -> Result<Option<StorePath>, MachineFailure> {
    let path = assignment.next.as_ref().and_then(|next| next.out_path.as_deref());
    path.map(|path| parse("status.release.machines[].outPath of the Cluster", path)).transpose()
}

/// The closures that were delivered to this machine before, newest first: whatever else runs there,
/// somebody else put there.
fn known(machine: &Machine) -> Vec<StorePath> {
    let status = machine.status.as_ref();
    let delivered = status.map(|status| status.delivered.as_slice()).unwrap_or_default();
    delivered.iter().filter_map(|path| path.parse().ok()).collect()
}

pub(super) fn parse<T: FromStr<Err = cim_nixos::ParseError>>(
    field: &'static str,
    text: &str,
) -> Result<T, MachineFailure> {
    text.trim().parse().map_err(|why: cim_nixos::ParseError| MachineFailure::Invalid {
        field,
        why: why.to_string(),
    })
}
