//! A Kubernetes control plane: etcd, kube-apiserver, kube-controller-manager; RBAC is on, every
//! request is in an audit log.

mod audit;
mod config;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

pub use self::audit::AuditEvent;
use self::config::{ADMIN, CONTROLLER_MANAGER};
use crate::lab::{
    Inside, Process,
    command::{self, line},
    error::{During, LabError, Result},
    toolbox::Toolbox,
};

/// The port of the API server, on [`crate::lab::network::GATEWAY`].
pub const PORT: u16 = 6443;
const READY: Duration = Duration::from_mins(1);
const KUBECTL: Duration = Duration::from_mins(1);

/// A running control plane.
#[derive(Debug)]
pub struct Kubernetes {
    etcd: Process,
    apiserver: Process,
    controller_manager: Process,
    dir: PathBuf,
    kubectl: PathBuf,
}

impl Kubernetes {
    /// Starts it and waits until it is ready.
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
        let certificate = dir.join("certs/apiserver.crt");
        apiserver.ready(READY, async || present(&certificate)).await?;
        config::kubeconfig(&dir, &certificate, ADMIN)?;
        config::kubeconfig(&dir, &certificate, CONTROLLER_MANAGER)?;
        let args = config::controller_manager(&dir);
        let controller_manager = spawn("kube-controller-manager", args)?;
        let kubectl = tools.program("kubectl").to_owned();
        let this = Self { etcd, apiserver, controller_manager, dir, kubectl };
        this.wait_ready().await?;
        Ok(this)
    }

    async fn wait_ready(&self) -> Result<()> {
        let kubectl = Kubectl { program: self.kubectl.clone(), kubeconfig: self.kubeconfig() };
        self.apiserver.ready(READY, async || kubectl.run(&["get", "--raw=/readyz"]).await).await?;
        // The controller manager makes it; without it no pod or token could be made either.
        let account = ["get", "serviceaccount", "default", "--namespace=default"];
        self.controller_manager.ready(READY, async || kubectl.run(&account).await).await?;
        Ok(())
    }

    /// The administrator's kubeconfig, for use within the lab.
    pub fn kubeconfig(&self) -> PathBuf {
        config::kubeconfig_path(&self.dir, ADMIN)
    }

    /// Writes the administrator's kubeconfig for the port on 127.0.0.1 that leads here from outside.
    pub fn write_outside_kubeconfig(&self, port: u16, path: &Path) -> Result<()> {
        config::outside_kubeconfig(&self.dir, &self.certificate(), port, path)
    }

    /// The certificate that clients have to trust; the server signs itself.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("certs/apiserver.crt")
    }

    /// A token of a service account, valid for a day.
    pub async fn token(&self, namespace: &str, service_account: &str) -> Result<String> {
        let args = ["create", "token", service_account, "--duration=24h", "--namespace", namespace];
        Ok(self.kubectl().run(&args).await?.trim().to_owned())
    }

    /// Writes a kubeconfig with which a client acts as a service account; its path.
    pub async fn kubeconfig_of(&self, namespace: &str, service_account: &str) -> Result<PathBuf> {
        let token = self.token(namespace, service_account).await?;
        config::token_kubeconfig(&self.dir, &self.certificate(), service_account, &token)
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl { program: self.kubectl.clone(), kubeconfig: self.kubeconfig() }
    }

    /// Every request that the API server has answered since it started.
    pub fn audit(&self) -> Result<Vec<AuditEvent>> {
        audit::read(&config::audit_log(&self.dir))
    }

    /// An error if one of the servers has ended.
    pub fn check(&self) -> Result<()> {
        self.etcd.check()?;
        self.apiserver.check()?;
        self.controller_manager.check()
    }
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
