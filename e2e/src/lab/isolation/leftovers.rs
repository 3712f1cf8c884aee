//! What a killed lab leaves: a directory of logs and empty control groups. The next start removes it.

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

use super::{LABS, State, cgroup, is_directory};
use crate::lab::error::{During, Result};

/// Removes what dead labs left and makes the directory of a new one, already locked.
pub(super) fn sweep_and_create() -> Result<(State, File)> {
    let labs = Path::new(LABS);
    fs::create_dir_all(labs).during("create", labs)?;
    // Between the creation of a lab's directory and its lock it looks dead.
    let gate_path = labs.join("gate");
    let gate = File::create(&gate_path).during("create", &gate_path)?;
    flock(&gate, FlockOperation::LockExclusive).during("lock", &gate_path)?;
    for entry in fs::read_dir(labs).during("list", labs)? {
        let path = entry.during("list", labs)?.path();
        let state = State(path);
        if is_directory(&state.0) && is_dead(&state) {
            discard(&state)?;
        }
    }
    let state = State(labs.join(format!("{:08x}", rand::random::<u32>())));
    // Private: there are keys and a kubeconfig in it.
    DirBuilder::new().mode(0o700).create(&state.0).during("create", &state.0)?;
    let lock = state.lock_shared()?;
    for dir in [state.logs(), state.volatile()] {
        fs::create_dir(&dir).during("create", &dir)?;
    }
    Ok((state, lock))
}

/// Removes everything that is left of a lab.
pub(super) fn discard(state: &State) -> Result<()> {
    cgroup::remove(state)?;
    fs::remove_dir_all(&state.0).during("remove", &state.0)
}

/// Whether no process holds the lab's lock. A lab without a lock file died before it had one.
pub(super) fn is_dead(state: &State) -> bool {
    File::open(state.lock())
        .map_or(true, |lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok())
}
