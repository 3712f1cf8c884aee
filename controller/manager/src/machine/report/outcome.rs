//! How a visit to a Machine ends.

use std::time::Duration;

use cim_crds::machine::system::FailedDelivery;
use cim_nixos::{Assessment, SyncState};

use super::conditions::unwell;
use crate::machine::assign::{Assignment, Waits};
use crate::machine::failure::MachineFailure;
use crate::machine::observe::Seen;
use crate::machine::services;
use crate::machine::validate::{Delivery, Desired};
use crate::outcome::{Outcome, Wait};

/// When to look again at Services that do not serve.
const SERVICES_AGAIN: Duration = Duration::from_secs(5);

pub(super) fn nothing_delivered(assignment: &Assignment) -> (&'static str, String) {
    match &assignment.waits {
        None => ("NothingDelivered", "nothing is delivered to it; it is only observed".to_owned()),
        Some(Waits::Release(message)) => ("ReleasePending", message.clone()),
        Some(Waits::Closure(message)) => ("NoClosure", message.clone()),
        Some(Waits::Turn(message)) => ("RolloutPending", message.clone()),
        Some(Waits::Aborted(message)) => ("RolloutAborted", message.clone()),
    }
}

pub(super) fn undelivered(
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

pub(super) fn outcome(
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
