//! A Kubernetes control plane: etcd, kube-apiserver, kube-controller-manager; RBAC is on, every
//! request is in an audit log. Or a cluster that somebody has already.

mod audit;
mod config;
mod remote;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use self::config::{ADMIN, CONTROLLER_MANAGER, Endpoint};
pub use self::{audit::AuditEvent, remote::RemoteCluster};
use crate::lab::{
    Inside, Process,
    command::{self, line},
    error::{During, LabError, Result},
    network,
    toolbox::Toolbox,
};

/// The port of the API server, on [`crate::lab::network::GATEWAY`].
pub const PORT: u16 = 6443;
const READY: Duration = Duration::from_mins(1);
const KUBECTL: Duration = Duration::from_mins(1);

/// The lab's own API server signs itself, for this name and for its address on the bridge.
const OWN_TLS_NAME: &str = "localhost";

/// A Kubernetes API: the lab's own, or that of a cluster outside.
#[derive(Debug)]
pub struct Kubernetes {
    origin: Origin,
    dir: PathBuf,
    kubectl: PathBuf,
}

#[derive(Debug)]
enum Origin {
    /// etcd, kube-apiserver, kube-controller-manager.
    Own(Vec<Process>),
    Remote(RemoteCluster),
}

impl Kubernetes {
    /// Starts a control plane and waits until it is ready.
    pub(crate) async fn start(inside: &Inside, toolbox: &Toolbox) -> Result<Self> {
        let dir = inside.volatile().join("kubernetes");
        config::write(&dir, toolbox)?;
        let tools = inside.tools();
        let logs = inside.logs();
        let spawn = |name: &str, args: Vec<String>| {
            let program = tools.program(name).to_owned();
            Process::spawn(name, &logs, move || {
                let mut command = Command::new(&program);
                command.args(&args);
                command
            })
        };
        let etcd = spawn("etcd", config::etcd(&dir))?;
        etcd.ready(READY, async || reach(config::ETCD).await).await?;
        let apiserver = spawn("kube-apiserver", config::apiserver(&dir))?;
        let certificate = certificate(&dir);
        apiserver.ready(READY, async || present(&certificate)).await?;
        for user in [ADMIN, CONTROLLER_MANAGER] {
            let path = config::kubeconfig_path(&dir, user);
            endpoint(inside_url(), OWN_TLS_NAME, &certificate)
                .kubeconfig_of_static(&dir, user, &path)?;
        }
        let kubectl = Kubectl {
            program: tools.program("kubectl").to_owned(),
            kubeconfig: config::admin_kubeconfig(&dir),
        };
        apiserver.ready(READY, async || kubectl.run(&["get", "--raw=/readyz"]).await).await?;
        let controller_manager =
            spawn("kube-controller-manager", config::controller_manager(&dir))?;
        // The controller manager makes it; without it no pod or token could be made either.
        let account = ["get", "serviceaccount", "default", "--namespace=default"];
        controller_manager.ready(READY, async || kubectl.run(&account).await).await?;
        let origin = Origin::Own(vec![etcd, apiserver, controller_manager]);
        Ok(Self { origin, dir, kubectl: kubectl.program })
    }

    /// Reaches a cluster outside, through the window `window` that leads to its address.
    pub(crate) async fn reach(
        inside: &Inside,
        remote: RemoteCluster,
        window: &str,
    ) -> Result<Self> {
        let dir = inside.volatile().join("kubernetes");
        remote.write(&dir, &certificate(&dir))?;
        inside.open_window(window, (network::GATEWAY, PORT).into()).await?;
        let kubectl = inside.tools().program("kubectl").to_owned();
        let this = Self { origin: Origin::Remote(remote), dir, kubectl };
        this.kubectl().run(&["get", "--raw=/readyz"]).await?;
        Ok(this)
    }

    /// The administrator's kubeconfig, for use within the lab.
    pub fn kubeconfig(&self) -> PathBuf {
        config::admin_kubeconfig(&self.dir)
    }

    /// The kubeconfig of a cluster outside, where the user has one.
    pub fn remote_kubeconfig(&self) -> Option<&Path> {
        match &self.origin {
            Origin::Own(_) => None,
            Origin::Remote(remote) => Some(remote.file()),
        }
    }

