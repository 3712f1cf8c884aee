//! The controller in a container like its image: an unprivileged user with nix, git and ssh, its own
//! Nix store, and the files and variables by which a pod finds its API server.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Mutex;

use crate::lab::{
    Inside,
    container::{Container, Payload},
    error::{During, LabError, Result},
    http::http_get,
    network,
    root::Root,
    servers::kubernetes::{self, Kubernetes},
    wait::wait_until,
};

const PROGRAM: &str = "cim-controller";
const USER: &str = "cim";
const USER_ID: u32 = 65532;
const HOME: &str = "/var/lib/cim-controller";
/// The volumes of its pod. /tmp is one too, and a tmpfs here.
const VOLUMES: [&str; 2] = [HOME, "/nix"];
const BINARY: &str = "/usr/local/bin/cim-controller";
const HTTP: u16 = 8080;
const GRACE: Duration = Duration::from_secs(40);
/// By how much its own clock is off, as libfaketime reads it.
const CLOCK: &str = "/etc/cim-clock";

const NIX_CONF: &str = "experimental-features = nix-command flakes
build-users-group =
sandbox = false
substituters =
flake-registry =
";

/// How to run the controller.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// 0 to 3: which of the replicas it is; see [`network::controller`] for their addresses.
    pub replica: u8,
    /// The binary on this machine.
    pub binary: PathBuf,
    /// The namespace of its service account.
    pub namespace: String,
    /// The name of its service account.
    pub service_account: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Whether it has a clock of its own, which [`Controller::set_clock`] moves. Containers share that
    /// of their machine otherwise.
    pub own_clock: bool,
}

/// The controller's container; it keeps its files when the controller is killed and started again.
#[derive(Debug)]
pub struct Controller {
    config: ControllerConfig,
    name: String,
    root: Root,
    container: Mutex<Option<Container>>,
    log: PathBuf,
}

impl Controller {
    /// Prepares the container, without starting it.
    pub(crate) fn prepare(inside: &Inside, config: ControllerConfig) -> Result<Self> {
        let name = format!("controller-{}", config.replica);
        // A case that prepares one gets an empty disk, not that of an earlier case.
        let root = Root::mount(inside, &format!("{name}.{:08x}", rand::random::<u32>()))?;
        root.write("/etc/nix/nix.conf", NIX_CONF, 0o644)?;
        root.add_user(USER, USER_ID, HOME)?;
        for mount_point in VOLUMES.map(|dir| root.path(dir)) {
            fs::create_dir_all(&mount_point).during("create", mount_point)?;
        }
        // Without the state directory Nix makes itself a store in the home directory.
        for dir in [HOME, "/nix", "/nix/store", "/nix/var", "/nix/var/nix"] {
            root.make_in_volume(dir, USER_ID)?;
        }
        let binary = root.path(BINARY);
        fs::copy(&config.binary, &binary).during("copy the controller to", &binary)?;
        root.write(CLOCK, "+0", 0o644)?;
        let log = inside.logs().join(format!("{name}.log"));
        Ok(Self { config, name, root, container: Mutex::new(None), log })
    }

    /// Starts the controller with a fresh token; it may not be ready yet.
    pub(crate) async fn start(&self, inside: &Inside, kubernetes: &Kubernetes) -> Result<()> {
        self.kill().await?;
        let ControllerConfig { namespace, service_account, .. } = &self.config;
        let token = kubernetes.token(namespace, service_account).await?;
        let certificate = kubernetes.certificate();
        let certificate = fs::read(&certificate).during("read", &certificate)?;
        // nspawn mounts a tmpfs on /run, so the files lie elsewhere and are linked at the start.
        for (file, content) in [
            ("token", token.as_bytes()),
            ("ca.crt", &certificate),
            ("namespace", namespace.as_bytes()),
        ] {
            self.root.write(&format!("/etc/cim-pod/{file}"), content, 0o644)?;
        }
        let access = if kubernetes.remote_kubeconfig().is_some() {
            // The address that a pod would be given is not in the certificate of that cluster.
            let file = kubernetes.kubeconfig_of(namespace, service_account).await?;
            let config = fs::read(&file).during("read", &file)?;
            self.root.write("/etc/cim-pod/kubeconfig", config, 0o644)?;
            "KUBECONFIG=/etc/cim-pod/kubeconfig".to_owned()
        } else {
            let (host, port) = (network::GATEWAY, kubernetes::PORT);
            format!("KUBERNETES_SERVICE_HOST={host} KUBERNETES_SERVICE_PORT={port}")
        };
        let variables = if self.config.own_clock { access + " " + &own_clock() } else { access };
        let script = script(&self.name, self.address(), &variables, &self.config.args);
        let payload = Payload::Script { script: &script, volumes: &VOLUMES };
        let container =
            Container::start(inside, &self.name, self.address(), &self.root, &payload).await?;
        *self.container.lock().await = Some(container);
        Ok(())
    }

    /// Waits until /readyz says so; fails at once when the controller ends.
    pub async fn ready(&self, deadline: Duration) -> Result<()> {
        let address = self.http();
        let container = self.container.lock().await;
        let container = container.as_ref().ok_or_else(not_running)?;
        let probe = async || match http_get(address, "/readyz").await {
            Ok((200, _)) => Ok(()),
            Ok((status, body)) => Err(format!("/readyz: {status} {body}")),
            Err(error) => Err(error.to_string()),
        };
        container.process().ready(deadline, probe).await
    }

    /// Kills the controller with SIGKILL, as a node that fails does. Does nothing if it is not
    /// running.
    pub async fn kill(&self) -> Result<()> {
        let Some(container) = self.container.lock().await.take() else { return Ok(()) };
        container.kill().await
    }

