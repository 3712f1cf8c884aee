//! What a Machine's status says.

use std::time::Duration;

use cim_crds::conditions::{ConditionStatus, ConditionType, reasons};
use cim_crds::machine::system::{
    DeliveryPhase, Facts, FailedDelivery, System, SystemState, Verification,
};
use cim_crds::{Machine, MachineStatus};
use cim_nixos::{
    Assessment, Attempt, Health, HostState, Integrity, Link, Observed, StorePath, SyncState, assess,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::assign::{Assignment, Waits};
use super::attempt::{self, ROLLED_BACK, failed, went_back};
use super::failure::MachineFailure;
use super::observe::Seen;
use super::plan::Held;
use super::validate::{Delivery, Desired};
use super::{install, plan, services};
use crate::checks::Troubles;
use crate::driver::{Report, Visit};
use crate::outcome::{Outcome, Wait};
use crate::status::Judgement;

const CHECKS_FAILING: &str = "ChecksFailing";
const CHECKS_UNKNOWN: &str = "ChecksUnknown";
/// When to look again at Services that do not serve.
const SERVICES_AGAIN: Duration = Duration::from_secs(5);
/// How many closures are remembered as delivered.
const DELIVERED_MAX: usize = 10;

pub(super) fn report(
    visit: &Visit<'_, Machine>,
    desired: &Desired,
    seen: &Seen,
    status: &mut MachineStatus,
) -> Report<MachineFailure> {
    let machine = visit.object();
    let assignment = &desired.assignment;
    status.addresses = addresses(machine);
    status.target.clone_from(&assignment.target);
    status.previous.clone_from(&assignment.previous);
    status.progress = None;
    if let (Some(wanted), Some(bare)) = (&desired.install, &seen.bare) {
        return install::report(visit, wanted, bare, status);
    }
    let state = match &seen.observed {
        Observed::Reached(state) => state,
        Observed::Unreachable { reason, message } => {
            status.state = Some(SystemState::Unreachable);
            let failure = MachineFailure::Unreachable { reason, message: message.clone() };
            let reachable =
                Judgement::new(ConditionType::Reachable, false, reason, message.as_str());
            return Report::new(vec![reachable], Err(failure));
        }
    };
    install::complete(machine, status, visit.now());
    note_reboot(status, state);
    status.system = Some(system(status, state, seen.facts.as_ref()));
    if let Some(services) = &seen.services {
        status.services.clone_from(services);
    }
    if let Some(facts) = &seen.facts {
        status.facts = Some(told(facts));
    }
    let mut conditions = vec![
        Judgement::new(ConditionType::Reachable, true, reasons::SUCCEEDED, "it answers"),
        installed(state),
        healthy(seen),
    ];
    let Some(delivery) = &desired.delivery else {
        status.state = Some(SystemState::Unknown);
        status.delivery_phase = None;
        let (reason, message) = nothing_delivered(assignment);
        conditions.push(Judgement::new(
            ConditionType::InSync,
            ConditionStatus::Unknown,
            reason,
            message.clone(),
        ));
        return Report::new(conditions, undelivered(seen, assignment, reason, message));
    };
    let assessment = assess(&delivery.wanted, &seen.observed);
    if assessment.sync == SyncState::InSync {
        remember(&mut status.delivered, &delivery.wanted.closure);
    }
    note_verification(status, delivery, seen, visit.now());
    note_failure(status, assignment, delivery, &seen.observed, visit.now());
    let corrupt = corrupt(status, delivery);
    let held = plan::held(desired, delivery, seen);
    if plan::is_settled(desired, delivery, seen) {
        attempt::hear(machine, status);
    }
    status.state =
        Some(if corrupt.is_some() { SystemState::Corrupt } else { system_state(&assessment) });
    status.delivery_phase = Some(phase(&assessment, status.failed.as_ref(), delivery));
    conditions.push(in_sync(&assessment, &delivery.wanted.closure, corrupt.as_deref()));
    conditions.push(reboot(&assessment));
    let outcome = match (corrupt, held) {
        (Some(paths), _) => Err(MachineFailure::Corrupt(paths)),
        (None, Some(Held::Window)) => {
            let message = format!("{} waits for a window", delivery.wanted.closure);
            Ok(Outcome::Wait(Wait::new("WaitingForWindow", message)))
        }
        (None, _) => outcome(&assessment, desired, delivery, seen, status.failed.as_ref()),
    };
    Report::new(conditions, outcome)
}

/// Whether anything of NixOS is on it.
fn installed(state: &HostState) -> Judgement {
    if state.current == Link::Missing && state.profile == Link::Missing {
        let message = "no closure was delivered to it yet";
        let (condition, unknown) = (ConditionType::Installed, ConditionStatus::Unknown);
        return Judgement::new(condition, unknown, "NothingDelivered", message);
    }
    let message = "a system that takes deliveries is on it";
    Judgement::new(ConditionType::Installed, true, reasons::SUCCEEDED, message)
}

/// What it runs may be well although nothing of ours is.
fn healthy(seen: &Seen) -> Judgement {
    let judge = |status: ConditionStatus, reason, told: Vec<String>| {
        Judgement::new(ConditionType::Healthy, status, reason, told.join("; "))
    };
    if let Health::Failing(failing) = &seen.health {
        return judge(ConditionStatus::False, CHECKS_FAILING, failing.clone());
    }
    match unwell(&seen.troubles) {
        None => judge(ConditionStatus::True, reasons::SUCCEEDED, vec!["its checks hold".into()]),
        Some(CHECKS_UNKNOWN) => {
            judge(ConditionStatus::Unknown, CHECKS_UNKNOWN, seen.troubles.unknown.clone())
        }
        Some(reason) => judge(ConditionStatus::False, reason, seen.troubles.told()),
    }
}

/// Why checks do not hold, in one word.
fn unwell(troubles: &Troubles) -> Option<&'static str> {
    match (troubles.failing.is_empty(), troubles.unknown.is_empty()) {
        (true, true) => None,
        (true, false) => Some(CHECKS_UNKNOWN),
        (false, _) => Some(CHECKS_FAILING),
    }
}

