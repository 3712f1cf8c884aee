//! The process: what is started, in which order, and how it ends.
//!
//! ```text
//! http ─► client ─► CRDs served? ─► lease held? ─► one scope per watched namespace ─► SIGTERM
//!                   /readyz names    standby is                                        │
//!                   what is missing  ready too     lease released ◄── visits end ◄─────┘
//! ```

use std::sync::Arc;

use cim_crds::{GROUP, Kind, VERSION};
use futures::FutureExt;
use kube::{Client, Resource};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::args::Args;
use crate::client::{self, ConnectError};
use crate::delivery::Workshop;
use crate::driver::{Means, Schedule};
use crate::kube::Kube;
use crate::lease::{Candidate, Leader, Lost, Terms, TermsError};
use crate::ops::metrics::Metrics;
use crate::ops::readiness::Readiness;
use crate::ops::{http, shutdown};
use crate::result::Recorder;
use crate::scope::{Ended, Scope};
use crate::watch::wait_for_crds;

/// Why the controller stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No signal handlers.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    /// A metric is defined twice.
    #[error("cannot set up the metrics")]
    Metrics(#[from] prometheus::Error),
    /// The address of `--listen` cannot be had.
    #[error("cannot listen on {address} (--listen)")]
    Listen {
        /// As given.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The API server cannot be reached as configured.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The terms of the lease contradict each other.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// Another replica may be acting.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// A task that should run for ever has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
}

impl RunError {
    /// The kind of failure, for the last log line.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Signals(_) => "Signals",
            Self::Metrics(_) => "Metrics",
            Self::Listen { .. } => "Listen",
            Self::Connect(_) => "Connect",
            Self::Terms(_) => "Terms",
            Self::Lost(_) => "LeaseLost",
            Self::Ended(_) => "TaskEnded",
        }
    }
}

/// Runs the controller until a signal stops it, or until it may not act any more.
pub async fn run(args: Args) -> Result<(), RunError> {
    let stop = shutdown::on_signals().map_err(RunError::Signals)?;
    let metrics = Metrics::new(args.ops.object_metrics)?;
    let readiness = Readiness::default();
    for kind in plurals() {
        readiness.missing(format!("CRD {kind}.{GROUP}"));
    }
    let address = args.ops.listen;
    let listener =
        http::listen(address).await.map_err(|source| RunError::Listen { address, source })?;
    let _http = AbortOnDropHandle::new(tokio::spawn(http::serve(
        listener,
        metrics.clone(),
        readiness.clone(),
        stop.clone(),
    )));
    let client = client::connect(&args.kubernetes, &metrics).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), listen = %address, "started");

    let group_version = format!("{GROUP}/{VERSION}");
    let wanted = plurals();
    let deadline = args.kubernetes.api_timeout;
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = wait_for_crds(&client, &group_version, &wanted, deadline, &readiness) => {}
    }
    let identity = args.kubernetes.identity.clone().unwrap_or_else(identity);
    let workshop = Arc::new(Workshop::new(&args.outside, metrics.clone()));
    let process = Process { args, workshop, client, metrics, readiness, identity, stop };
    process.elected().await
}

/// What ended by itself, or nothing when `stop` came first.
///
/// What has nothing to do ends as soon as it is told to stop, so both may be true at once: it is
/// then an end in order.
async fn unless_stopped<T>(stop: &CancellationToken, ended: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        ended = ended => Some(ended),
    }
}

struct Process {
    args: Args,
    workshop: Arc<Workshop>,
    client: Client,
    metrics: Metrics,
    readiness: Readiness,
    identity: String,
    stop: CancellationToken,
}

