//! In which order, how many at a time, and when the machines of a Cluster take a release.
//!
//! ```text
//! Window… ──▶ Calendar ──at(now)──▶ Opening ─┐
//! Policy (the wish) ─────────────────────────┤
//! Fleet (what was observed) ─────────────────┼─▶ decide ──▶ Decision ──▶ State, kept in the status
//! State (what was decided before) ───────────┘                             │
//!        ▲                                                                  ▼
//!        └──────────────────────── next time        each machine: directive, may_reboot
//! ```
//!
//! [`decide`] is pure, and it is deterministic: the same input gives the same decision, and deciding
//! again on its result changes nothing. One writer keeps the [`State`]; a machine takes a release, and
//! reboots, only if the state names it. So `maxUnavailable` holds without locks, and a writer that
//! dies between any two steps loses nothing.

mod budget;
mod calendar;
mod decide;
mod fleet;
mod reboot;
mod report;
mod revoke;
mod state;
mod wave;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use calendar::{Calendar, Opening, Window, WindowKind};
pub use decide::{Decision, decide};
pub use fleet::{Fleet, Machine, RebootPolicy, Standing};
pub use report::Phase;
pub use state::{Directive, State};

/// How a release is to reach the machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How many machines may be unavailable at a time, those that are for other reasons included.
    /// 0 counts as 1.
    pub max_unavailable: u32,
    /// How long a wave must stay healthy before the next one begins.
    pub soak: Duration,
    /// How many machines may fail before the rollout is aborted. 0 counts as 1.
    pub abort_after: u32,
    /// What an abort does.
    pub on_abort: OnAbort,
    /// How many machines are worked on at a time. 0 counts as 1.
    pub parallelism: u32,
    /// Begin nothing new, neither forward nor back.
    pub paused: bool,
    /// A text that somebody changes in order to try again what failed or was aborted.
    pub retry: Option<String>,
}

/// What an aborted rollout does to the machines that have the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAbort {
    /// Take each of them back to the last release that was complete.
    Revoke,
    /// Leave each as it is and wait for a person.
    Hold,
}