    /// Asks the controller to end with SIGTERM, as Kubernetes does; its exit code.
    pub async fn stop(&self) -> Result<i32> {
        let pid = self.pid().await?;
        let container = self.container.lock().await.take().ok_or_else(not_running)?;
        kill_process(pid, Signal::TERM).attempting("stop the controller")?;
        let ended = tokio::time::timeout(GRACE, container.process().wait()).await;
        let status = ended.map_err(|_| LabError::Deadline {
            what: "the controller to end after SIGTERM".into(),
            after: GRACE,
            last: "it still runs".into(),
        })??;
        status.code().ok_or_else(|| LabError::Unexpected {
            what: "the end of the controller".into(),
            why: status.to_string(),
        })
    }

    /// Moves the date that the controller reads: so far ahead of that of the machine. It must have
    /// been prepared with [`ControllerConfig::own_clock`].
    pub fn set_clock(&self, ahead: Duration) -> Result<()> {
        // Renamed, so that nobody reads half a number.
        let new = format!("{CLOCK}.new");
        self.root.write(&new, format!("+{}", ahead.as_secs()), 0o644)?;
        let (from, to) = (self.root.path(&new), self.root.path(CLOCK));
        fs::rename(&from, &to).during("rename", &from)
    }

    /// Its resident set in bytes.
    pub async fn rss(&self) -> Result<u64> {
        self.memory("VmRSS:").await
    }

    /// The largest that its resident set has been, in bytes.
    pub async fn peak_rss(&self) -> Result<u64> {
        self.memory("VmHWM:").await
    }

    /// The processor time that it took, with that of the nix, git and ssh that it ran to their end.
    pub async fn cpu(&self) -> Result<Duration> {
        /// Of clock ticks, which proc_pid_stat(5) counts in; the same on all Linux.
        const PER_SECOND: u64 = 100;
        let path = PathBuf::from(format!("/proc/{}/stat", self.pid().await?.as_raw_nonzero()));
        let stat = fs::read_to_string(&path).during("read", &path)?;
        // The name of the program, in parentheses, may hold anything.
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace());
        let ticks = fields.into_iter().flatten().skip(11).take(4);
        let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 1000 / PER_SECOND))
    }

    /// A line of proc_pid_status(5), in bytes.
    async fn memory(&self, field: &str) -> Result<u64> {
        let path = PathBuf::from(format!("/proc/{}/status", self.pid().await?.as_raw_nonzero()));
        let status = fs::read_to_string(&path).during("read", &path)?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| LabError::Unexpected {
            what: path.display().to_string(),
            why: format!("it has no {field}"),
        })
    }

    /// Its metrics, in the text format of Prometheus.
    pub async fn metrics(&self) -> Result<String> {
        http_get(self.http(), "/metrics").await.map(|(_, body)| body)
    }

    /// How it is run.
    pub fn config(&self) -> &ControllerConfig {
        &self.config
    }

    /// Where it serves /livez, /readyz and /metrics.
    pub fn http(&self) -> SocketAddr {
        SocketAddr::from((self.address(), HTTP))
    }

    /// Its address on the lab's network.
    pub fn address(&self) -> Ipv4Addr {
        network::controller(self.config.replica)
    }

    /// Runs a shell script in the container as the controller's user, without its variables; its
    /// standard output.
    pub async fn exec(&self, script: &str) -> Result<String> {
        let container = self.container.lock().await;
        let container = container.as_ref().ok_or_else(not_running)?;
        let script = format!("export HOME={HOME}; cd; {script}");
        let id = USER_ID.to_string();
        let args = ["--reuid", &id, "--regid", &id, "--clear-groups", "/bin/sh", "-ec", &script];
        container.run("setpriv", &args, GRACE).await
    }

    /// The file with what it logged in all its lives.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until the process runs; it starts a moment after its container.
    pub async fn running(&self) -> Result<()> {
        wait_until("the controller's process", GRACE, async || self.pid().await.map(drop)).await
    }

    async fn pid(&self) -> Result<Pid> {
        let container = self.container.lock().await;
        let container = container.as_ref().ok_or_else(not_running)?;
        container.processes(PROGRAM).await.into_iter().next().ok_or_else(not_running)
    }
}

fn not_running() -> LabError {
    LabError::Unexpected { what: "the controller".into(), why: "it is not running".into() }
}

/// Configures the network as a pod's is before the container's program starts, and drops to the user.
fn script(name: &str, address: Ipv4Addr, variables: &str, args: &[String]) -> String {
    let args: Vec<_> = args.iter().map(|arg| quote(arg)).collect();
    format!(
        "set -e\n\
         ip address add {address}/24 dev host0\n\
         ip link set host0 up\n\
         mkdir -p /run/secrets/kubernetes.io\n\
         ln -s /etc/cim-pod /run/secrets/kubernetes.io/serviceaccount\n\
         exec setpriv --reuid={USER_ID} --regid={USER_ID} --clear-groups --no-new-privs \
           --inh-caps=-all --bounding-set=-all env --ignore-environment HOME={HOME} \
           PATH=/usr/bin:/bin USER={USER} LANG=C.UTF-8 CIM_IDENTITY={name} \
           {variables} {BINARY} {}\n",
        args.join(" ")
    )
}

/// The date is read anew each time; what measures durations is left alone, as by a real clock that is
/// set.
fn own_clock() -> String {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", env::consts::ARCH);
    format!(
        "LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={CLOCK} FAKETIME_NO_CACHE=1 \
         FAKETIME_DONT_FAKE_MONOTONIC=1"
    )
}

/// Quotes a word for the shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn a_quoted_word_stays_one_word() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
