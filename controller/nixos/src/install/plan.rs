//! Which phases are left, from what is seen on the machine. Pure.

use std::fmt::{self, Display};

use cim_plan::Plan;
use serde::Serialize;

use super::{Existing, Installation, Phase, Refused};
use crate::facts::{Disk, Facts};
use crate::store_path::StorePath;

/// Less does not hold the installer beside the system that it is booted from; nixos-anywhere asks
/// for 1.5 GB, of which the kernel keeps a part for itself.
const MIN_MEMORY: u64 = 1_400_000_000;

/// What was seen of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A Linux that is no installer.
    Foreign {
        /// What it is.
        facts: Box<Facts>,
        /// The closure that it runs, if deliveries reach it.
        delivered: Option<String>,
        /// Whether it is about to boot an installer.
        leaving: bool,
        /// Programs that it lacks.
        missing: Vec<String>,
    },
    /// An installer.
    Installer {
        /// What it is.
        facts: Box<Facts>,
        /// What was done there since it was booted.
        state: InstallerState,
        /// Programs that it lacks.
        missing: Vec<String>,
    },
    /// It runs the closure wanted, and the deploy user reaches it by the host key expected.
    Installed {
        /// Its boot.
        boot_id: String,
    },
    /// Deliveries reach it, root does not, and it runs another closure.
    Delivered {
        /// The closure, or nothing for none.
        closure: String,
    },
}

/// What was done on an installer since it was booted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallerState {
    /// What runs.
    pub job: Option<Job>,
    /// How the disk layout ended last.
    pub disko: Option<Record>,
    /// Whether there is something at `/mnt`.
    pub mounted: bool,
    /// How the installation ended last.
    pub install: Option<Record>,
    /// What would be booted from `/mnt`.
    pub system: Option<StorePath>,
}

/// Something that runs on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it is.
    pub phase: Phase,
    /// With which store path.
    pub subject: String,
}

/// How something ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// With which store path.
    pub subject: StorePath,
    /// Its exit status.
    pub status: i32,
}

impl Record {
    fn is_done(record: Option<&Self>, subject: &StorePath) -> bool {
        record.is_some_and(|record| record.subject == *subject && record.status == 0)
    }
}

impl InstallerState {
    /// The exit status with which `step` failed before, whoever began it then.
    pub(super) fn failure(&self, step: &Step) -> Option<i32> {
        let (record, subject) = match step {
            Step::Disko { script, .. } => (self.disko.as_ref(), script),
            Step::Install { toplevel } => (self.install.as_ref(), toplevel),
            Step::Await { .. } | Step::Kexec { .. } | Step::Reboot { .. } => return None,
        };
        let record = record.filter(|record| record.subject == *subject)?;
        (record.status != 0).then_some(record.status)
    }

    /// Whether what runs is what `wanted` asks for.
    pub(super) fn is_at(&self, wanted: &Installation) -> bool {
        self.job.as_ref().is_some_and(|job| match job.phase {
            Phase::Disko => job.subject == wanted.disko_script.as_str(),
            Phase::Install => job.subject == wanted.toplevel.as_str(),
            Phase::Kexec | Phase::Reboot => true,
        })
    }
}

/// One step of an installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "step")]
pub enum Step {
    /// Wait for what already runs, begun before a restart or by another controller.
    Await {
        /// What it is.
        phase: Phase,
    },
    /// Boot the installer.
    Kexec {
        /// The boot that is to end.
        boot_id: String,
    },
    /// Destroy what is on the disks, and lay them out.
    Disko {
        /// The script.
        script: StorePath,
        /// The disks, as they are called now.
        disks: Vec<Disk>,
    },
    /// Bring closure and files to the disks, and make them bootable.
    Install {
        /// The closure.
        toplevel: StorePath,
    },
    /// Boot the new system, and wait until deliveries reach it.
    Reboot {
        /// The boot that is to end.
        boot_id: String,
    },
}