/// A reboot that does not settle what is owed is not repeated for the same closure.
fn note_reboot(status: &mut MachineStatus, state: &HostState) {
    let before = status.system.as_ref().and_then(|system| system.boot_id.as_ref());
    if before.is_some_and(|before| *before != state.boot_id) {
        let target = status.target.as_ref();
        status.rebooted_for = target.and_then(|target| target.out_path.clone());
    }
}

fn nothing_delivered(assignment: &Assignment) -> (&'static str, String) {
    match &assignment.waits {
        None => ("NothingDelivered", "nothing is delivered to it; it is only observed".to_owned()),
        Some(Waits::Release(message)) => ("ReleasePending", message.clone()),
        Some(Waits::Closure(message)) => ("NoClosure", message.clone()),
        Some(Waits::Turn(message)) => ("RolloutPending", message.clone()),
        Some(Waits::Aborted(message)) => ("RolloutAborted", message.clone()),
    }
}

fn undelivered(
    seen: &Seen,
    assignment: &Assignment,
    reason: &'static str,
    message: String,
) -> Result<Outcome, MachineFailure> {
    match &assignment.waits {
        None => Ok(done(seen, message)),
        Some(Waits::Closure(_)) => Err(MachineFailure::NoClosure(message)),
        Some(_) => Ok(Outcome::Wait(Wait::new(reason, message))),
    }
}

fn note_verification(status: &mut MachineStatus, delivery: &Delivery, seen: &Seen, now: &Time) {
    const LISTED: usize = 10;
    let closure = delivery.wanted.closure.as_str();
    let corrupt: Vec<String> = match &seen.integrity {
        None | Some(Integrity::Unverified { .. }) => return,
        Some(Integrity::Intact) => Vec::new(),
        Some(Integrity::Corrupt { paths } | Integrity::Untrusted { paths }) => {
            paths.iter().take(LISTED).map(ToString::to_string).collect()
        }
    };
    // While nothing changes the time stays, so that a finding does not write at every look.
    let same = status.verification.as_ref().is_some_and(|before| {
        !corrupt.is_empty() && before.corrupt == corrupt && before.out_path == closure
    });
    if !same {
        let (time, out_path) = (Some(now.clone()), closure.to_owned());
        status.verification = Some(Verification { time, out_path, corrupt });
    }
}