    /// Writes the administrator's kubeconfig for the port on 127.0.0.1 that leads to the lab's own
    /// API server from outside.
    pub fn write_outside_kubeconfig(&self, port: u16, path: &Path) -> Result<()> {
        endpoint(format!("https://127.0.0.1:{port}"), OWN_TLS_NAME, &self.certificate())
            .kubeconfig_of_static(&self.dir, ADMIN, path)
    }

    /// The certificate that clients have to trust.
    pub fn certificate(&self) -> PathBuf {
        certificate(&self.dir)
    }

    /// A token of a service account, valid for a day.
    pub async fn token(&self, namespace: &str, service_account: &str) -> Result<String> {
        let args = ["create", "token", service_account, "--duration=24h", "--namespace", namespace];
        Ok(self.kubectl().run(&args).await?.trim().to_owned())
    }

    /// Writes a kubeconfig with which a client acts as a service account; its path.
    pub async fn kubeconfig_of(&self, namespace: &str, service_account: &str) -> Result<PathBuf> {
        let token = self.token(namespace, service_account).await?;
        let path = config::kubeconfig_path(&self.dir, &format!("{namespace}.{service_account}"));
        let tls_name = match &self.origin {
            Origin::Own(_) => OWN_TLS_NAME.to_owned(),
            Origin::Remote(remote) => remote.tls_server_name(),
        };
        endpoint(inside_url(), &tls_name, &self.certificate()).kubeconfig(
            service_account,
            &token,
            &path,
        )?;
        Ok(path)
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl { program: self.kubectl.clone(), kubeconfig: self.kubeconfig() }
    }

    /// Every request that the API server has answered since it started.
    ///
    /// # Errors
    /// Also for a cluster outside: its audit log is its own.
    pub fn audit(&self) -> Result<Vec<AuditEvent>> {
        match &self.origin {
            Origin::Own(_) => audit::read(&config::audit_log(&self.dir)),
            Origin::Remote(_) => Err(LabError::Unexpected {
                what: "the wish to read an audit log".into(),
                why: "the cluster is not the lab's own".into(),
            }),
        }
    }

    /// An error if one of the servers has ended.
    pub fn check(&self) -> Result<()> {
        match &self.origin {
            Origin::Own(servers) => servers.iter().try_for_each(Process::check),
            Origin::Remote(_) => Ok(()),
        }
    }
}

fn certificate(dir: &Path) -> PathBuf {
    dir.join("certs/apiserver.crt")
}

/// The API server's URL within the lab.
fn inside_url() -> String {
    format!("https://{}:{PORT}", network::GATEWAY)
}

fn endpoint<'a>(url: String, tls_server_name: &'a str, certificate: &'a Path) -> Endpoint<'a> {
    Endpoint { url, tls_server_name, certificate }
}

/// kubectl with the kubeconfig of somebody.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// The same kubectl as somebody else.
    #[must_use]
    pub fn with_kubeconfig(&self, kubeconfig: impl Into<PathBuf>) -> Self {
        Self { program: self.program.clone(), kubeconfig: kubeconfig.into() }
    }

    /// Runs kubectl; its standard output, or an error with what it said.
    pub async fn run(&self, args: &[&str]) -> Result<String> {
        self.run_with_input(args, "").await
    }

    /// Applies the objects in `yaml`.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        self.run_with_input(&["apply", "--server-side", "-f", "-"], yaml).await
    }

    /// An object as JSON.
    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<serde_json::Value> {
        let args = ["get", kind, name, "--namespace", namespace, "--output=json"];
        let text = self.run(&args).await?;
        serde_json::from_str(&text).map_err(|error| LabError::Unexpected {
            what: format!("{kind} {namespace}/{name}"),
            why: error.to_string(),
        })
    }

    /// Runs kubectl with `input` on its standard input.
    pub async fn run_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        let mut command = std::process::Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args);
        let what = line(&command);
        let input = input.to_owned();
        let job = command::blocking(move || command::run_with_input(command, input.as_bytes()));
        let output = timeout(KUBECTL, job).await.map_err(|_| LabError::Deadline {
            what,
            after: KUBECTL,
            last: "it still runs".into(),
        })??;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }
}

async fn reach(address: SocketAddr) -> std::io::Result<()> {
    tokio::net::TcpStream::connect(address).await.map(drop)
}

fn present(path: &Path) -> Result<()> {
    fs::metadata(path).during("find", path).map(drop)
}
