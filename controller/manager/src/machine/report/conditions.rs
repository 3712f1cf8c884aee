//! What a Machine's conditions say, and its state in one word.

use cim_crds::conditions::{ConditionStatus, ConditionType, reasons};
use cim_crds::machine::system::{DeliveryPhase, FailedDelivery, SystemState};
use cim_nixos::{Assessment, Health, HostState, Link, StorePath, SyncState};

use crate::checks::Troubles;
use crate::machine::observe::Seen;
use crate::machine::validate::Delivery;
use crate::status::Judgement;

const CHECKS_FAILING: &str = "ChecksFailing";
const CHECKS_UNKNOWN: &str = "ChecksUnknown";

/// Whether anything of NixOS is on it.
pub(super) fn installed(state: &HostState) -> Judgement {
    if state.current == Link::Missing && state.profile == Link::Missing {
        let message = "no closure was delivered to it yet";
        let (condition, unknown) = (ConditionType::Installed, ConditionStatus::Unknown);
        return Judgement::new(condition, unknown, "NothingDelivered", message);
    }
    let message = "a system that takes deliveries is on it";
    Judgement::new(ConditionType::Installed, true, reasons::SUCCEEDED, message)
}

/// What it runs may be well although nothing of ours is.
pub(super) fn healthy(seen: &Seen) -> Judgement {
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
pub(super) fn unwell(troubles: &Troubles) -> Option<&'static str> {
    match (troubles.failing.is_empty(), troubles.unknown.is_empty()) {
        (true, true) => None,
        (true, false) => Some(CHECKS_UNKNOWN),
        (false, _) => Some(CHECKS_FAILING),
    }
}

pub(super) fn in_sync(
    assessment: &Assessment,
    closure: &StorePath,
    corrupt: Option<&[String]>,
) -> Judgement {
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

pub(super) fn reboot(assessment: &Assessment) -> Judgement {
    let (status, reason, message) = match assessment.reboot_required {
        Some(true) => (ConditionStatus::True, "RebootRequired", "what was booted is not what runs"),
        Some(false) => (ConditionStatus::False, reasons::SUCCEEDED, "what was booted is what runs"),
        None => (ConditionStatus::Unknown, "NoBootedSystem", "it has no booted system to compare"),
    };
    Judgement::new(ConditionType::RebootRequired, status, reason, message)
}

pub(super) fn system_state(assessment: &Assessment) -> SystemState {
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

pub(super) fn phase(
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

#[cfg(test)]
mod tests {
    use super::*;

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
