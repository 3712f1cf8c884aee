//! What a machine keeps about deliveries: what is pending, staged, or was given up.

use std::fmt::{self, Display};
use std::time::Duration;

use serde::Serialize;

use crate::activation::Outcome;
use crate::store_path::StorePath;

/// A closure that was activated but not confirmed. The machine goes back from it by itself, at its
/// deadline or by any reboot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The closure.
    pub closure: StorePath,
    /// What ran before, to which the machine would go back; `None` on a machine that ran nothing.
    pub old: Option<StorePath>,
    /// Whether its activation ended well, so that it may be confirmed.
    pub tested: bool,
    /// Time left until the machine goes back by itself; zero when it is over.
    pub remaining: Duration,
}

/// A machine's own record of having gone back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledBack {
    /// The closure that was given up.
    pub closure: StorePath,
    /// Why.
    pub why: RollbackReason,
    /// How its activation had ended, where it had.
    pub outcome: Option<Outcome>,
    /// When, by the machine's clock: RFC 3339, UTC.
    pub at: String,
    /// The exit status of going back: 0 well, 4 with failed units. `None`: there was nothing to go
    /// back to.
    pub restored: Option<i32>,
}

/// Why a machine went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RollbackReason {
    /// Nobody confirmed it in time: nobody could reach the machine, or no check passed.
    Unconfirmed,
    /// The controller's checks failed.
    Unhealthy,
    /// Its activation failed, or its boot loader entry could not be made.
    Failed,
    /// Its activation was killed half way.
    Interrupted,
}

impl RollbackReason {
    pub(super) const ALL: [Self; 4] =
        [Self::Unconfirmed, Self::Unhealthy, Self::Failed, Self::Interrupted];

    /// The word in the machine's record, and the argument of `cim-activate rollback`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unconfirmed => "unconfirmed",
            Self::Unhealthy => "unhealthy",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

impl Display for RollbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Display for RolledBack {
    /// One line for people: `unhealthy at 2026-01-02T03:04:05Z (activated)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.why, self.at)?;
        self.outcome.iter().try_for_each(|outcome| write!(f, " ({outcome})"))?;
        match self.restored {
            Some(0) => Ok(()),
            Some(status) => write!(f, ", and going back ended with exit {status}"),
            None => f.write_str(", and there was nothing to go back to"),
        }
    }
}

/// A closure that was made the default of the next boot without being activated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// The closure.
    pub closure: StorePath,
    /// The boot in which this was done. Another one means that the machine was rebooted since.
    pub boot_id: String,
    /// Whether the running system cannot follow without a reboot; otherwise it was only asked for.
    pub required: bool,
}
