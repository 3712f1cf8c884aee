//! Labs do not meet, and leave nothing, however they end.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use cim_e2e::lab::{Lab, http_get, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{harness::Outcome, hold::READY};

const START: Duration = Duration::from_mins(2);
const END: Duration = Duration::from_secs(20);

/// A lab of its own, started as a user starts one.
struct Held {
    outer: Child,
    port: u16,
    state: PathBuf,
}

impl Held {
    async fn start() -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Self::start_with(&[]).await
    }

    async fn start_with(args: &[&str]) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let before = labs()?;
        let mut outer = Command::new(std::env::current_exe()?)
            .arg("--hold")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(outer.stdout.take().ok_or("no output")?).lines();
        let line = timeout(START, lines.next_line()).await??.ok_or("it ended")?;
        let port = line.strip_prefix(READY).ok_or_else(|| format!("it said {line:?}"))?.parse()?;
        let new = labs()?.into_iter().find(|lab| !before.contains(lab));
        Ok(Self { outer, port, state: new.ok_or("it has no state directory")? })
    }

    fn pid(&self) -> Result<Pid, &'static str> {
        let id = self.outer.id().and_then(|id| i32::try_from(id).ok());
        id.and_then(Pid::from_raw).ok_or("it has ended")
    }

    async fn answers(&self) -> Outcome {
        let (status, body) =
            http_get(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), "/healthz").await?;
        if status == 200 { Ok(()) } else { Err(format!("{status} {body}").into()) }
    }

    /// Waits until no process of it is left.
    async fn gone(&self) -> Outcome {
        let gone = async || {
            let left = self.processes();
            if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
        };
        Ok(wait_until("the processes of a lab to end", END, gone).await?)
    }

    /// Ends it as its user does, by Ctrl-C.
    async fn end(mut self) -> Outcome {
        kill_process(self.pid()?, Signal::INT)?;
        let status = timeout(END, self.outer.wait()).await??;
        assert!(status.success(), "{status}");
        assert!(!self.state.exists(), "{} is left", self.state.display());
        assert_eq!(self.processes(), Vec::<String>::new());
        Ok(())
    }

    /// Processes that have this lab in their command line: all but the ones inside of its hosts.
    fn processes(&self) -> Vec<String> {
        let name = self.state.to_string_lossy();
        processes()
            .filter_map(|dir| fs::read(dir.join("cmdline")).ok())
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(name.as_ref()))
            .collect()
    }
}

pub(crate) async fn two_labs_live_side_by_side(_: &Lab) -> Outcome {
    let one = Held::start().await?;
    let two = Held::start().await?;
    assert_ne!(one.state, two.state);
    one.answers().await?;
    two.answers().await?;
    kill_process(one.pid()?, Signal::KILL)?;
    let gone = async || one.answers().await.err().map(|_| ()).ok_or("it still answers");
    wait_until("the killed lab to be gone", END, gone).await?;
    two.answers().await?;
    one.gone().await?;
    two.end().await
}

pub(crate) async fn nothing_outlives_a_killed_lab(_: &Lab) -> Outcome {
    let ours = namespaces();
    let mut held = Held::start().await?;
    assert!(held.processes().len() > 3, "{:?}", held.processes());
    assert!(namespaces().iter().any(|namespace| !ours.contains(namespace)));
    kill_process(held.pid()?, Signal::KILL)?;
    held.outer.wait().await?;
    held.gone().await?;
    // A mount or network namespace lives as long as a process in it, and takes its mounts along.
    wait_until("the namespaces of a killed lab to go", END, async || {
        let left: Vec<_> = namespaces().into_iter().filter(|ns| !ours.contains(ns)).collect();
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    })
    .await?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    assert!(!mounts.contains(&*held.state.to_string_lossy()), "{mounts}");
    assert!(held.state.join("lock").exists(), "nobody was left to remove the directory");

    let next = Held::start().await?;
    assert!(!held.state.exists(), "the next start removes what is left on disk");
    assert!(next.state.exists());
    let group = fs::read_to_string(next.state.join("cgroup"))?;
    let dead = held.state.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let parent = Path::new("/sys/fs/cgroup").join(group.trim_start_matches('/'));
    let parent = parent.parent().ok_or("no parent")?;
    assert!(parent.read_dir()?.count() > 0, "the control group of the next lab is here");
    assert!(!parent.join(format!("cim-lab-{dead}")).exists(), "nor its control group");
    next.end().await
}

/// `--kubeconfig`: the servers of a lab, with a cluster that somebody has already.
pub(crate) async fn a_lab_acts_on_a_cluster_outside(lab: &Lab) -> Outcome {
    let kubernetes = lab.kubernetes()?;
    let kubeconfig = kubernetes.kubeconfig();
    let held = Held::start_with(&["--kubeconfig", &kubeconfig.to_string_lossy()]).await?;
    let kubectl = kubernetes.kubectl();
    let seen = kubectl.get("configmap", "from-a-lab", "seen").await?;
    assert_eq!(seen["data"]["visitor"], "system:serviceaccount:from-a-lab:visitor", "{seen}");
    kubectl.run(&["delete", "namespace", "from-a-lab"]).await?;
    held.end().await
}

pub(crate) async fn ctrl_c_ends_a_lab_in_order(_: &Lab) -> Outcome {
    Held::start().await?.end().await
}

fn labs() -> std::io::Result<Vec<PathBuf>> {
    let labs = fs::read_dir("/var/lib/cim-lab")?.map(|entry| entry.map(|entry| entry.path()));
    Ok(labs.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|path| path.is_dir()).collect())
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let number = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok())
    };
    entries.map(|entry| entry.path()).filter(number)
}

/// The mount, network and process namespaces that a process is in.
fn namespaces() -> Vec<String> {
    // A zombie runs in no namespace, though it still names that of its process id.
    let alive = |dir: &PathBuf| {
        fs::read_to_string(dir.join("stat")).is_ok_and(|stat| !stat.contains(") Z "))
    };
    let mut names: Vec<_> = processes()
        .filter(alive)
        .flat_map(|dir| ["ns/mnt", "ns/net", "ns/pid"].map(|name| dir.join(name)))
        .filter_map(|link| fs::read_link(link).ok())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}
