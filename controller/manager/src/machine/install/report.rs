//! What the status says of an installation.

use cim_crds::conditions::{ConditionStatus, ConditionType, reasons};
use cim_crds::machine::install::{FailedInstall, InstallDisk, InstallPhase, InstallStatus};
use cim_crds::machine::system::SystemState;
use cim_crds::{Machine, MachineStatus};
use cim_nixos::install::{Phase, Refused, Seen};
use cim_nixos::{Disk, Error, Facts};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::candidate::NotYet;
use super::observe::Bare;
use super::stand::{Stand, stand};
use super::validate::Wanted;
use crate::driver::{Report, Visit};
use crate::machine::failure::MachineFailure;
use crate::machine::report::told;
use crate::outcome::{Failure, Outcome, Wait};
use crate::status::Judgement;

/// How many disks are listed, and names of each, as the schema bounds them.
const DISKS: usize = 32;
const NAMES: usize = 8;
/// Once it was confirmed.
const AT_ONCE: std::time::Duration = std::time::Duration::from_millis(100);
/// While it is between two boots.
const SOON: std::time::Duration = std::time::Duration::from_secs(5);

/// Reports on a machine that is bare.
pub(in crate::machine) fn report(
    visit: &Visit<'_, Machine>,
    wanted: &Wanted,
    bare: &Bare,
    status: &mut MachineStatus,
) -> Report<MachineFailure> {
    status.progress = None;
    let stand = stand(wanted, bare);
    if let Some(facts) = facts(bare) {
        status.facts = Some(told(facts));
        let devices = wanted.candidate.as_ref().map(|candidate| candidate.devices.as_slice());
        let install = status.install.get_or_insert_default();
        install.disks = disks(facts, devices.unwrap_or_default());
    }
    let install = status.install.get_or_insert_default();
    let (phase, installed, outcome) = judge(visit, wanted, &stand, install);
    if install.phase != phase {
        install.phase = phase;
        install.since = Some(visit.now().clone());
    }
    let begun = install.confirmed.is_some();
    status.state = Some(match stand {
        Stand::Unseen(_) if !begun => SystemState::Unreachable,
        _ if begun => SystemState::Installing,
        _ => SystemState::Bare,
    });
    let unknown = |condition| {
        let message = "it runs no system of ours yet";
        Judgement::new(condition, ConditionStatus::Unknown, "NotInstalled", message)
    };
    let reachable = match &bare.seen {
        Ok(_) => {
            Judgement::new(ConditionType::Reachable, true, reasons::SUCCEEDED, "it answers to root")
        }
        Err(error) => {
            Judgement::new(ConditionType::Reachable, false, error.reason(), error.to_string())
        }
    };
    let others =
        [ConditionType::Healthy, ConditionType::InSync, ConditionType::RebootRequired].map(unknown);
    let conditions = [reachable, installed].into_iter().chain(others).collect();
    Report::new(conditions, outcome)
}

/// Reports on a machine that answers to the deploy user, where a first system is asked for.
pub(in crate::machine) fn complete(machine: &Machine, status: &mut MachineStatus, now: &Time) {
    if machine.spec.install.is_none() {
        status.install = None;
        return;
    }
    let install = status.install.get_or_insert_default();
    if install.phase != InstallPhase::Complete {
        let confirmed = install.confirmed.take();
        let since = Some(now.clone());
        *install =
            InstallStatus { phase: InstallPhase::Complete, since, confirmed, ..Default::default() };
    }
}

type Judged = (InstallPhase, Judgement, Result<Outcome, MachineFailure>);

fn judge(
    visit: &Visit<'_, Machine>,
    wanted: &Wanted,
    stand: &Stand<'_>,
    install: &InstallStatus,
) -> Judged {
    let installed =
        |reason, message: &str| Judgement::new(ConditionType::Installed, false, reason, message);
    let wait = |reason, message: &str| Ok(Outcome::Wait(Wait::new(reason, message)));
    match stand {
        Stand::Unseen(error) => unseen(visit, wanted, error, install),
        Stand::NotYet(NotYet::Waits { reason, message }) => {
            (InstallPhase::Waiting, installed(reason, message), wait(reason, message))
        }
        Stand::NotYet(NotYet::Lacks { reason, message }) => {
            let failure = MachineFailure::CannotInstall { reason, message: message.clone() };
            (InstallPhase::Waiting, installed(reason, message), Err(failure))
        }
        Stand::Failed(FailedInstall { message, .. }) => {
            let failure = MachineFailure::InstallFailed(message.clone());
            (InstallPhase::Failed, installed(failure.reason(), message), Err(failure))
        }
        Stand::Lost => {
            let message = "the closure is not in the controller's store; its Cluster builds it";
            (InstallPhase::Waiting, installed("Building", message), wait("Building", message))
        }
        Stand::Refused(why) => {
            let (reason, message) = (refusal(why), refusals(why));
            let judgement = installed(reason, &message);
            let failure = MachineFailure::CannotInstall { reason, message };
            (InstallPhase::Waiting, judgement, Err(failure))
        }
        Stand::Left(candidate, _) if candidate.confirmed => {
            let message = "its first system is being installed";
            let again = Wait::new("Installing", message).after(AT_ONCE);
            (install.phase, installed("Installing", message), Ok(Outcome::Wait(again)))
        }
        Stand::Left(..) => {
            let message = "its first installation is planned, and waits for a person to confirm it";
            let judgement = installed("AwaitsConfirmation", message);
            (InstallPhase::AwaitsConfirmation, judgement, Ok(Outcome::done(message)))
        }
    }
}

