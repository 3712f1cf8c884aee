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
    sync::Mutex,
    time::{sleep, timeout},
};

use super::{
    error::{During, LabError, Result},
    wait::wait_until,
};

const TAIL_LINES: usize = 30;
const PAUSE: Duration = Duration::from_millis(20);

/// A supervised server process.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    /// Behind a lock, so that a lab can be shared by everybody who kills servers in it.
    child: Mutex<Child>,
}

impl Process {
    /// Starts `command` with its output appended to `<logs>/<name>.log`.
    pub fn spawn(name: &str, command: Command, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let child = Mutex::new(start(name, command, &log)?);
        Ok(Self { name: name.to_owned(), log, child })
    }

    /// Starts `command` in place of the process, which is killed if it still runs.
    pub async fn respawn(&self, command: Command) -> Result<()> {
        self.kill().await?;
        *self.child.lock().await = start(&self.name, command, &self.log)?;
        Ok(())
    }

    /// Waits until `probe` succeeds; fails at once when the process ends.
    pub async fn ready<T, E: std::fmt::Display>(
        &self,
        deadline: Duration,
        probe: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T> {
        let what = format!("{} to be ready (its log: {})", self.name, self.log.display());
        tokio::select! {
            ready = wait_until(&what, deadline, probe) => ready,
            status = self.wait() => Err(self.died(status?)),
        }
    }

    /// An error if the process has ended.
    pub fn check(&self) -> Result<()> {
        // Somebody who holds the lock waits for its end, and will tell.
        let Ok(mut child) = self.child.try_lock() else { return Ok(()) };
        match child.try_wait().attempting(format!("look after {}", self.name))? {
            Some(status) => Err(self.died(status)),
            None => Ok(()),
        }
    }

    /// The process id; nothing once it has ended.
    pub async fn pid(&self) -> Option<Pid> {
        pid(&*self.child.lock().await)
    }

    /// Sends SIGTERM and waits; SIGKILL after `grace`.
    pub async fn stop(&self, grace: Duration) -> Result<ExitStatus> {
        if let Some(pid) = self.pid().await {
            // It may end by itself in between.
            let _ = kill_process(pid, Signal::TERM);
            if let Ok(status) = timeout(grace, self.wait()).await {
                return status;
            }
        }
        self.kill().await
    }

    /// Sends SIGKILL and waits. Does nothing to a process that has ended.
    pub async fn kill(&self) -> Result<ExitStatus> {
        if let Some(pid) = self.pid().await {
            let _ = kill_process(pid, Signal::KILL);
        }
        self.wait().await
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Result<ExitStatus> {
        // The lock is let go between looks: waiting must not keep anybody from killing.
        loop {
            let status = self.child.lock().await.try_wait();
            if let Some(status) = status.attempting(format!("wait for {}", self.name))? {
                return Ok(status);
            }
            sleep(PAUSE).await;
        }
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

fn start(name: &str, mut command: Command, log: &Path) -> Result<Child> {
    let file = File::options().create(true).append(true).open(log).during("open", log)?;
    let errors = file.try_clone().during("open", log)?;
    command.stdin(Stdio::null()).stdout(file).stderr(errors).kill_on_drop(true);
    command.spawn().attempting(format!("start {name}"))
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}