fn corrupt(status: &MachineStatus, delivery: &Delivery) -> Option<Vec<String>> {
    let read = status.verification.as_ref()?;
    let found = read.out_path == delivery.wanted.closure.as_str() && !read.corrupt.is_empty();
    found.then(|| read.corrupt.clone())
}

/// Remembers what failed as long as the Cluster's release is the one that did.
pub(super) fn note_failure(
    status: &mut MachineStatus,
    assignment: &Assignment,
    delivery: &Delivery,
    observed: &Observed,
    now: &Time,
) {
    let wanted = delivery.wanted_of(observed);
    let Assessment { sync, last_outcome, rolled_back, .. } = assess(&wanted, observed);
    let back = rolled_back.filter(|_| sync == SyncState::RolledBack);
    let ended = match (back, last_outcome) {
        // What went wrong before is no reason while it is tried again.
        _ if wanted.attempt == Attempt::Again => None,
        (Some(record), _) => Some((ROLLED_BACK, went_back(&record))),
        (None, Some(last)) if !last.is_success() && sync != SyncState::Activating => {
            Some((last.reason(), last.to_string()))
        }
        _ => None,
    };
    if let Some((reason, message)) = ended {
        let next = failed(assignment, delivery, reason, &message, Some(now));
        let before = status.failed.take().filter(|before| {
            before.out_path == next.out_path
                && before.reason == next.reason
                && before.attempt == next.attempt
                && before.again.is_none()
        });
        status.failed = Some(before.unwrap_or(next));
        return;
    }
    let closure = delivery.wanted.closure.as_str();
    let mended = sync == SyncState::InSync;
    status.failed = status.failed.take().filter(|failed| {
        let of_this_release = failed.release == assignment.release;
        of_this_release && !(mended && failed.out_path == closure)
    });
}

/// Newest first; what runs there and is not in this list was put there by somebody else.
fn remember(delivered: &mut Vec<String>, closure: &StorePath) {
    if delivered.first().is_some_and(|newest| newest == closure.as_str()) {
        return;
    }
    delivered.retain(|path| path != closure.as_str());
    delivered.insert(0, closure.to_string());
    delivered.truncate(DELIVERED_MAX);
}

fn outcome(
    assessment: &Assessment,
    desired: &Desired,
    delivery: &Delivery,
    seen: &Seen,
    failed: Option<&FailedDelivery>,
) -> Result<Outcome, MachineFailure> {
    let closure = delivery.wanted.closure.to_string();
    let soon = Duration::from_secs(2);
    let wait = |reason, message: String| Ok(Outcome::Wait(Wait::new(reason, message)));
    match assessment.sync {
        SyncState::Activating => {
            return Ok(Outcome::Wait(
                Wait::new("Activating", format!("{closure} is being activated")).after(soon),
            ));
        }
        SyncState::Confirming => {
            return Ok(Outcome::Wait(
                Wait::new("Confirming", format!("{closure} runs and is not confirmed yet"))
                    .after(soon),
            ));
        }
        SyncState::Staged if assessment.reboot_required == Some(true) => {
            return wait("RebootRequired", format!("{closure} waits for a reboot"));
        }
        _ => {}
    }
    if let Some(failed) = failed.filter(|failed| failed.out_path == closure) {
        return Err(MachineFailure::Failed {
            reason: MachineFailure::remembered(&failed.reason),
            closure,
            message: failed.message.clone(),
        });
    }
    if let Some(reason) = unwell(&seen.troubles) {
        return wait(reason, seen.troubles.told().join("; "));
    }
    match &desired.assignment.waits {
        // It runs what it was given, and that is as it should be until its turn comes.
        Some(Waits::Turn(_)) | None => Ok(done(seen, format!("runs {closure}"))),
        Some(Waits::Aborted(message)) => {
            Ok(done(seen, format!("runs {closure}; the newer release is not taken: {message}")))
        }
        Some(Waits::Release(message)) => wait("ReleasePending", message.clone()),
        Some(Waits::Closure(message)) => Err(MachineFailure::NoClosure(message.clone())),
    }
}

