//! What a rollout remembers between two decisions.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The memory of a rollout, kept in the Cluster's status. [`decide`](super::decide) alone makes a new
/// one; the default is that of a Cluster which never had a release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// The id of the release that this is about.
    pub release: String,
    /// The id of the last release that was complete: where an abort goes back to. `None` before one
    /// was.
    pub previous: Option<String>,
    /// The number of this beginning: it grows with each release and each wish to try again. A machine
    /// keeps it with its failure, so that an old failure is not taken for a new one.
    pub attempt: u32,
    /// The last wish to try again that was heard.
    pub retry: Option<String>,
    /// The wave that is being worked on, counted from 0. It goes back for machines that come when
    /// all waves have passed.
    pub wave: usize,
    /// Since when all machines up to that wave are done.
    pub soaking_since: Option<Timestamp>,
    /// Whether nothing new is begun: paused, no window open, or aborted.
    pub held: bool,
    /// Machines that may take the release.
    pub admitted: BTreeSet<String>,
    /// Machines that may reboot. Each grant is good for one reboot.
    pub rebooting: BTreeSet<String>,
    /// Machines that failed in this attempt.
    pub failed: BTreeSet<String>,
    /// Machines that are to go back to [`State::previous`].
    pub revoked: BTreeSet<String>,
    /// Whether every wave has passed once. From then on nothing is taken back.
    pub completed: bool,
    /// Whether too many machines failed. Only a new release or a wish to try again ends this.
    pub aborted: bool,
}

/// Which closure a machine is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// That of the release, unless it failed there in this attempt.
    Take,
    /// As [`Directive::Take`], if that was begun before; begin nothing now.
    Finish,
    /// That of the release before ([`State::previous`]), as soon as nothing runs on the machine.
    GoBack,
    /// The one that it was last told, whichever that was.
    Keep,
}

impl State {
    /// Which closure this machine is to run.
    ///
    /// Whoever carries it out asks again, of the state as it is then, right before the first effect
    /// on the machine: between the decision and the effect another release may have come.
    pub fn directive(&self, machine: &str) -> Directive {
        if self.revoked.contains(machine) {
            Directive::GoBack
        } else if !self.admitted.contains(machine) {
            Directive::Keep
        } else if self.held {
            Directive::Finish
        } else {
            Directive::Take
        }
    }

    /// Whether this machine may reboot now.
    pub fn may_reboot(&self, machine: &str) -> bool {
        self.rebooting.contains(machine)
    }

    /// The release that an abort of `release` would go back to: the last one that was complete.
    ///
    /// [`Machine::took`](super::Machine::took) is told from its closures.
    pub fn goes_back_to(&self, release: &str) -> Option<&str> {
        if self.release == release || !self.completed {
            // One that was left half done is no place to go back to, and nor is the same again.
            self.previous.as_deref().filter(|id| *id != release)
        } else {
            Some(&self.release)
        }
    }

    /// The state with which `release` begins, after this one.
    pub(super) fn begin(&self, release: &str, retry: Option<&String>) -> Self {
        Self {
            release: release.to_owned(),
            previous: self.goes_back_to(release).map(str::to_owned),
            attempt: self.attempt.saturating_add(1),
            retry: retry.cloned(),
            rebooting: self.rebooting.clone(),
            ..Self::default()
        }
    }

    /// The state with which the same release is begun once more.
    pub(super) fn begin_again(&self, retry: Option<&String>) -> Self {
        Self { completed: self.completed, ..self.begin(&self.release, retry) }
    }
}
