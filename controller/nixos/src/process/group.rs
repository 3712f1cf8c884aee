//! A program and all that it forked, as one.

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// The process group of a program. Unless the program has ended, dropping this kills all of it: git
/// and ssh below a Nix that is given up must not go on.
#[derive(Debug)]
pub(super) struct Group(Option<Pid>);

impl Group {
    /// The group of a child that was started as the leader of a group of its own.
    pub(super) fn led_by(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// Its number, while it runs.
    pub(super) fn id(&self) -> Option<i32> {
        self.0.map(Pid::as_raw_pid)
    }

    /// The leader has ended. What it left in the background (an SSH master) is meant to stay, and
    /// the number may come to name somebody else.
    pub(super) fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It fails when nothing is left of the group, which is what is wanted.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
