//! One control group per lab with one below it per container.
//!
//! Inner mounts the version 2 hierarchy at /sys/fs/cgroup, whatever the machine has there, so that
//! the containers see the same on every machine. Control groups are the one thing that the kernel
//! does not remove with the namespaces; [`remove`] does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::State;
use crate::lab::{
    command,
    error::{During, LabError, Result},
};

const MOUNT: &str = "/sys/fs/cgroup";

/// Creates the lab's group below this process's own, and moves this process into a leaf of it.
pub(super) fn enter(state: &State) -> Result<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").during("read", "/proc/self/cgroup")?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or_else(|| {
        LabError::Prerequisite {
            what: "control groups version 2".into(),
            remedy: "use a kernel that has them (5.2 or newer)".into(),
        }
    })?;
    let id = state.0.file_name().unwrap_or_default().to_string_lossy();
    let path = format!("{}/cim-lab-{id}", own.trim_end_matches('/'));
    // Written first: a group without a note of it would stay for ever.
    fs::write(state.cgroup(), &path).during("write", state.cgroup())?;
    let group = Path::new(MOUNT).join(path.trim_start_matches('/'));
    let leaf = group.join("inner");
    fs::create_dir_all(&leaf).during("create", &leaf)?;
    let procs = leaf.join("cgroup.procs");
    fs::write(&procs, std::process::id().to_string()).during("write", procs)?;
    Ok(group)
}

/// Removes the group of a lab whose processes are gone or are about to be.
pub(super) fn remove(state: &State) -> Result<()> {
    let Ok(path) = fs::read_to_string(state.cgroup()) else { return Ok(()) };
    // In a mount namespace of its own, since this one may have no version 2 hierarchy mounted.
    let script = format!(
        "mount -t cgroup2 cgroup2 {MOUNT}; [ ! -d \"{MOUNT}$1\" ] || \
         find \"{MOUNT}$1\" -depth -type d -exec rmdir {{}} +"
    );
    let mut attempts = 50;
    loop {
        let mut remove = Command::new("unshare");
        remove.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh", &path]);
        match command::run(remove) {
            // The last processes may still be dying.
            Err(_) if attempts > 0 => {
                attempts -= 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            result => return result.map(drop),
        }
    }
}
