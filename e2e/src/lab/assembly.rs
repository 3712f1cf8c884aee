//! The lab as the demo and the cases use it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use cim_nats::OperatorBundle;

use super::{
    Inside, command,
    error::{During, LabError, Result},
    keys::{NixKey, SshKey},
    network,
    servers::{
        controller::{Controller, ControllerConfig},
        dns::Dns,
        git::{Git, Repository},
        host::Host,
        kubernetes::{Kubernetes, RemoteCluster},
        nats::Nats,
    },
    targets::Target,
    toolbox::Toolbox,
};

#[derive(Debug)]
enum Cluster {
    Own,
    Remote(Box<RemoteCluster>, String),
}

/// What a lab consists of; nothing unless asked for.
#[derive(Debug, Default)]
#[must_use = "a builder starts nothing"]
pub struct Builder {
    kubernetes: Option<Cluster>,
    dns: bool,
    git: bool,
    hosts: u8,
    nats: Option<(OperatorBundle, usize)>,
}

impl Builder {
    /// With a Kubernetes control plane.
    pub fn kubernetes(mut self) -> Self {
        self.kubernetes = Some(Cluster::Own);
        self
    }

    /// With a cluster outside instead of an own control plane; `window` leads to its address.
    pub fn kubernetes_outside(mut self, cluster: RemoteCluster, window: &str) -> Self {
        self.kubernetes = Some(Cluster::Remote(Box::new(cluster), window.to_owned()));
        self
    }

    /// With Knot.
    pub fn dns(mut self) -> Self {
        self.dns = true;
        self
    }

    /// With a git server.
    pub fn git(mut self) -> Self {
        self.git = true;
        self
    }

    /// With this many hosts.
    pub fn hosts(mut self, count: u8) -> Self {
        self.hosts = count;
        self
    }

    /// With one or three NATS servers that obey an operator.
    pub fn nats(mut self, operator: OperatorBundle, servers: usize) -> Self {
        self.nats = Some((operator, servers));
        self
    }

    /// Starts everything at once and waits until everything is ready.
    pub async fn start(self, inside: Inside) -> Result<Lab> {
        // The start of everything at once is a large future; the callers' need not be.
        Box::pin(self.assemble(inside)).await
    }

    async fn assemble(self, inside: Inside) -> Result<Lab> {
        network::set_up()?;
        let toolbox = Toolbox::new(&inside)?;
        let deploy_key = SshKey::generate(&toolbox, &inside.volatile().join("keys"), "deploy")?;
        let nix_key = NixKey::generate(&toolbox, "cim-lab-1")?;
        let mut hosts = Vec::new();
        for n in 1..=self.hosts {
            hosts.push(Host::start(&inside, &toolbox, n, &deploy_key, &nix_key).await?);
        }
        let (kubernetes, dns, git, nats, hosts) = tokio::try_join!(
            async {
                match self.kubernetes {
                    Some(Cluster::Own) => Kubernetes::start(&inside, &toolbox).await.map(Some),
                    Some(Cluster::Remote(cluster, window)) => {
                        Kubernetes::reach(&inside, *cluster, &window).await.map(Some)
                    }
                    None => Ok(None),
                }
            },
            when(self.dns, Dns::start(&inside, &toolbox)),
            when(self.git, Git::start(&inside, &toolbox)),
            async {
                match &self.nats {
                    Some((operator, servers)) => {
                        Nats::start(&inside, operator, *servers).await.map(Some)
                    }
                    None => Ok(None),
                }
            },
            ready(hosts),
        )?;
        Ok(Lab { inside, toolbox, kubernetes, dns, git, nats, hosts, deploy_key, nix_key })
    }
}

async fn when<T>(wanted: bool, start: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    if wanted { start.await.map(Some) } else { Ok(None) }
}

async fn ready(hosts: Vec<Host>) -> Result<Vec<Host>> {
    for host in &hosts {
        host.ready().await?;
    }
    Ok(hosts)
}

/// A running lab. It ends with this process.
#[derive(Debug)]
pub struct Lab {
    inside: Inside,
    toolbox: Toolbox,
    kubernetes: Option<Kubernetes>,
    dns: Option<Dns>,
    git: Option<Git>,
    nats: Option<Nats>,
    hosts: Vec<Host>,
    deploy_key: SshKey,
    nix_key: NixKey,
}

impl Lab {
    /// Says what the lab consists of.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The namespaces of this process.
    pub fn inside(&self) -> &Inside {
        &self.inside
    }

    /// The Kubernetes control plane.
    ///
    /// # Errors
    /// When the lab was built without; so for the other servers.
    pub fn kubernetes(&self) -> Result<&Kubernetes> {
        self.kubernetes.as_ref().ok_or_else(|| absent("Kubernetes"))
    }

    /// The DNS server.
    pub fn dns(&self) -> Result<&Dns> {
        self.dns.as_ref().ok_or_else(|| absent("a DNS server"))
    }

