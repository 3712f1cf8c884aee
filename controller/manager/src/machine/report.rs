//! What a Machine's status says.

use cim_crds::Machine;
use cim_crds::MachineStatus;
use cim_crds::conditions::{ConditionStatus, ConditionType, reasons};
use cim_crds::machine::system::{DeliveryPhase, System, SystemState, Target};
use cim_nixos::{Assessment, HostState, Link, Observed, StorePath, SyncState, assess};

use super::failure::MachineFailure;
use super::validate::{Delivery, Desired};
use crate::driver::Report;
use crate::outcome::{Outcome, Wait};
use crate::status::Judgement;

/// How many closures are remembered as delivered.
const DELIVERED_MAX: usize = 10;

pub(super) fn report(
    machine: &Machine,
    desired: &Desired,
    observed: &Observed,
    status: &mut MachineStatus,
) -> Report<MachineFailure> {
    status.addresses = addresses(machine);
    status.target = desired.delivery.as_ref().map(target);
    let state = match observed {
        Observed::Reached(state) => state,
        Observed::Unreachable { reason, message } => {
            status.state = Some(SystemState::Unreachable);
            let failure = MachineFailure::Unreachable { reason, message: message.clone() };
            let reachable =
                Judgement::new(ConditionType::Reachable, false, reason, message.as_str());
            return Report::new(vec![reachable], Err(failure));
        }
    };
    status.system = Some(system(state));
    let mut conditions =
        vec![Judgement::new(ConditionType::Reachable, true, reasons::SUCCEEDED, "it answers")];
    let Some(delivery) = &desired.delivery else {
        status.state = Some(SystemState::Unknown);
        status.delivery_phase = None;
        let message = "its Cluster delivers nothing; it is only observed";
        conditions.push(Judgement::new(
            ConditionType::InSync,
            ConditionStatus::Unknown,
            "NothingDelivered",
            message,
        ));
        return Report::new(conditions, Ok(Outcome::done(message)));
    };
    let assessment = assess(&delivery.wanted, observed);
    if state.profile.is(&delivery.wanted.closure) {
        remember(&mut status.delivered, &delivery.wanted.closure);
    }
    status.state = Some(system_state(&assessment));
    status.delivery_phase = Some(phase(&assessment));
    conditions.push(in_sync(&assessment, &delivery.wanted.closure));
    conditions.push(reboot(&assessment));
    Report::new(conditions, outcome(&assessment, delivery))
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

fn outcome(assessment: &Assessment, delivery: &Delivery) -> Result<Outcome, MachineFailure> {
    let closure = delivery.wanted.closure.to_string();
    if let (SyncState::RolledBack, Some(record)) = (assessment.sync, &assessment.rolled_back) {
        let outcome = format!("it went back by itself: {record}");
        return Err(MachineFailure::Activation { reason: "RolledBack", closure, outcome });
    }
    match &assessment.last_outcome {
        Some(last) if !last.is_success() => {
            return Err(MachineFailure::Activation {
                reason: last.reason(),
                closure,
                outcome: last.reason().to_owned(),
            });
        }
        _ => {}
    }
    match assessment.sync {
        SyncState::Activating => Ok(Outcome::Wait(
            Wait::new("Activating", format!("{closure} is being activated"))
                .after(std::time::Duration::from_secs(5)),
        )),
        SyncState::Confirming => Ok(Outcome::Wait(
            Wait::new("Confirming", format!("{closure} runs and is not confirmed yet"))
                .after(std::time::Duration::from_secs(5)),
        )),
        SyncState::Staged if assessment.reboot_required == Some(true) => {
            Ok(Outcome::Wait(Wait::new("RebootRequired", format!("{closure} waits for a reboot"))))
        }
        _ => Ok(Outcome::done(format!("runs {closure}"))),
    }
}

fn in_sync(assessment: &Assessment, closure: &StorePath) -> Judgement {
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

fn phase(assessment: &Assessment) -> DeliveryPhase {
    let failed = assessment.last_outcome.as_ref().is_some_and(|outcome| !outcome.is_success());
    match assessment.sync {
        SyncState::RolledBack => DeliveryPhase::RolledBack,
        SyncState::Confirming => DeliveryPhase::Confirming,
        _ if failed => DeliveryPhase::Failed,
        SyncState::InSync => DeliveryPhase::Complete,
        SyncState::Staged => DeliveryPhase::Staged,
        SyncState::Activating => DeliveryPhase::Activating,
        _ => DeliveryPhase::Waiting,
    }
}

fn system(state: &HostState) -> System {
    let path = |link: &Link| match link {
        Link::Missing => None,
        Link::Closure(path) => Some(path.to_string()),
        Link::Foreign(path) => Some(path.clone()),
    };
    System {
        current: path(&state.current),
        booted: path(&state.booted),
        profile: path(&state.profile),
        generation: state.generation.and_then(|number| u32::try_from(number).ok()),
        boot_id: Some(state.boot_id.clone()).filter(|id| !id.is_empty()),
        ..System::default()
    }
}

fn target(delivery: &Delivery) -> Target {
    Target {
        rev: delivery.rev.clone(),
        short_rev: delivery.rev.chars().take(12).collect(),
        out_path: Some(delivery.wanted.closure.to_string()),
        drv_path: Some(delivery.toplevel.derivation.to_string()),
        ..Target::default()
    }
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
