//! systemd-nspawn containers on the lab's bridge.

use std::{
    ffi::OsString,
    fs, iter,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    pin::pin,
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{process::Command, task::JoinHandle, time::timeout};

use super::{
    Inside, command,
    error::{During, LabError, Result},
    network,
    process::Process,
    root::Root,
    wait::wait_until,
};

const UNPLUG: Duration = Duration::from_secs(10);
const WAKE: Duration = Duration::from_millis(200);

/// What a container's first process is.
pub(crate) enum Payload<'a> {
    /// systemd.
    Boot,
    /// A shell script, run by root.
    Script {
        /// The script.
        script: &'a str,
        /// Its volumes, by where it sees them; the rest of its root is read-only.
        volumes: &'a [&'a str],
    },
}

/// A running container.
#[derive(Debug)]
pub(crate) struct Container {
    name: String,
    address: Ipv4Addr,
    group: PathBuf,
    nspawn: Arc<Process>,
    /// Boots it again when it wants to.
    keeper: JoinHandle<Result<()>>,
}

impl Drop for Container {
    fn drop(&mut self) {
        // It holds the process too, which ends only when nobody holds it; and what is in the
        // container outlives nspawn.
        self.keeper.abort();
        let _ = fs::write(self.switch(), "1");
    }
}

impl Container {
    /// Starts a container named `name` on `root`.
    pub(crate) async fn start(
        inside: &Inside,
        name: &str,
        address: Ipv4Addr,
        root: &Root,
        payload: &Payload<'_>,
    ) -> Result<Self> {
        root.write("/etc/hostname", format!("{name}\n"), 0o644)?;
        root.write("/etc/hosts", format!("127.0.0.1 localhost\n{address} {name}\n"), 0o644)?;
        root.write("/etc/resolv.conf", format!("nameserver {}\n", network::DNS), 0o644)?;
        let group = inside.cgroup().join(name);
        fs::create_dir_all(&group).during("create", &group)?;
        unplugged(name).await?;
        let args = arguments(name, &group, root, payload);
        let nspawn = Arc::new(Process::spawn(name, &inside.logs(), move || {
            let mut command = Command::new("unshare");
            command.args(&args);
            command
        })?);
        let kept = Arc::clone(&nspawn);
        let keeper = tokio::spawn(async move { kept.keep_rebooting().await });
        Ok(Self { name: name.to_owned(), address, group, nspawn, keeper })
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The supervisor of the container; when it ends, so does the container.
    pub(crate) fn process(&self) -> &Process {
        &self.nspawn
    }

    /// Asks it to shut down, and takes its power away after `grace`.
    pub(crate) async fn stop(&self, grace: Duration) -> Result<()> {
        self.nspawn.stop(grace).await?;
        unplugged(&self.name).await
    }

    /// Takes its power away.
    pub(crate) async fn kill(&self) -> Result<()> {
        // All at once: what is in the container would outlive nspawn.
        fs::write(self.switch(), "1").during("write to", self.switch())?;
        self.nspawn.wait().await?;
        self.clear_groups().await?;
        unplugged(&self.name).await
    }

    /// Removes the control groups below the container's own. The kernel counts in each how often it
    /// was killed, and kills whoever is started from one into another that has another count: after
    /// the next boot that would be every service that was not running at this one's end.
    async fn clear_groups(&self) -> Result<()> {
        wait_until(&format!("the control groups of {} to go", self.name), UNPLUG, async || {
            remove_below(&self.group).map_err(|error| error.to_string())
        })
        .await
    }

    /// The file that kills every process in the container.
    fn switch(&self) -> PathBuf {
        self.group.join("cgroup.kill")
    }

    /// Runs `program` as root within the container, until `deadline`.
    pub(crate) async fn exec(
        &self,
        program: &str,
        args: &[&str],
        deadline: Duration,
    ) -> Result<Output> {
        let leader = self.leader().await?;
        let mut command = Command::new("nsenter");
        command
            .args(["--all", "--target", &leader.to_string(), "--", program])
            .args(args)
            .env_clear()
            .env("PATH", "/run/current-system/sw/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let line = format!("{program} {}", args.join(" "));
        let attempt = format!("run `{line}` on {}", self.name);
        match timeout(deadline, output(command)).await {
            Ok(output) => output.attempting(attempt),
            Err(_) => Err(LabError::Deadline {
                what: attempt,
                after: deadline,
                last: "it still runs".into(),
            }),
        }
    }

    /// Like [`Self::exec`], but an error when the program fails; its standard output.
    pub(crate) async fn run(
        &self,
        program: &str,
        args: &[&str],
        deadline: Duration,
    ) -> Result<String> {
        let output = self.exec(program, args, deadline).await?;
        let name = format!("{program} {} (on {})", args.join(" "), self.name);
        Ok(String::from_utf8_lossy(&command::check(&name, output)?).into_owned())
    }

    /// The container's first process, as this namespace numbers it.
    async fn leader(&self) -> Result<i32> {
        let gone = || LabError::Unexpected {
            what: format!("the container {}", self.name),
            why: "it has no process; has it been stopped?".into(),
        };
        let nspawn = self.nspawn.pid().await.ok_or_else(gone)?;
        children(nspawn.as_raw_nonzero().get()).into_iter().next().ok_or_else(gone)
    }

    /// The processes of the container whose executable is called `name`.
    pub(crate) async fn processes(&self, name: &str) -> Vec<Pid> {
        let Some(nspawn) = self.nspawn.pid().await else { return Vec::new() };
        let mut level = vec![nspawn.as_raw_nonzero().get()];
        let mut found = Vec::new();
        // The tree is finite and every process appears below one parent only.
        while !level.is_empty() {
            level = level.into_iter().flat_map(children).collect();
            found.extend(level.iter().copied().filter(|pid| executable_is(*pid, name)));
        }
        found.into_iter().filter_map(Pid::from_raw).collect()
    }
}

/// Runs an nsenter to its end. It stops itself when what it runs is stopped, which systemd does to
/// every process when it shuts down; it is woken, to be told the end of what it runs.
async fn output(mut command: Command) -> std::io::Result<Output> {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut ended = pin!(child.wait_with_output());
    loop {
        if let Ok(output) = timeout(WAKE, &mut ended).await {
            return output;
        }
        if let Some(pid) = pid {
            // Nobody else waits for it, so the number is still its own.
            let _ = kill_process(pid, Signal::CONT);
        }
    }
}

/// Removes the control groups below one; fails while there is a process in them.
fn remove_below(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_below(&entry.path())?;
            fs::remove_dir(entry.path())?;
        }
    }
    Ok(())
}

