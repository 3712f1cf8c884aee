//! The state of one machine, read in one round trip.

mod parse;
mod records;

use serde::Serialize;

use crate::activation::{Job, Outcome, Step};
use crate::error::Error;
use crate::nix::Limits;
use crate::ssh::{Host, Script};
use crate::store_path::StorePath;

pub use records::{Pending, RollbackReason, RolledBack, Staged};

/// What is wanted is its first argument.
pub(crate) const SCRIPT: &str = include_str!("observe/observe.sh");

/// What was seen of a machine. Not being able to see is a value, not an error: it says nothing
/// about what runs there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The machine answered.
    Reached(Box<HostState>),
    /// It did not, or somebody else did.
    Unreachable {
        /// `Unreachable`, `HostKeyMismatch`, `AuthFailed`, `HostTimeout` or `CommandFailed`.
        reason: &'static str,
        /// For people.
        message: String,
    },
}

impl Observed {
    /// The state, if the machine answered.
    pub fn state(&self) -> Option<&HostState> {
        match self {
            Self::Reached(state) => Some(state),
            Self::Unreachable { .. } => None,
        }
    }
}

/// The state of a machine that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostState {
    /// `/run/current-system`: what was activated last.
    pub current: Link,
    /// `/run/booted-system`: what was booted.
    pub booted: Link,
    /// `/nix/var/nix/profiles/system`: what the next boot takes.
    pub profile: Link,
    /// The number of the profile's generation.
    pub generation: Option<u64>,
    /// Changes with each boot.
    pub boot_id: String,
    /// Whether kernel, initrd and modules booted are those of `current`; `None` where there is no
    /// booted system to compare.
    pub kernel_is_current: Option<bool>,
    /// How the machine's store holds the wanted closure; `None` if none was asked for, if `current`
    /// and `profile` are that closure anyway, or if Nix there gave no answer.
    pub wanted: Option<Presence>,
    /// Our last activation since boot.
    pub activation: Option<Activation>,
    /// What was tested and awaits its confirmation.
    pub pending: Option<Pending>,
    /// The closure that the machine goes back from at this moment.
    pub rolling_back: Option<StorePath>,
    /// The last closure from which it went back; kept over reboots until another one is tested.
    pub rolled_back: Option<RolledBack>,
    /// What was last made the default of the next boot without being activated.
    pub staged: Option<Staged>,
    /// Whether the wanted closure cannot be switched to without a reboot, because its
    /// `switch-inhibitors` are not those of `current`; `None` if none is wanted or it is not there.
    pub inhibited: Option<bool>,
    /// Whether anybody's `switch-to-configuration` runs.
    pub switch_locked: bool,
}

impl HostState {
    /// The job of ours that runs now.
    pub fn running(&self) -> Option<Job> {
        let switching = self.activation.as_ref().filter(|it| it.outcome.is_none());
        let back = || Some(Job { step: Step::Rollback, closure: self.rolling_back.clone()? });
        switching.and_then(|it| it.job.clone()).or_else(back)
    }

    /// How the last activation since boot ended, if it was of `closure`.
    pub fn outcome_of(&self, closure: &StorePath) -> Option<&Outcome> {
        let activation = self.activation.as_ref()?;
        activation.job.as_ref().filter(|job| job.closure == *closure)?;
        activation.outcome.as_ref()
    }

    /// Whether somebody else activates something, of which we do not know what.
    pub(crate) fn foreign_runs(&self) -> bool {
        let unnamed =
            self.activation.as_ref().is_some_and(|it| it.job.is_none() && it.outcome.is_none());
        self.running().is_none() && (self.switch_locked || unnamed)
    }
}

/// Where a link of the system leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Link {
    /// There is none.
    Missing,
    /// To a store path.
    Closure(StorePath),
    /// To something that is no store path.
    Foreign(String),
}

impl Link {
    /// The store path, if it leads to one.
    pub fn closure(&self) -> Option<&StorePath> {
        match self {
            Self::Closure(path) => Some(path),
            Self::Missing | Self::Foreign(_) => None,
        }
    }

    /// Whether it leads to `path`.
    pub fn is(&self, path: &StorePath) -> bool {
        self.closure() == Some(path)
    }
}

/// How a store holds a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Not at all, or not completely.
    Absent,
    /// Valid, with no signature by a delivery key: it was built there, or came from elsewhere.
    Unsigned,
    /// Valid and signed by a delivery key.
    Signed,
}

/// An activation of ours on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// What was asked; `None` when the unit bears our name but not our description.
    pub job: Option<Job>,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
}

/// Looks at `host`. `wanted` is the closure whose presence matters, if any.
pub async fn observe(host: &Host, limits: &Limits, wanted: Option<&StorePath>) -> Observed {
    match try_observe(host, limits, wanted).await {
        Ok(state) => Observed::Reached(Box::new(state)),
        Err(error) => Observed::Unreachable { reason: error.reason(), message: error.to_string() },
    }
}

async fn try_observe(
    host: &Host,
    limits: &Limits,
    wanted: Option<&StorePath>,
) -> Result<HostState, Error> {
    let args = [wanted.map_or("", StorePath::as_str)];
    let script = Script { what: "observe", text: SCRIPT, args: &args };
    let answer = host.run(script, limits.command).await?;
    parse::host_state(&answer).map_err(|why| Error::BadOutput {
        what: format!("observing {}", host.name()),
        why: why.to_owned(),
    })
}

/// What [`SCRIPT`] told among other lines, if it told everything.
pub(crate) fn within(answer: &str) -> Option<Observed> {
    parse::host_state(answer).ok().map(|state| Observed::Reached(Box::new(state)))
}
