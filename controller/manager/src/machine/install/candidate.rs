//! What would be installed on a bare machine.

use std::collections::BTreeSet;

use cim_crds::cluster::release::{BuildOutput, ReleaseMachine};
use cim_crds::machine::install::{ConfirmedInstall, Kexec};
use cim_crds::machine::system::Target;
use cim_crds::{Cluster, Machine};
use kube::ResourceExt;

use crate::machine::assign::target_of;

/// What would be installed.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::machine) struct Candidate {
    /// The closure, and the release that holds it.
    pub(super) target: Target,
    /// The disk layout.
    pub(super) layout: BuildOutput,
    /// The devices that it names.
    pub(super) devices: Vec<String>,
    /// The installer.
    pub(super) kexec: Option<BuildOutput>,
    /// Whether a person has confirmed exactly this.
    pub(super) confirmed: bool,
}

/// Why nothing can be installed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotYet {
    /// It is on its way.
    Waits {
        /// Why.
        reason: &'static str,
        /// The same for people.
        message: String,
    },
    /// The flake lacks something, and somebody must add it.
    Lacks {
        /// What.
        reason: &'static str,
        /// The same for people.
        message: String,
    },
}

/// What would be installed on `machine`: what was confirmed, to its end, whatever is released
/// meanwhile; when that failed, could not be had any more, or names other disks than the spec, what
/// the release of its Cluster holds. `is_there` tells whether a path of the local store is there.
pub(super) fn candidate(
    machine: &Machine,
    cluster: &Cluster,
    is_there: impl Fn(&str) -> bool,
) -> Result<Candidate, NotYet> {
    let released = released(machine, cluster);
    let Some(pinned) = pinned(machine) else { return released };
    let status = machine.status.as_ref().and_then(|status| status.install.as_ref());
    let has_failed = status.is_some_and(|status| status.failed.is_some());
    match released {
        Ok(released) if is_same(&released, &pinned) => {
            // Its installer may have been corrected.
            Ok(Candidate { confirmed: true, ..released })
        }
        Ok(released) if has_failed || !can_be_had(&pinned, is_there) => Ok(released),
        _ => Ok(pinned),
    }
}

fn is_same(one: &Candidate, other: &Candidate) -> bool {
    let of = |it: &Candidate| {
        let paths = (it.target.out_path.clone(), it.layout.out_path.clone());
        (paths, it.devices.iter().cloned().collect::<BTreeSet<_>>())
    };
    of(one) == of(other)
}

fn can_be_had(candidate: &Candidate, is_there: impl Fn(&str) -> bool) -> bool {
    let Candidate { target, layout, kexec, .. } = candidate;
    let parts = [Some(layout), kexec.as_ref()].into_iter().flatten();
    let parts = parts.map(|part| (Some(&part.out_path), part.drv_path.as_ref()));
    parts
        .chain([(target.out_path.as_ref(), target.drv_path.as_ref())])
        .all(|(path, drv)| [path, drv].into_iter().flatten().any(|path| is_there(path)))
}

/// What was confirmed, if it destroys the disks that the spec names.
fn pinned(machine: &Machine) -> Option<Candidate> {
    let status = machine.status.as_ref()?;
    let target = status.target.clone()?;
    let confirmed = status.install.as_ref()?.confirmed.clone()?;
    let ConfirmedInstall { out_path, layout, devices, kexec, disks, .. } = confirmed;
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let is_meant = set(&disks) == set(&machine.spec.install.as_ref()?.disks)
        && target.out_path.as_ref() == Some(&out_path);
    is_meant.then_some(Candidate { target, layout, devices, kexec, confirmed: true })
}

/// What the release of its Cluster holds for it.
fn released(machine: &Machine, cluster: &Cluster) -> Result<Candidate, NotYet> {
    let of = cluster.name_any();
    let waits = |reason, message: String| NotYet::Waits { reason, message };
    let pending = |message: String| waits("ReleasePending", message);
    let Some(install) = &machine.spec.install else {
        return Err(pending("spec.install is absent".to_owned()));
    };
    let status = cluster.status.as_ref();
    let release = status.and_then(|status| status.release.as_ref());
    let release = release.ok_or_else(|| pending(format!("Cluster {of} has no release yet")))?;
    let name = machine.name_any();
    let entry = release.machines.iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| pending(format!("Cluster {of} has not evaluated it yet")))?;
    if let Some(error) = &entry.error {
        return Err(NotYet::Lacks { reason: "NoClosure", message: error.clone() });
    }
    let rollout = status.and_then(|status| status.rollout.as_ref());
    let aborted = rollout.filter(|rollout| rollout.aborted && rollout.release == release.digest);
    if let Some(rollout) = aborted {
        return Err(waits("RolloutAborted", rollout.message.clone()));
    }
    let parts = entry
        .install
        .as_ref()
        .ok_or_else(|| pending(format!("Cluster {of} has not evaluated its disk layout yet")))?;
    let configuration = &entry.configuration;
    let layout = parts.layout.clone().ok_or_else(|| NotYet::Lacks {
        reason: "NoDiskLayout",
        message: format!(
            "configuration {configuration} has no config.system.build.diskoScript: describe its \
             disks with the module of disko"
        ),
    })?;
    let asked = install.kexec.clone().unwrap_or_default();
    let kexec = match (asked, &parts.kexec) {
        (Kexec { output: Some(_), .. }, Some(built)) => Some(built.clone()),
        (Kexec { store_path, output: None }, _) => {
            store_path.map(|out_path| BuildOutput { drv_path: None, out_path })
        }
        (Kexec { output: Some(output), .. }, None) => {
            let message = format!("spec.install.kexec.output: the flake has no output {output}");
            return Err(NotYet::Lacks { reason: "NoSuchOutput", message });
        }
    };
    if !is_built(entry) {
        return Err(waits("Building", format!("Cluster {of} has not built all of it yet")));
    }
    let target = target_of(release, entry);
    Ok(Candidate { target, layout, devices: parts.devices.clone(), kexec, confirmed: false })
}

fn is_built(entry: &ReleaseMachine) -> bool {
    entry.nar_hash.is_some() && entry.install.as_ref().is_some_and(|install| install.built)
}

#[cfg(test)]
mod tests;