/// Waits until a container's interface is gone from the bridge: the kernel takes a moment to
/// dismantle a network namespace, and the next start would find the name taken.
async fn unplugged(name: &str) -> Result<()> {
    let interface = Path::new("/sys/class/net").join(format!("vb-{name}"));
    wait_until(&format!("the interface of {name} to go"), UNPLUG, async || {
        if interface.exists() { Err("it is still there") } else { Ok(()) }
    })
    .await
}

/// The arguments of `unshare` that run nspawn in a mount namespace of its own.
fn arguments(name: &str, group: &Path, root: &Root, payload: &Payload<'_>) -> Vec<OsString> {
    // Two things have to happen between fork and exec: the container's processes belong in a control
    // group of their own, and nspawn's scratch directories in a /tmp that vanishes.
    let prepare = "echo $$ > \"$0/cgroup.procs\" && mount -t tmpfs tmpfs /tmp && exec \"$@\"";
    let mut args: Vec<OsString> =
        ["--mount", "--propagation", "private", "sh", "-c", prepare].map(Into::into).into();
    args.push(group.into());
    args.extend(
        [
            "systemd-nspawn",
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--console=pipe",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--directory",
        ]
        .map(OsString::from),
    );
    args.push(root.path("/").into());
    args.push(format!("--machine={name}").into());
    args.push(format!("--network-bridge={}", network::BRIDGE).into());
    match payload {
        Payload::Boot => args.push("--boot".into()),
        // As process 2 with a minimal init above it, which reaps what the payload leaves.
        Payload::Script { script, volumes } => {
            args.push("--read-only".into());
            for dir in *volumes {
                args.push(format!("--bind={}:{dir}", root.volume(dir).display()).into());
            }
            args.extend(["--as-pid2", "/bin/sh", "-c", script].map(OsString::from));
        }
    }
    args
}

fn children(pid: i32) -> Vec<i32> {
    let path = PathBuf::from(format!("/proc/{pid}/task/{pid}/children"));
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn executable_is(pid: i32, name: &str) -> bool {
    // The link is readable although its target lies in another mount namespace.
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| {
        iter::once(path.as_path()).filter_map(Path::file_name).any(|file| file == name)
    })
}
