//! What a Machine's status says.
//!
//! ```text
//! system      what it is
//! conditions  how it stands
//! outcome     how the visit ends
//! ```

mod conditions;
mod outcome;
mod system;

use cim_crds::conditions::{ConditionStatus, ConditionType, reasons};
use cim_crds::machine::system::{SystemState, Verification};
use cim_crds::{Machine, MachineStatus};
use cim_nixos::{HostState, Integrity, Observed, StorePath, SyncState, assess};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use self::conditions::{healthy, in_sync, installed, phase, reboot, system_state};
use self::outcome::{nothing_delivered, outcome, undelivered};
use self::system::{addresses, system};
use super::failure::MachineFailure;
use super::observe::Seen;
use super::plan::Held;
use super::validate::{Delivery, Desired};
use super::{attempt, install, plan};
use crate::driver::{Report, Visit};
use crate::outcome::{Outcome, Wait};
use crate::status::Judgement;

pub(super) use self::system::told;

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
    attempt::note_failure(status, assignment, delivery, &seen.observed, visit.now());
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

/// A reboot that does not settle what is owed is not repeated for the same closure.
fn note_reboot(status: &mut MachineStatus, state: &HostState) {
    let before = status.system.as_ref().and_then(|system| system.boot_id.as_ref());
    if before.is_some_and(|before| *before != state.boot_id) {
        let target = status.target.as_ref();
        status.rebooted_for = target.and_then(|target| target.out_path.clone());
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

/// Newest first; what runs there and is not in this list was put there by somebody else.
fn remember(delivered: &mut Vec<String>, closure: &StorePath) {
    if delivered.first().is_some_and(|newest| newest == closure.as_str()) {
        return;
    }
    delivered.retain(|path| path != closure.as_str());
    delivered.insert(0, closure.to_string());
    delivered.truncate(DELIVERED_MAX);
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
}
