//! A Domain of `examples/` in a lab: what the demo shows, the cases assert and the bench measures.
//!
//! ```text
//! estate     which Domain: its files, its flake, its hosts
//! programs   the controller and cimctl, built by the cargo that runs us, before the lab is entered
//! chart      the chart's ServiceAccount, RBAC and definitions, rendered by Helm
//! secrets    what the examples refer to, made from the lab's own keys
//! object     what the five kinds say of themselves
//! metrics    what the controller says of itself
//! account    the NATS account as its owner uses it: stores, listeners
//! ```

mod account;
mod chart;
mod estate;
mod metrics;
mod object;
mod programs;
mod secrets;

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

pub use self::{
    account::{Account, STORES, data},
    chart::path as chart,
    estate::{BARE, Estate, HOME, SHOP},
    metrics::Metrics,
    object::Object,
    programs::{Profile, ProgramArgs, Programs},
};
use crate::lab::{
    Lab, LabError, Result,
    servers::{
        controller::{Controller, ControllerConfig},
        git::Repository,
        host::Host,
        kubernetes::{AuditEvent, Kubectl},
    },
    wait_until,
};

/// The annotation that asks for a look at once.
const REQUESTED_AT: &str = "cim.dev/requestedAt";
const READY: Duration = Duration::from_mins(1);
const SOON: Duration = Duration::from_secs(30);
const LOG_LINES: usize = 25;

/// A lab in which the controller keeps a Domain.
#[derive(Debug)]
pub struct Home {
    lab: Arc<Lab>,
    estate: &'static Estate,
    kubectl: Kubectl,
    repository: Repository,
    controller: Controller,
    account: String,
    cimctl: PathBuf,
    releases: AtomicU32,
}

impl Home {
    /// Has the controller keep the examples; they are not true yet.
    pub async fn start(
        lab: Arc<Lab>,
        programs: &Programs,
        estate: &'static Estate,
    ) -> Result<Self> {
        let home = Self::prepare(lab, programs, estate).await?;
        home.start_controller().await?;
        home.apply().await?;
        Ok(home)
    }