/// Between two boots nobody answers, and that is as it should be until the phase's deadline.
fn unseen(
    visit: &Visit<'_, Machine>,
    wanted: &Wanted,
    error: &Error,
    install: &InstallStatus,
) -> Judged {
    let boots = match install.phase {
        InstallPhase::Kexec => Some((Phase::Kexec, wanted.deadlines.kexec)),
        InstallPhase::Reboot => Some((Phase::Reboot, wanted.deadlines.reboot)),
        _ => None,
    };
    let boots = boots.filter(|_| error.is_transient());
    let since = install.since.as_ref().map_or(visit.now().0, |since| since.0);
    let elapsed = visit.now().0.duration_since(since).unsigned_abs();
    if boots.is_some_and(|(_, deadline)| elapsed < deadline) {
        let message = "it is between two boots, and does not answer";
        let judgement = Judgement::new(ConditionType::Installed, false, "Installing", message);
        let again = Wait::new("Installing", message).after(SOON);
        return (install.phase, judgement, Ok(Outcome::Wait(again)));
    }
    let overdue = boots.map_or_else(String::new, |(phase, deadline)| {
        let advice = phase.advice();
        format!("; {phase} has begun and is overdue (deadlines.{phase} = {deadline:?}): {advice}")
    });
    let failure = MachineFailure::Unreachable {
        reason: error.reason(),
        message: format!("neither deliveries nor root reach it: {error}{overdue}"),
    };
    let unknown = ConditionStatus::Unknown;
    let judgement =
        Judgement::new(ConditionType::Installed, unknown, error.reason(), failure.to_string());
    let phase = if install.confirmed.is_some() { install.phase } else { InstallPhase::Waiting };
    (phase, judgement, Err(failure))
}

/// The first reason not to install that a person must mend.
fn refusal(why: &[Refused]) -> &'static str {
    let delivered = why.iter().find(|why| matches!(why, Refused::Delivered { .. }));
    match delivered.or(why.first()) {
        Some(Refused::NoConsent { .. }) => "NoConsent",
        Some(Refused::ConsentElsewhere { .. }) => "ConsentElsewhere",
        Some(Refused::DiskMissing { .. }) => "DiskMissing",
        Some(Refused::NoDisks) => "NoDisks",
        Some(Refused::Delivered { .. }) => "TakesDeliveries",
        Some(Refused::NotRoot) => "NotRoot",
        Some(Refused::NotLinux) => "NotLinux",
        Some(Refused::WrongSystem { .. }) => "WrongSystem",
        Some(Refused::TooLittleMemory { .. }) => "TooLittleMemory",
        Some(Refused::NoInstaller) => "NoInstaller",
        Some(Refused::MissingTools(_)) => "MissingTools",
        None => "InstallRefused",
    }
}

fn refusals(why: &[Refused]) -> String {
    let delivered = why.iter().find_map(|why| match why {
        Refused::Delivered { closure } => Some(closure),
        _ => None,
    });
    if let Some(closure) = delivered {
        // Whatever else speaks against it does not matter.
        return format!(
            "nothing was changed: it was prepared for deliveries (it runs {closure}), so nothing is \
             installed over it; they do not reach it yet: look at spec.ssh, above all its host keys"
        );
    }
    let told: Vec<String> = why.iter().map(ToString::to_string).collect();
    format!("nothing was changed: {}", told.join("; "))
}

fn facts(bare: &Bare) -> Option<&Facts> {
    match bare.seen.as_ref().ok()? {
        Seen::Foreign { facts, .. } | Seen::Installer { facts, .. } => Some(facts),
        Seen::Installed { .. } | Seen::Delivered { .. } => None,
    }
}

/// The disks of a machine, of which `devices` are used.
fn disks(facts: &Facts, devices: &[String]) -> Vec<InstallDisk> {
    let text = |text: &str, max: usize| text[..text.floor_char_boundary(max)].to_owned();
    let told = |disk: &Disk| InstallDisk {
        device: text(&disk.path, 128),
        size_bytes: disk.size_bytes,
        model: disk.model.as_ref().map(|model| text(model, 128)),
        names: disk.names().iter().take(NAMES).map(|name| text(name, 253)).collect(),
        used: devices.iter().any(|device| disk.is(device)),
    };
    facts.disks.iter().take(DISKS).map(told).collect()
}
