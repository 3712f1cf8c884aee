//! A server process under supervision: its output goes to a file, its death is reported with it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::{
    error::{During, LabError, Result},
    wait::wait_until,
};

const TAIL_LINES: usize = 30;

/// A running server.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output appended to `<logs>/<name>.log`.
    pub fn spawn(name: &str, mut command: Command, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).during("open", &log)?;
        let errors = file.try_clone().during("open", &log)?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors).kill_on_drop(true);
        let child = command.spawn().attempting(format!("start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Waits until `probe` succeeds; fails at once when the process ends.
    pub async fn ready<T, E: std::fmt::Display>(
        &mut self,
        deadline: Duration,
        probe: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T> {
        let what = format!("{} to be ready (its log: {})", self.name, self.log.display());
        tokio::select! {
            ready = wait_until(&what, deadline, probe) => ready,
            status = self.child.wait() => {
                let status = status.attempting(format!("wait for {}", self.name))?;
                Err(self.died(status))
            }
        }
    }

    /// An error if the process has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait().attempting(format!("look after {}", self.name))? {
            Some(status) => Err(self.died(status)),
            None => Ok(()),
        }
    }

    /// The process id; nothing once it has ended.
    pub fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()?).ok()?)
    }

    /// Sends SIGTERM and waits; SIGKILL after `grace`.
    pub async fn stop(&mut self, grace: Duration) -> Result<ExitStatus> {
        if let Some(pid) = self.pid() {
            // It may end by itself in between.
            let _ = kill_process(pid, Signal::TERM);
            if let Ok(status) = timeout(grace, self.child.wait()).await {
                return status.attempting(format!("wait for {}", self.name));
            }
        }
        self.kill().await
    }

    /// Sends SIGKILL and waits.
    pub async fn kill(&mut self) -> Result<ExitStatus> {
        let attempt = || format!("kill {}", self.name);
        // Fails only when it has been waited for already.
        let _ = self.child.start_kill();
        self.child.wait().await.attempting(attempt())
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.attempting(format!("wait for {}", self.name))
    }

    /// The file with its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    fn died(&self, status: ExitStatus) -> LabError {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        LabError::Died {
            name: self.name.clone(),
            status: status.to_string(),
            log: self.log.clone(),
            tail: lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"),
        }
    }
}
