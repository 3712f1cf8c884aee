//! Where an installation stands, and what is to be done.

use cim_crds::machine::install::FailedInstall;
use cim_nixos::Error;
use cim_nixos::install::{Refused, Step};
use cim_plan::Plan;

use super::candidate::{Candidate, NotYet};
use super::observe::Bare;
use super::validate::Wanted;
use crate::driver::Hold;
use crate::machine::change::Change;

/// Where an installation stands.
pub(super) enum Stand<'a> {
    /// A phase failed, and is not tried again by itself.
    Failed(&'a FailedInstall),
    /// Root cannot log in.
    Unseen(&'a Error),
    /// There is nothing to install yet.
    NotYet(&'a NotYet),
    /// The local store has lost the closure.
    Lost,
    /// It must not be.
    Refused(Vec<Refused>),
    /// These steps are left.
    Left(&'a Candidate, Plan<Step>),
}

/// The first of these that holds.
pub(super) fn stand<'a>(wanted: &'a Wanted, bare: &'a Bare) -> Stand<'a> {
    if let Some(failed) = &wanted.failed {
        // Also where nobody answers: why it does not is what failed.
        return Stand::Failed(failed);
    }
    let seen = match &bare.seen {
        Ok(seen) => seen,
        Err(error) => return Stand::Unseen(error),
    };
    let candidate = match &wanted.candidate {
        Ok(candidate) => candidate,
        Err(why) => return Stand::NotYet(why),
    };
    let (Some(installation), Some(system)) = (&wanted.installation, &bare.system) else {
        return Stand::Lost;
    };
    match cim_nixos::install::plan(installation, system, seen) {
        Ok(plan) => Stand::Left(candidate, plan),
        Err(why) => Stand::Refused(why),
    }
}

/// The steps that are left, as far as nothing speaks against them.
pub(in crate::machine) fn plan(wanted: &Wanted, bare: &Bare) -> Plan<Change> {
    match stand(wanted, bare) {
        Stand::Left(_, plan) => {
            Plan::new(plan.changes.into_iter().map(Change::Install).collect(), plan.findings)
        }
        _ => Plan::default(),
    }
}

/// What is on disks is gone for ever, so nobody but a person begins it. What was begun goes on.
pub(in crate::machine) fn hold(wanted: &Wanted, plan: &Plan<Change>) -> Option<Hold> {
    let confirmed = wanted.candidate.as_ref().is_ok_and(|candidate| candidate.confirmed);
    let is_step = |change: &Change| matches!(change, Change::Install(_));
    (!confirmed && plan.changes.iter().any(is_step))
        .then(|| Hold { reason: "AwaitsConfirmation", message: doom(plan) })
}

/// What the plan would do that cannot be undone.
fn doom(plan: &Plan<Change>) -> String {
    let disks: Vec<String> = plan
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Install(Step::Disko { disks, .. }) => Some(disks),
            _ => None,
        })
        .flatten()
        .map(ToString::to_string)
        .collect();
    if disks.is_empty() {
        return "its first installation would go on where it was left".to_owned();
    }
    format!("its first installation destroys all that is on {}", disks.join(", "))
}

#[cfg(test)]
mod tests;