/// Nothing is left to be done with the machine. Services on it that do not serve are looked at again
/// soon: the rollout, and people, wait for them.
fn done(seen: &Seen, message: String) -> Outcome {
    let serves = services::serve(seen.services.as_deref().unwrap_or_default());
    Outcome::Done { message, requeue: (!serves).then_some(SERVICES_AGAIN) }
}

fn in_sync(assessment: &Assessment, closure: &StorePath, corrupt: Option<&[String]>) -> Judgement {
    if let Some(paths) = corrupt {
        let message = format!("not what was delivered: {}", paths.join(", "));
        return Judgement::new(ConditionType::InSync, false, "Corrupt", message);
    }
    let (status, reason, message) = match assessment.sync {
        SyncState::InSync => (ConditionStatus::True, reasons::SUCCEEDED, "it runs and will boot"),
        SyncState::Outdated => {
            (ConditionStatus::False, "OutOfDate", "it runs an earlier closure, not")
        }
        SyncState::Staged => (ConditionStatus::False, "Staged", "it will boot, but does not run"),
        SyncState::TestOnly => (ConditionStatus::False, "TestOnly", "it runs, but will not boot"),
        SyncState::Drifted => {
            (ConditionStatus::False, "Drifted", "somebody made it run or boot another closure than")
        }
        SyncState::Activating => (ConditionStatus::False, "Activating", "it is activating"),
        SyncState::Confirming => {
            (ConditionStatus::False, "Confirming", "it runs and is not confirmed yet:")
        }
        SyncState::RolledBack => (ConditionStatus::False, "RolledBack", "it went back from"),
        SyncState::Unknown => (ConditionStatus::Unknown, reasons::NOT_OBSERVED, "not seen running"),
    };
    Judgement::new(ConditionType::InSync, status, reason, format!("{message} {closure}"))
}

fn reboot(assessment: &Assessment) -> Judgement {
    let (status, reason, message) = match assessment.reboot_required {
        Some(true) => (ConditionStatus::True, "RebootRequired", "what was booted is not what runs"),
        Some(false) => (ConditionStatus::False, reasons::SUCCEEDED, "what was booted is what runs"),
        None => (ConditionStatus::Unknown, "NoBootedSystem", "it has no booted system to compare"),
    };
    Judgement::new(ConditionType::RebootRequired, status, reason, message)
}

fn system_state(assessment: &Assessment) -> SystemState {
    match assessment.sync {
        SyncState::InSync if assessment.reboot_required == Some(true) => {
            SystemState::RebootRequired
        }
        SyncState::InSync => SystemState::InSync,
        SyncState::Outdated | SyncState::Activating | SyncState::RolledBack => {
            SystemState::OutOfDate
        }
        SyncState::Staged => SystemState::Staged,
        SyncState::TestOnly | SyncState::Confirming => SystemState::TestOnly,
        SyncState::Drifted => SystemState::Drifted,
        SyncState::Unknown => SystemState::Unknown,
    }
}

fn phase(
    assessment: &Assessment,
    failed: Option<&FailedDelivery>,
    delivery: &Delivery,
) -> DeliveryPhase {
    let closure = delivery.wanted.closure.as_str();
    match assessment.sync {
        SyncState::InSync => DeliveryPhase::Complete,
        SyncState::Activating => DeliveryPhase::Activating,
        SyncState::Confirming => DeliveryPhase::Confirming,
        SyncState::RolledBack => DeliveryPhase::RolledBack,
        _ if failed.is_some_and(|failed| failed.out_path == closure) => DeliveryPhase::Failed,
        SyncState::Staged => DeliveryPhase::Staged,
        _ => DeliveryPhase::Waiting,
    }
}

