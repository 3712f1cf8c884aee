//! What is done on a machine with one closure, and how it ended.

use std::fmt::{self, Display};

use serde::Serialize;

use crate::error::reason_table;
use crate::store_path::StorePath;

/// How a machine comes to run a closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Activate it now, and make it the default of the next boot once it is confirmed.
    Switch,
    /// Make it the default of the next boot, and leave the running system alone.
    Boot,
}

/// One step of a delivery, as the machine's `cim-activate` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Activate now; unless confirmed in time, the machine goes back by itself. The next boot is
    /// left as it was.
    Test,
    /// Make what was tested the default of the next boot.
    Confirm,
    /// Make it the default of the next boot without activating it.
    Boot,
    /// Go back from what was tested to what ran before.
    Rollback,
}

impl Step {
    const ALL: [Self; 4] = [Self::Test, Self::Confirm, Self::Boot, Self::Rollback];

    /// The verb of `cim-activate`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Confirm => "confirm",
            Self::Boot => "boot",
            Self::Rollback => "rollback",
        }
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A step with its closure.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Job {
    /// What to do.
    pub step: Step,
    /// With which closure.
    pub closure: StorePath,
}

impl Job {
    /// Reads a unit's description, as `cim-activate` writes it: `cim-activate test PATH`.
    pub(crate) fn from_description(text: &str) -> Option<Self> {
        let (verb, closure) = text.strip_prefix("cim-activate ")?.split_once(' ')?;
        let step = Step::ALL.into_iter().find(|step| step.as_str() == verb)?;
        Some(Self { step, closure: closure.parse().ok()? })
    }
}

impl Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.step, self.closure)
    }
}

/// How an activation ended: the exit status of `switch-to-configuration`, given its meaning.
///
/// Which closure runs afterwards is not told by this but by observing: an activation that failed
/// half way may have changed `/run/current-system` or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// 0: done.
    Succeeded,
    /// 1: a pre-switch check or the boot loader failed; the running system was left alone.
    Rejected,
    /// 2: the activation script failed in parts.
    ActivationScriptFailed,
    /// 4: activated, but some units failed to start, stop or reload.
    UnitsFailed,
    /// 11 (EAGAIN): somebody else's activation held the lock.
    Locked,
    /// 100: the boot loader is set, the running system needs a reboot to follow.
    RebootRequired,
    /// The system profile could not be set; nothing else was tried.
    ProfileNotSet,
    /// It was activated, and the machine went back to what ran before: not confirmed in time, or
    /// told to. [`crate::RolledBack`] says which.
    RolledBack,
    /// Ended by a signal, or by the unit's time limit, at any point.
    Interrupted,
    /// Another exit status.
    Failed {
        /// The exit status.
        status: i32,
    },
}

impl Outcome {
    /// The meaning of an exit status of `switch-to-configuration` (nixpkgs,
    /// `pkgs/by-name/sw/switch-to-configuration-ng/src/main.rs`), and of the one (73, `EX_CANTCREAT`)
    /// that `cim-activate` adds.
    pub const fn from_status(status: i32) -> Self {
        match status {
            0 => Self::Succeeded,
            1 => Self::Rejected,
            2 => Self::ActivationScriptFailed,
            4 => Self::UnitsFailed,
            11 => Self::Locked,
            73 => Self::ProfileNotSet,
            100 => Self::RebootRequired,
            status => Self::Failed { status },
        }
    }

    /// The exit status of which this is the meaning, if it has one.
    pub const fn status(&self) -> Option<i32> {
        match self {
            Self::Succeeded => Some(0),
            Self::Rejected => Some(1),
            Self::ActivationScriptFailed => Some(2),
            Self::UnitsFailed => Some(4),
            Self::Locked => Some(11),
            Self::ProfileNotSet => Some(73),
            Self::RebootRequired => Some(100),
            Self::RolledBack | Self::Interrupted => None,
            Self::Failed { status } => Some(*status),
        }
    }

    reason_table! {
        /// A condition's reason.
        Succeeded => "Activated",
        Rejected => "ActivationRejected",
        ActivationScriptFailed => "ActivationScriptFailed",
        UnitsFailed => "UnitsFailed",
        Locked => "ActivationLocked",
        RebootRequired => "RebootRequired",
        ProfileNotSet => "ProfileNotSet",
        RolledBack => "RolledBack",
        Interrupted => "ActivationInterrupted",
        Failed => "ActivationFailed",
    }

    /// Whether the machine did what was asked, perhaps still owing a reboot.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded | Self::RebootRequired)
    }

    /// Whether it says nothing about the closure: the same may well succeed at another time.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Locked | Self::Interrupted)
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Succeeded => "activated",
            Self::Rejected => "refused by a pre-switch check or the boot loader (exit 1)",
            Self::ActivationScriptFailed => "the activation script failed (exit 2)",
            Self::UnitsFailed => "activated, but units failed (exit 4)",
            Self::Locked => "somebody else's activation was running (exit 11)",
            Self::RebootRequired => "a reboot is needed (exit 100)",
            Self::ProfileNotSet => "the system profile could not be set",
            Self::RolledBack => "the machine went back to what ran before",
            Self::Interrupted => "interrupted by a signal or its time limit",
            Self::Failed { status } => return write!(f, "failed (exit {status})"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-nixos-system-host1";

    #[test]
    fn the_unit_tells_its_job() {
        for step in Step::ALL {
            let job = Job::from_description(&format!("cim-activate {step} {PATH}")).unwrap();
            assert_eq!((job.step, job.closure.as_str()), (step, PATH));
        }
        for other in
            ["", "cim-switch.service", "cim-activate boot", "cim-activate eat /nix/store/x"]
        {
            assert_eq!(Job::from_description(other), None, "{other}");
        }
        assert_eq!(Job::from_description(&format!("cim-activate boot {PATH} x")), None);
    }

    #[test]
    fn each_known_status_has_its_meaning() {
        let reasons: Vec<_> =
            [0, 1, 2, 4, 11, 100, 5].map(|status| Outcome::from_status(status).reason()).into();
        assert_eq!(
            reasons,
            [
                "Activated",
                "ActivationRejected",
                "ActivationScriptFailed",
                "UnitsFailed",
                "ActivationLocked",
                "RebootRequired",
                "ActivationFailed"
            ]
        );
    }
}
