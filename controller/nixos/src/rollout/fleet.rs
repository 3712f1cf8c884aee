//! What is known of the machines when a rollout is decided.

use std::collections::{BTreeMap, BTreeSet};

use super::state::State;

/// How a machine stands towards the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It runs and will boot the release's closure, and is healthy. A machine whose closure the
    /// release does not change is this from the beginning.
    Updated,
    /// It is being changed or rebooted, whatever to: from the first effect on it until it is healthy
    /// again or has failed.
    Updating,
    /// It is healthy and runs another closure than the release's.
    Outdated,
    /// It is healthy and will boot the release's closure, but runs another: nothing but a reboot is
    /// missing.
    Staged,
    /// It is healthy and runs the release's closure, but will boot that of the release to go back to
    /// ([`State::goes_back_to`]): it is back after a reboot.
    StagedBack,
    /// It is healthy and cannot take the release, which has no closure for it: its configuration
    /// could not be evaluated or built. Its wave does not pass without it.
    Blocked,
    /// This release failed there: it was refused, its activation failed, it went back by itself, or
    /// its checks failed afterwards.
    Failed {
        /// The [`State::attempt`] in which it did. A failure of an earlier one no longer counts: from
        /// the next attempt on the machine is what it runs.
        attempt: u32,
        /// Whether it serves now, since it went back by itself.
        healthy: bool,
    },
    /// It answers and is not healthy, whatever the reason.
    Unhealthy,
    /// It does not answer.
    Unreachable,
    /// It was not looked at yet.
    Unknown,
    /// Nothing is to be done with it (observed only, suspended, no delivery), and nothing is being
    /// done. It is counted nowhere.
    Exempt,
}

impl Standing {
    /// Whether it serves and nobody is working on it.
    pub(super) const fn is_healthy(self) -> bool {
        match self {
            Self::Updated | Self::Outdated | Self::Staged | Self::StagedBack | Self::Blocked => {
                true
            }
            Self::Failed { healthy, .. } => healthy,
            Self::Updating | Self::Unhealthy | Self::Unreachable | Self::Unknown | Self::Exempt => {
                false
            }
        }
    }
}

/// When a reboot that is owed may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebootPolicy {
    /// By a person only.
    Never,
    /// While the Cluster's windows are open.
    InWindow,
    /// As soon as it is owed.
    Immediately,
}

/// One machine, as it was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// How it stands towards the release.
    pub standing: Standing,
    /// Whether it runs, or would boot, a closure of this release, and the release to go back to
    /// ([`State::goes_back_to`]) has another one for it. For one that does not answer: as last seen.
    pub took: bool,
    /// The policy for the reboot that it owes; `None` if it owes none. Nor does it owe one that was
    /// tried for the same closure and did not help, or did not end within its deadline.
    pub reboot: Option<RebootPolicy>,
}

/// The machines of a Cluster, and the release that they are to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// The id of the release ([`promotion::digest`](crate::promotion::digest)).
    pub release: String,
    /// The machines that each wave selects. One that several select belongs to the first of them;
    /// those that none selects come last, together. A wave without machines passes at once.
    pub waves: Vec<BTreeSet<String>>,
    /// Every machine of the Cluster, by name.
    pub machines: BTreeMap<String, Machine>,
}

/// A machine that takes part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    pub(super) name: &'a String,
    /// The standing in the present attempt.
    pub(super) standing: Standing,
    pub(super) took: bool,
    pub(super) reboot: Option<RebootPolicy>,
    /// Counted from 0.
    pub(super) wave: usize,
}

impl Fleet {
    /// How many waves there are, the one of the remaining machines included; at least 1.
    pub(super) fn wave_count(&self) -> usize {
        let remaining = self.machines.keys().any(|name| self.wave_of(name) == self.waves.len());
        (self.waves.len() + usize::from(remaining)).max(1)
    }

    fn wave_of(&self, name: &str) -> usize {
        let selecting = self.waves.iter().position(|wave| wave.contains(name));
        selecting.unwrap_or(self.waves.len())
    }

    /// The machines that take part, in the order of their waves and then of their names.
    pub(super) fn members(&self, state: &State) -> Vec<Member<'_>> {
        let mut members: Vec<Member<'_>> = self
            .machines
            .iter()
            .filter(|(_, machine)| machine.standing != Standing::Exempt)
            .map(|(name, machine)| Member {
                name,
                standing: in_this_attempt(machine.standing, state),
                took: machine.took,
                reboot: machine.reboot,
                wave: self.wave_of(name),
            })
            .collect();
        members.sort_by_key(|member| member.wave);
        members
    }
}

/// A failure that was tried again is a machine like any other.
fn in_this_attempt(standing: Standing, state: &State) -> Standing {
    match standing {
        Standing::Failed { attempt, healthy } if attempt != state.attempt => {
            if healthy {
                Standing::Outdated
            } else {
                Standing::Unhealthy
            }
        }
        standing => standing,
    }
}
