//! What a release needs at least to reach the machines, and what went over the interface.

use std::{collections::BTreeSet, fs};

use cim_nixos::StorePath;

use super::fleet::Fleet;
use crate::Try;

/// The lab's loopback interface, over which the targets are reached.
pub(super) struct Interface {
    sent: u64,
}

impl Interface {
    pub(super) fn read() -> Try<Self> {
        let text = fs::read_to_string("/proc/self/net/dev")?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:"));
        // Eight columns of what was received come first. On this interface both are the same.
        let sent = line.and_then(|line| line.split_whitespace().nth(8));
        Ok(Self { sent: sent.ok_or("no loopback interface")?.parse()? })
    }

    /// The bytes since then: both directions, with the headers of TCP and IP.
    pub(super) fn since(&self) -> Try<u64> {
        Ok(Self::read()?.sent - self.sent)
    }
}

/// The paths that a release needs on the machines and that the one before did not have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delta {
    /// Bytes of them as archives.
    pub(super) nar: u64,
    /// The same, each compressed by xz as binary caches have them.
    pub(super) xz: u64,
}

/// What `after` needs beyond `before` on all machines together.
pub(super) fn delta(fleet: &Fleet<'_>, before: &[StorePath], after: &[StorePath]) -> Try<Delta> {
    // The machines differ in their names only: one stands for all.
    let (Some(old), Some(new)) = (before.first(), after.first()) else {
        return Err("no release".into());
    };
    let [old, new] = [old, new].map(|closure| requisites(fleet, closure));
    let (old, new) = (old?, new?);
    let (mut nar, mut xz) = (0, 0);
    for path in new.difference(&old) {
        let script = "nix-store --dump \"$0\" | wc -c; nix-store --dump \"$0\" | xz | wc -c";
        let sizes = fleet.lab.tool("sh", &["-ec", script, path])?;
        let mut sizes = sizes.lines().map(|line| line.trim().parse::<u64>());
        nar += sizes.next().ok_or("no size")??;
        xz += sizes.next().ok_or("no size")??;
    }
    let machines = after.len() as u64;
    Ok(Delta { nar: nar * machines, xz: xz * machines })
}

fn requisites(fleet: &Fleet<'_>, closure: &StorePath) -> Try<BTreeSet<String>> {
    let args = ["--query", "--requisites", closure.as_str()];
    Ok(fleet.lab.tool("nix-store", &args)?.lines().map(str::to_owned).collect())
}