impl Step {
    /// The phase that it belongs to.
    pub const fn phase(&self) -> Phase {
        match self {
            Self::Await { phase } => *phase,
            Self::Kexec { .. } => Phase::Kexec,
            Self::Disko { .. } => Phase::Disko,
            Self::Install { .. } => Phase::Install,
            Self::Reboot { .. } => Phase::Reboot,
        }
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Await { phase } => write!(f, "wait for the running {phase}"),
            Self::Kexec { boot_id } => write!(f, "boot the installer (boot {boot_id})"),
            Self::Disko { script, disks } => {
                let disks: Vec<String> = disks.iter().map(Disk::to_string).collect();
                write!(f, "DESTROY all that is on {}: lay out by {script}", disks.join(", "))
            }
            Self::Install { toplevel } => write!(f, "install {toplevel}"),
            Self::Reboot { boot_id } => write!(f, "boot the new system (boot {boot_id})"),
        }
    }
}

/// Plans the phases that are left until `wanted` runs, as far as can be foreseen. `system` is what
/// the closure is for, as Nix names it.
///
/// # Errors
/// Every reason why nothing may be done, at once.
pub fn plan(wanted: &Installation, system: &str, seen: &Seen) -> Result<Plan<Step>, Vec<Refused>> {
    let mut steps = match seen {
        Seen::Installed { .. } => vec![],
        Seen::Delivered { closure } => {
            return Err(vec![match wanted.existing {
                Existing::Refuse => Refused::Delivered { closure: closure.clone() },
                // Nobody but root can install over it.
                Existing::Replace => Refused::NotRoot,
            }]);
        }
        Seen::Foreign { facts, leaving, .. } => from_foreign(wanted, facts, *leaving),
        Seen::Installer { facts, state, .. } => from_installer(wanted, facts, state),
    };
    steps.retain(|step| step.phase() <= wanted.until);
    let refused = refusals(wanted, system, seen, &steps);
    if refused.is_empty() { Ok(Plan::new(steps, vec![])) } else { Err(refused) }
}

fn from_foreign(wanted: &Installation, facts: &Facts, leaving: bool) -> Vec<Step> {
    let boot_id = boot_id(facts);
    let kexec = if leaving { Step::Await { phase: Phase::Kexec } } else { Step::Kexec { boot_id } };
    let all = [disko(wanted, facts), install(wanted), reboot(facts)];
    [kexec].into_iter().chain(all).collect()
}

fn from_installer(wanted: &Installation, facts: &Facts, state: &InstallerState) -> Vec<Step> {
    // What runs is taken to end well; if it does not, the next plan has it again.
    let running = |phase: Phase, subject: &StorePath| {
        state.job.as_ref().is_some_and(|job| job.phase == phase && job.subject == subject.as_str())
    };
    let lays_out = running(Phase::Disko, &wanted.disko_script);
    // Any other layout that runs, runs over this one.
    let lost = state.job.as_ref().is_some_and(|job| job.phase == Phase::Disko) && !lays_out;
    let ended_well = Record::is_done(state.install.as_ref(), &wanted.toplevel);
    // It is on its way down. What is not mounted any more must not be taken for empty disks.
    let unmounted = ended_well && !state.mounted;
    let laid_out =
        Record::is_done(state.disko.as_ref(), &wanted.disko_script) && (state.mounted || unmounted);
    let laid_out = (laid_out && !lost) || lays_out;
    let installs = running(Phase::Install, &wanted.toplevel);
    // Any other closure that is being installed will be what is booted.
    let idle = state.job.is_none();
    let installed =
        ended_well && (state.system.as_ref() == Some(&wanted.toplevel) || unmounted) && idle;

    let mut steps = Vec::new();
    steps.extend(state.job.as_ref().map(|job| Step::Await { phase: job.phase }));
    if !laid_out {
        steps.push(disko(wanted, facts));
    }
    if !(laid_out && (installed || installs)) {
        steps.push(install(wanted));
    }
    steps.push(reboot(facts));
    steps
}