    /// The git server.
    pub fn git(&self) -> Result<&Git> {
        self.git.as_ref().ok_or_else(|| absent("a git server"))
    }

    /// The NATS servers.
    pub fn nats(&self) -> Result<&Nats> {
        self.nats.as_ref().ok_or_else(|| absent("NATS"))
    }

    /// Host number `n`, from 1.
    pub fn host(&self, n: u8) -> Result<&Host> {
        let index = usize::from(n).checked_sub(1);
        index.and_then(|index| self.hosts.get(index)).ok_or_else(|| absent(&format!("host{n}")))
    }

    /// All hosts, in order.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The key that logs in to the hosts as [`super::servers::host::DEPLOY_USER`].
    pub fn deploy_key(&self) -> &SshKey {
        &self.deploy_key
    }

    /// The file with the private half of it, mode 0600.
    pub fn deploy_key_file(&self) -> PathBuf {
        self.inside.volatile().join("keys/deploy")
    }

    /// The key whose signatures the hosts trust.
    pub fn nix_key(&self) -> &NixKey {
        &self.nix_key
    }

    /// Prepares a container for the controller, with a disk of its own.
    pub fn controller(&self, config: ControllerConfig) -> Result<Controller> {
        Controller::prepare(&self.inside, config)
    }

    /// Runs Helm, for example to render the chart; its standard output.
    pub async fn helm(&self, args: &[&str]) -> Result<String> {
        let mut helm = Command::new(self.inside.tools().program("helm"));
        helm.args(args);
        self.run(helm).await
    }

    /// Runs a program of this machine within the lab; its standard output.
    pub async fn run(&self, program: Command) -> Result<String> {
        let output = command::blocking(move || command::run(program)).await?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Starts a prepared or killed controller.
    pub async fn start_controller(&self, controller: &Controller) -> Result<()> {
        controller.start(&self.inside, self.kubernetes()?).await
    }

    /// Runs a program of the base root (dig, ssh, git, curl, nix) beside the servers; its standard
    /// output. Files of the lab have the same paths there.
    pub fn tool(&self, program: &str, args: &[&str]) -> Result<String> {
        self.toolbox.run(program, args)
    }

    /// The root in which [`Self::tool`] runs its programs.
    pub fn tool_root(&self) -> PathBuf {
        self.toolbox.root()
    }

    /// Opens the way from outside to the API server and writes a kubeconfig for it; its path. For a
    /// cluster outside it is the kubeconfig that led there.
    pub fn publish_kubernetes(&self, door: &str) -> Result<PathBuf> {
        if let Some(path) = self.kubernetes()?.remote_kubeconfig() {
            return Ok(path.to_owned());
        }
        let target = (network::GATEWAY, super::servers::kubernetes::PORT).into();
        let port = self.inside.open_door(door, target)?;
        let path = self.inside.shared().join("kubeconfig");
        self.kubernetes()?.write_outside_kubeconfig(port, &path)?;
        Ok(path)
    }

    /// The directory of the servers' logs.
    pub fn logs(&self) -> PathBuf {
        self.inside.logs()
    }

    /// A repository with the flake of the demo, `host1` and `host2`, at its first release.
    pub async fn infra(&self, name: &str) -> Result<Repository> {
        self.flake("infra", name).await
    }

    /// A repository with the flake of a fixture at its first release.
    pub async fn flake(&self, fixture: &str, name: &str) -> Result<Repository> {
        // The flake needs one program to build with; there is no nixpkgs here to take it from.
        let busybox = ("/usr/bin/busybox", "bin/busybox");
        self.git()?.create(name, &Self::fixture(fixture), &[busybox]).await
    }

    /// Starts `count` targets beside the servers, once.
    pub async fn targets(&self, count: u8) -> Result<Vec<Target>> {
        let Self { inside, toolbox, deploy_key, nix_key, .. } = self;
        Target::start_all(inside, toolbox, count, deploy_key, nix_key).await
    }

    /// A directory of files that vanish with the lab.
    pub fn scratch(&self, name: &str) -> Result<PathBuf> {
        let dir = self.inside.volatile().join("scratch").join(name);
        std::fs::create_dir_all(&dir).during("create", &dir)?;
        Ok(dir)
    }

    /// A fixture of this crate, such as `infra`, the flake of the demo.
    pub fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
    }

    /// An error if a server of the lab has ended.
    pub fn check(&self) -> Result<()> {
        self.kubernetes.as_ref().map_or(Ok(()), Kubernetes::check)?;
        self.dns.as_ref().map_or(Ok(()), Dns::check)?;
        self.git.as_ref().map_or(Ok(()), Git::check)?;
        self.nats.as_ref().map_or(Ok(()), Nats::check)?;
        self.hosts.iter().try_for_each(Host::check)
    }
}

fn absent(what: &str) -> LabError {
    LabError::Unexpected {
        what: "the use of the lab".into(),
        why: format!("it was built without {what}"),
    }
}