    /// Gives the lab all that the examples take for granted: a flake in git, Secrets, the chart.
    /// The controller is not started.
    pub async fn prepare(
        lab: Arc<Lab>,
        programs: &Programs,
        estate: &'static Estate,
    ) -> Result<Self> {
        let kubectl = lab.kubernetes()?.kubectl();
        let repository = lab.flake(estate.flake, estate.flake).await?;
        for namespace in [estate.namespace, estate.system] {
            let object = serde_json::json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace},
            });
            kubectl.apply(&object.to_string()).await?;
        }
        kubectl.apply(&secrets::all(&lab, estate)?).await?;
        kubectl.apply(&chart::render(&lab, estate).await?).await?;
        let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
        kubectl.run(&established).await?;
        let account = service_account(&kubectl, estate).await?;
        let controller = lab.controller(ControllerConfig {
            replica: estate.replica,
            binary: programs.controller.clone(),
            namespace: estate.system.into(),
            service_account: account.clone(),
            args: vec![
                format!("--watch-namespace={}", estate.namespace),
                format!("--lease-namespace={}", estate.system),
                "--log-format=text".into(),
            ],
            own_clock: false,
        })?;
        let cimctl = programs.cimctl.clone();
        let releases = AtomicU32::new(1);
        Ok(Self { lab, estate, kubectl, repository, controller, account, cimctl, releases })
    }

    /// Starts the controller, or starts it again, and waits until it is ready.
    pub async fn start_controller(&self) -> Result<()> {
        self.lab.start_controller(&self.controller).await?;
        match self.controller.ready(READY).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// Applies the examples, as they are.
    pub async fn apply(&self) -> Result<()> {
        let Estate { namespace, examples, .. } = self.estate;
        let apply = ["apply", "--server-side", "--namespace", namespace, "-f", examples];
        self.kubectl.run(&apply).await.map(drop)
    }

    /// The lab.
    pub fn lab(&self) -> &Arc<Lab> {
        &self.lab
    }

    /// Which Domain it is.
    pub fn estate(&self) -> &'static Estate {
        self.estate
    }

    /// Its hosts, in order.
    pub fn hosts(&self) -> &[Host] {
        self.lab.hosts().get(self.estate.hosts.clone()).unwrap_or_default()
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The flake.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The controller.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// Prepares another replica of the controller, 2, with an empty disk. It is not started.
    pub fn replica(&self, replica: u8) -> Result<Controller> {
        let config = self.controller.config().clone();
        self.lab.controller(ControllerConfig { replica, ..config })
    }

    /// As [`Home::replica`], with a clock that can be moved.
    pub fn replica_with_clock(&self, replica: u8) -> Result<Controller> {
        let config = self.controller.config().clone();
        self.lab.controller(ControllerConfig { replica, own_clock: true, ..config })
    }

    /// The file of cimctl.
    pub fn cimctl(&self) -> &PathBuf {
        &self.cimctl
    }

    /// The controller's name as the API server knows it.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.estate.system, self.account)
    }

    /// Whether the API server is the lab's own, so that its audit log can be read.
    pub fn has_audit(&self) -> Result<bool> {
        Ok(self.lab.kubernetes()?.remote_kubeconfig().is_none())
    }

    /// Every request of the controller so far, in order.
    pub fn requests(&self) -> Result<Vec<AuditEvent>> {
        let user = self.user();
        let mut events = self.lab.kubernetes()?.audit()?;
        events.retain(|event| event.user == user);
        Ok(events)
    }

    /// Commits a message that no release had before; the revision and the message.
    pub async fn release(&self) -> Result<(String, String)> {
        let number = self.releases.fetch_add(1, Ordering::Relaxed) + 1;
        let message = format!("hello from release {number}");
        let file = format!("{message}\n");
        let title = format!("Release {number}");
        let revision = self.repository.commit(&title, &[("message", &file)]).await?;
        Ok((revision, message))
    }

    /// All objects of the five kinds.
    pub async fn objects(&self) -> Result<Vec<Object>> {
        Object::all(&self.kubectl, self.estate.namespace).await
    }

    /// One object of the five kinds.
    pub async fn object(&self, kind: &str, name: &str) -> Result<Object> {
        let (kind, namespace) = (format!("{kind}.cim.dev"), self.estate.namespace);
        Ok(Object::new(self.kubectl.get(&kind, namespace, name).await?))
    }

    /// Has the controller look at an object now, as `cimctl reconcile` does, and waits until it has.
    pub async fn reconcile(&self, kind: &str, name: &str) -> Result<()> {
        let token = format!("{:08x}", rand::random::<u32>());
        let (kind, request) = (format!("{kind}.cim.dev"), format!("{REQUESTED_AT}={token}"));
        let namespace = self.estate.namespace;
        let words = ["annotate", "--overwrite", "--namespace", namespace, &kind, name, &request];
        self.kubectl.run(&words).await?;
        self.eventually(&format!("{kind} {name} to be looked at"), READY, async || {
            let object = self.kubectl.get(&kind, namespace, name).await;
            let handled =
                &object.map_err(|error| error.to_string())?["status"]["lastHandledReconcileAt"];
            if *handled == *token { Ok(()) } else { Err(format!("it has handled {handled}")) }
        })
        .await
    }

    /// What the controller measures now.
    pub async fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics::parse(&self.controller.metrics().await?))
    }

    /// The account `comms` as its owner uses it, once the controller has made it.
    pub async fn account(&self) -> Result<Account> {
        self.eventually("the account of the Domain", READY, async || {
            Account::open(self).await.map_err(|error| error.to_string())
        })
        .await
    }

    /// Waits until every object is Ready, or reports those that are not.
    pub async fn all_ready(&self, deadline: Duration) -> Result<()> {
        self.eventually("every object to be Ready", deadline, async || {
            let objects = self.objects().await.map_err(|error| error.to_string())?;
            let waiting: Vec<_> =
                objects.iter().filter(|object| !object.is_ready()).map(Object::to_string).collect();
            if waiting.is_empty() && !objects.is_empty() { Ok(()) } else { Err(waiting.join("; ")) }
        })
        .await
    }

    /// Like [`wait_until`], but a failure comes with what the objects and the controller say.
    pub async fn eventually<T>(
        &self,
        what: &str,
        deadline: Duration,
        probe: impl AsyncFnMut() -> Result<T, String>,
    ) -> Result<T> {
        match wait_until(what, deadline, probe).await {
            Ok(value) => Ok(value),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// Adds to an error what the objects and the controller said last.
    async fn explain(&self, error: LabError) -> LabError {
        let objects = match self.objects().await {
            Ok(objects) => objects.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "),
            Err(error) => error.to_string(),
        };
        let log = fs::read(self.controller.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
        LabError::Unexpected {
            what: format!("the state of {}", self.estate.namespace),
            why: format!(
                "{error}\nthe objects:\n  {objects}\nthe end of the controller's log, {}:\n  {tail}",
                self.controller.log().display()
            ),
        }
    }
}

/// The name of the account that the chart made; it is there a moment after it was applied.
async fn service_account(kubectl: &Kubectl, estate: &Estate) -> Result<String> {
    let label = format!("--selector=app.kubernetes.io/instance={}", estate.release);
    let path = "--output=jsonpath={.items[0].metadata.name}";
    let args = ["get", "serviceaccounts", "--namespace", estate.system, &label, path];
    wait_until("the controller's ServiceAccount", SOON, async || kubectl.run(&args).await).await
}