fn system(status: &MachineStatus, state: &HostState, facts: Option<&cim_nixos::Facts>) -> System {
    let path = |link: &Link| match link {
        Link::Missing => None,
        Link::Closure(path) => Some(path.to_string()),
        Link::Foreign(path) => Some(path.clone()),
    };
    let before = status.system.as_ref();
    let (kernel, nix_version) = match facts {
        Some(facts) => (facts.kernel.clone(), facts.nix_version.clone()),
        None => (
            before.and_then(|before| before.kernel.clone()),
            before.and_then(|before| before.nix_version.clone()),
        ),
    };
    System {
        current: path(&state.current),
        booted: path(&state.booted),
        profile: path(&state.profile),
        generation: state.generation.and_then(|number| u32::try_from(number).ok()),
        boot_id: Some(state.boot_id.clone()).filter(|id| !id.is_empty()),
        kernel: kernel.map(|kernel| short(&kernel, 128)),
        nix_version: nix_version.map(|version| short(&version, 64)),
    }
}

/// The facts that a status has room for. They come from the machine, so their lengths are anybody's.
pub(super) fn told(facts: &cim_nixos::Facts) -> Facts {
    let text = |text: &Option<String>, max| text.as_deref().map(|text| short(text, max));
    Facts {
        system: text(&facts.system, 64),
        cpus: facts.cpus,
        memory_bytes: facts.memory_bytes,
        vendor: text(&facts.vendor, 128),
        model: text(&facts.model, 128),
        serial: text(&facts.serial, 128),
        virtualization: text(&facts.virtualization, 64),
    }
}

fn short(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)].to_owned()
}

/// The declared addresses, without prefix length.
fn addresses(machine: &Machine) -> Vec<String> {
    let interfaces = machine.spec.interfaces.iter().flat_map(|interface| &interface.addresses);
    let hosts = machine.spec.virtual_hosts.iter().flat_map(|host| &host.addresses);
    let mut addresses: Vec<String> = interfaces
        .chain(hosts)
        .filter_map(|address| address.split('/').next().map(str::to_owned))
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closure(n: usize) -> StorePath {
        let path = format!("/nix/store/{n:032}-nixos-system-host1");
        path.parse().expect("store path")
    }

    #[test]
    fn deliveries_are_remembered_newest_first_and_bounded() {
        let mut delivered = Vec::new();
        for n in 0..DELIVERED_MAX + 3 {
            remember(&mut delivered, &closure(n));
        }
        assert_eq!(delivered.len(), DELIVERED_MAX);
        assert_eq!(delivered[0], closure(DELIVERED_MAX + 2).as_str());
        // Going back to an earlier one moves it, and repeats nothing.
        let earlier = closure(DELIVERED_MAX);
        remember(&mut delivered, &earlier);
        assert_eq!(delivered[0], earlier.as_str());
        assert_eq!(delivered.iter().filter(|path| *path == earlier.as_str()).count(), 1);
        let before = delivered.clone();
        remember(&mut delivered, &earlier);
        assert_eq!(delivered, before);
    }

    #[test]
    fn what_is_in_sync_but_owes_a_reboot_says_so() {
        let assessment = |sync, reboot| Assessment {
            sync,
            reboot_required: reboot,
            booted_another: false,
            last_outcome: None,
            rolled_back: None,
        };
        let state = |sync, reboot| system_state(&assessment(sync, reboot));
        assert_eq!(state(SyncState::InSync, Some(false)), SystemState::InSync);
        assert_eq!(state(SyncState::InSync, None), SystemState::InSync);
        assert_eq!(state(SyncState::InSync, Some(true)), SystemState::RebootRequired);
        assert_eq!(state(SyncState::Drifted, Some(true)), SystemState::Drifted);
        assert_eq!(reboot(&assessment(SyncState::InSync, None)).status, ConditionStatus::Unknown);
    }
}
