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

/// What nspawn ends with when its container wants to boot again, and leaves that to its caller.
const REBOOT: i32 = 133;

/// A supervised server process.
pub struct Process {
    name: String,
    log: PathBuf,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    /// Behind a lock, so that a lab can be shared by everybody who kills servers in it.
    child: Mutex<Child>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Process {
    /// Starts what `command` makes, now and at every restart, with its output appended to
    /// `<logs>/<name>.log`.
    pub fn spawn(
        name: &str,
        logs: &Path,
        command: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let child = Mutex::new(start(name, command(), &log)?);
        Ok(Self { name: name.to_owned(), log, command: Box::new(command), child })
    }

    /// Starts it again; it is killed first if it still runs.
    pub async fn restart(&self) -> Result<()> {
        self.kill().await?;
        *self.child.lock().await = start(&self.name, (self.command)(), &self.log)?;
        Ok(())
    }

    /// Restarts it whenever it ends with the wish to boot again, for ever.
    pub async fn keep_rebooting(&self) -> Result<()> {
        loop {
            let status = self.next(Child::try_wait).await?;
            if status.code() == Some(REBOOT) {
                self.restart().await?;
            }
            sleep(PAUSE).await;
        }
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
        match ended(&mut child).attempting(format!("look after {}", self.name))? {
            Some(status) => Err(self.died(status)),
            None => Ok(()),
        }
    }

    /// The process id; nothing once it has ended.
    pub async fn pid(&self) -> Option<Pid> {
        let id = self.child.lock().await.id()?;
        Pid::from_raw(i32::try_from(id).ok()?)
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
        self.next(Child::try_wait).await
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Result<ExitStatus> {
        self.next(ended).await
    }

    /// The file with its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until `look` sees the end.
    async fn next(
        &self,
        look: impl Fn(&mut Child) -> std::io::Result<Option<ExitStatus>>,
    ) -> Result<ExitStatus> {
        // The lock is let go between looks: waiting must not keep anybody from killing.
        loop {
            let status = look(&mut *self.child.lock().await);
            if let Some(status) = status.attempting(format!("wait for {}", self.name))? {
                return Ok(status);
            }
            sleep(PAUSE).await;
        }
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

/// How it ended, unless it runs or is about to boot again.
fn ended(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    Ok(child.try_wait()?.filter(|status| status.code() != Some(REBOOT)))
}

fn start(name: &str, mut command: Command, log: &Path) -> Result<Child> {
    let file = File::options().create(true).append(true).open(log).during("open", log)?;
    let errors = file.try_clone().during("open", log)?;
    command.stdin(Stdio::null()).stdout(file).stderr(errors).kill_on_drop(true);
    command.spawn().attempting(format!("start {name}"))
}