fn disko(wanted: &Installation, facts: &Facts) -> Step {
    let disks = meant(wanted, facts).map(|(_, disk)| disk.clone()).collect();
    Step::Disko { script: wanted.disko_script.clone(), disks }
}

fn install(wanted: &Installation) -> Step {
    Step::Install { toplevel: wanted.toplevel.clone() }
}

fn reboot(facts: &Facts) -> Step {
    Step::Reboot { boot_id: boot_id(facts) }
}

fn boot_id(facts: &Facts) -> String {
    facts.boot_id.clone().unwrap_or_default()
}

/// The disks that are there of those that the layout names.
fn meant<'a>(
    wanted: &'a Installation,
    facts: &'a Facts,
) -> impl Iterator<Item = (&'a str, &'a Disk)> {
    wanted.disks.iter().filter_map(|device| {
        let disk = facts.disks.iter().find(|disk| disk.is(device))?;
        Some((device.as_str(), disk))
    })
}

fn refusals(wanted: &Installation, system: &str, seen: &Seen, steps: &[Step]) -> Vec<Refused> {
    let (facts, missing, delivered) = match seen {
        Seen::Foreign { facts, missing, delivered, .. } => (facts, missing, delivered.as_ref()),
        Seen::Installer { facts, missing, .. } => (facts, missing, None),
        Seen::Installed { .. } | Seen::Delivered { .. } => return vec![],
    };
    if steps.is_empty() {
        return vec![];
    }
    let mut refused = Vec::new();
    match &facts.system {
        None => return vec![Refused::NotLinux],
        Some(machine) if machine != system => refused
            .push(Refused::WrongSystem { machine: machine.clone(), closure: system.to_owned() }),
        Some(_) => {}
    }
    if !facts.is_root {
        refused.push(Refused::NotRoot);
    }
    if !missing.is_empty() {
        refused.push(Refused::MissingTools(missing.clone()));
    }
    if let Some(closure) = delivered.filter(|_| wanted.existing == Existing::Refuse) {
        refused.push(Refused::Delivered { closure: closure.clone() });
    }
    if steps.iter().any(|step| matches!(step, Step::Kexec { .. })) {
        if wanted.kexec.is_none() {
            refused.push(Refused::NoInstaller);
        }
        if let Some(bytes) = facts.memory_bytes.filter(|bytes| *bytes < MIN_MEMORY) {
            refused.push(Refused::TooLittleMemory { bytes });
        }
    }
    if steps.iter().any(|step| matches!(step, Step::Disko { .. })) {
        refused.extend(of_disks(wanted, facts));
    }
    refused
}

/// The disks of the layout must be there, and be exactly those of the consent.
fn of_disks(wanted: &Installation, facts: &Facts) -> Vec<Refused> {
    let mut refused = Vec::new();
    if wanted.disks.is_empty() {
        refused.push(Refused::NoDisks);
    }
    for device in &wanted.disks {
        let count = facts.disks.iter().filter(|disk| disk.is(device)).count();
        if count != 1 {
            let there = facts.disks.iter().map(|disk| disk.path.clone()).collect();
            refused.push(Refused::DiskMissing { device: device.clone(), there });
        }
    }
    let given = wanted.consent.as_ref().map(|consent| &consent.0);
    for (device, disk) in meant(wanted, facts) {
        let names = disk.names();
        if !names.iter().any(|name| given.is_some_and(|given| given.contains(name))) {
            refused.push(Refused::NoConsent { device: device.to_owned(), names });
        }
    }
    for name in given.into_iter().flatten() {
        // A name that two disks share names neither.
        let of = facts.disks.iter().filter(|disk| disk.names().contains(name));
        let used = meant(wanted, facts).any(|(_, disk)| disk.names().contains(name));
        if !used || of.count() > 1 {
            refused.push(Refused::ConsentElsewhere { name: name.clone() });
        }
    }
    refused
}

#[cfg(test)]
mod tests;
