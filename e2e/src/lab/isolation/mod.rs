//! The lab lives in mount, network and process namespaces of its own.
//!
//! ```text
//! outer   the process that the user started: sweeps leftovers, opens doors, re-executes itself in new
//!   │     namespaces, forwards the wish to stop, returns inner's exit code
//! init    process 1 of the new namespaces: re-executes itself as inner, waits for orphans; when it
//!   │     ends, the kernel ends everything in them
//! inner   the lab
//! doors   the ways between the lab's network and the one outside
//! ```
//!
//! See docs/decisions/0003-lab-isolation.md for why it is done so.

mod cgroup;
mod doors;
mod init;
mod inner;
mod leftovers;
mod outer;

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

pub use self::{inner::Inside, outer::isolate};
use super::{
    error::{During, LabError, Result},
    tools::Tools,
};

/// Where labs keep their state: on a disk, since a tmpfs `/run` may be too small, and short, since a
/// unix socket's path is limited to 107 bytes.
const LABS: &str = "/var/lib/cim-lab";

/// The argument by which outer tells inner that it is inner, followed by the state directory.
const MARK: &str = "--inside-lab";

/// What outer hands to inner.
#[derive(Debug, Serialize, Deserialize)]
struct Site {
    tools: Tools,
    /// The name of each door with the port on 127.0.0.1 that it is reached by from outside.
    doors: Vec<(String, u16)>,
}

/// What connects the lab's network with the one outside; nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Openings {
    /// Names of the ports that [`Inside::open_door`] may offer to the outside.
    pub doors: Vec<String>,
    /// Names of the servers outside that [`Inside::open_window`] may offer to the lab, each with its
    /// `host:port`.
    pub windows: Vec<(String, String)>,
}

impl From<&[&str]> for Openings {
    fn from(doors: &[&str]) -> Self {
        Self { doors: doors.iter().map(ToString::to_string).collect(), windows: Vec::new() }
    }
}

impl<const N: usize> From<&[&str; N]> for Openings {
    fn from(doors: &[&str; N]) -> Self {
        doors.as_slice().into()
    }
}

/// The files of one lab.
#[derive(Clone, Debug)]
struct State(PathBuf);

impl State {
    fn site(&self) -> PathBuf {
        self.0.join("site.json")
    }

    /// Held locked by the processes of a living lab.
    fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// The path of the lab's control group below the root of the hierarchy.
    fn cgroup(&self) -> PathBuf {
        self.0.join("cgroup")
    }

    fn door(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.door"))
    }

    fn window(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.window"))
    }

    /// On disk, so that it can be read from outside and after the end of the lab.
    fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// Everything else: a tmpfs that vanishes with inner's mount namespace.
    fn volatile(&self) -> PathBuf {
        self.0.join("vol")
    }

    fn lock_shared(&self) -> Result<File> {
        let lock = File::create(self.lock()).during("create", self.lock())?;
        flock(&lock, FlockOperation::LockShared).during("lock", self.lock())?;
        Ok(lock)
    }
}

impl Site {
    fn save(&self, state: &State) -> Result<()> {
        let text = serde_json::to_vec(self).attempting("describe the lab")?;
        fs::write(state.site(), text).during("write", state.site())
    }

    fn load(state: &State) -> Result<Self> {
        let text = fs::read(state.site()).during("read", state.site())?;
        serde_json::from_slice(&text).map_err(|error| LabError::Unexpected {
            what: state.site().display().to_string(),
            why: error.to_string(),
        })
    }
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// The exit code, with the shell's convention for a process that a signal ended.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