impl Process {
    /// Waits for the lease, acts while it is held, and gives it back.
    async fn elected(self) -> Result<(), RunError> {
        if !self.args.lease.enabled {
            self.metrics.leader(true);
            return self.act().await;
        }
        let namespace = self.args.lease.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| self.client.default_namespace().to_owned());
        let terms = Terms::new(&self.args.lease, namespace, self.identity.clone())?;
        let candidate = Candidate::new(self.client.clone(), terms);
        let Some(mut leader) = candidate.acquire(&self.stop).await else { return Ok(()) };
        self.metrics.leader(true);
        let acted = self.act_while(&mut leader).await;
        self.metrics.leader(false);
        match &acted {
            // Not ours any more to give back.
            Err(RunError::Lost(_)) => {}
            _ => leader.release().await,
        }
        acted
    }

    /// Everything that acts is dropped before this returns.
    async fn act_while(&self, leader: &mut Leader) -> Result<(), RunError> {
        // Renewed until the last visit has ended, also after the signal.
        let never = CancellationToken::new();
        tokio::select! {
            lost = leader.hold(&never) => lost.map_err(RunError::Lost),
            acted = self.act() => acted,
        }
    }

    /// Runs the scopes until the signal, and a grace longer for visits that are under way.
    async fn act(&self) -> Result<(), RunError> {
        let namespaces: Vec<Option<&str>> = match self.args.kubernetes.watch_namespace.as_slice() {
            [] => vec![None],
            some => some.iter().map(|namespace| Some(namespace.as_str())).collect(),
        };
        let mut scopes: Vec<Scope> =
            namespaces.into_iter().map(|namespace| self.scope(namespace)).collect();
        let ended =
            futures::future::select_all(scopes.iter_mut().map(|scope| Box::pin(scope.ended())));
        let ended = ended.map(|(ended, ..)| ended);
        if let Some(ended) = unless_stopped(&self.stop, ended).await {
            return Err(ended.into());
        }
        let grace = self.args.ops.shutdown_grace;
        let finish = futures::future::join_all(scopes.iter_mut().map(Scope::finish));
        if timeout(grace, finish).await.is_err() {
            // Every plan converges from wherever it was left.
            tracing::info!(?grace, "visits were still under way; the next leader takes them up");
        }
        Ok(())
    }

    fn scope(&self, namespace: Option<&str>) -> Scope {
        let deadline = self.args.kubernetes.api_timeout;
        let means = Means {
            kube: Kube::new(self.client.clone(), deadline),
            metrics: self.metrics.clone(),
            recorder: Recorder::new(
                self.client.clone(),
                self.identity.clone(),
                deadline,
                self.metrics.clone(),
            ),
            schedule: Schedule::from(&self.args.schedule),
        };
        Scope::start(
            &self.client,
            namespace,
            &self.args,
            &means,
            &self.workshop,
            &self.readiness,
            &self.stop,
        )
    }
}

fn plurals() -> Vec<String> {
    fn plural<K: Kind>() -> String {
        <K as Resource>::plural(&()).into_owned()
    }
    vec![
        plural::<cim_crds::Domain>(),
        plural::<cim_crds::Cluster>(),
        plural::<cim_crds::Machine>(),
        plural::<cim_crds::Service>(),
        plural::<cim_crds::ObjectReplica>(),
    ]
}

/// The host's name (in a pod: the pod's) and some random digits, so that two processes on one host
/// differ.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "cim-controller" } else { host };
    format!("{host}-{:06x}", rand::random::<u32>() & 0x00ff_ffff)
}

#[cfg(test)]
mod tests {
    use futures::future;
    use tokio_util::sync::CancellationToken;

    use super::unless_stopped;

    #[tokio::test]
    async fn what_ends_because_it_was_told_to_did_not_end_by_itself() {
        let stop = CancellationToken::new();
        assert_eq!(unless_stopped(&stop, future::ready("ended")).await, Some("ended"));
        stop.cancel();
        // Often enough for a choice by chance to show itself.
        for _ in 0..64 {
            assert_eq!(unless_stopped(&stop, future::ready("ended")).await, None);
        }
    }
}
