//! Process 1 of the lab's namespaces: starts inner, buries the orphans, and ends as inner ended.
//!
//! A process that is killed leaves its children to process 1, and one that nobody waits for stays a
//! zombie, with its place in every process namespace that it is in: a container of which one is left
//! can end no more, and so not boot again. Inner cannot do it, since waiting for whoever ends would
//! take from it the ends of its own servers.

use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
};

use rustix::process::{Pid, WaitOptions, wait};

use super::exit_code;
use crate::lab::error::{During, Result};

/// Whether this process is the first of its namespace.
pub(super) fn is_process_1() -> bool {
    std::process::id() == 1
}

/// Runs this program again with `args`, until its end; the exit code that this one owes.
pub(super) fn supervise(args: &[OsString]) -> Result<u8> {
    let program = std::env::current_exe().attempting("find this program")?;
    let child = Command::new(program)
        .args(args.get(1..).unwrap_or_default())
        .spawn()
        .attempting("start the lab")?;
    let inner = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    loop {
        let ended = wait(WaitOptions::empty()).attempting("wait for the lab")?;
        if let Some((pid, status)) = ended
            && Some(pid) == inner
        {
            return Ok(exit_code(ExitStatus::from_raw(status.as_raw())));
        }
    }
}
