//! Every setting of the controller: a flag, its environment variable, its default.
//!
//! Read once, in `main`; nothing else reads the environment (rustls and Kubernetes' own in-cluster
//! token files excepted).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args as Group, Parser, ValueEnum};

/// Keeps a private domain true: machines, names, NATS accounts and object copies, as described in
/// the five kinds of cim.dev/v1alpha1.
#[derive(Clone, Debug, Parser)]
#[command(name = "cim-controller", version, next_line_help = false)]
pub struct Args {
    /// Where the Kubernetes API server is, and what is watched there.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,
    /// Which of several replicas acts.
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// When objects are looked at again.
    #[command(flatten)]
    pub schedule: ScheduleArgs,
    /// What is done outside Kubernetes, and how long it may take.
    #[command(flatten)]
    pub outside: OutsideArgs,
    /// Health, readiness and metrics.
    #[command(flatten)]
    pub ops: OpsArgs,
    /// Logs.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// Where the Kubernetes API server is, and what is watched there.
#[derive(Clone, Debug, Group)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubernetesArgs {
    /// Kubeconfig file. Without it the service account of the pod is used.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig; its current context by default.
    #[arg(long, env = "CIM_CONTEXT", value_name = "NAME", requires = "kubeconfig")]
    pub context: Option<String>,

    /// Namespace to watch; may be repeated or separated by commas. All namespaces by default.
    #[arg(long, env = "CIM_WATCH_NAMESPACE", value_name = "NAMESPACE", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,

    /// Name of this process in Events and in the Lease; must differ between replicas. In a pod: its
    /// name, by the downward API.
    #[arg(long, env = "CIM_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,

    /// Deadline of one request to the API server.
    #[arg(long, env = "CIM_API_TIMEOUT", value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub api_timeout: Duration,
}

/// Which of several replicas acts.
#[derive(Clone, Debug, Group)]
#[command(next_help_heading = "Leader lease")]
pub struct LeaseArgs {
    /// Act only while holding the Lease. `false` is for a single process on a developer's machine.
    #[arg(long = "leader-election", env = "CIM_LEADER_ELECTION", value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub enabled: bool,

    /// Name of the Lease object.
    #[arg(
        long = "lease-name",
        env = "CIM_LEASE_NAME",
        value_name = "NAME",
        default_value = "cim-controller"
    )]
    pub name: String,

    /// Namespace of the Lease object; that of the pod or of the kubeconfig's context by default.
    #[arg(long = "lease-namespace", env = "CIM_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// How long after the last renewal another replica may take over; at least 2s.
    #[arg(long = "lease-duration", env = "CIM_LEASE_DURATION", value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub duration: Duration,

    /// How long renewal may fail before this process gives up and exits; below the lease duration.
    #[arg(long = "lease-renew-deadline", env = "CIM_LEASE_RENEW_DEADLINE", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub renew_deadline: Duration,

    /// Time between two attempts to renew or to take the Lease.
    #[arg(long = "lease-retry", env = "CIM_LEASE_RETRY", value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub retry: Duration,
}

/// When objects are looked at again.
#[derive(Clone, Debug, Group)]
#[command(next_help_heading = "Schedule")]
pub struct ScheduleArgs {
    /// Shortest interval at which an object's outside is observed again; a shorter spec.interval
    /// is raised to it.
    #[arg(long, env = "CIM_MIN_INTERVAL", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub min_interval: Duration,

    /// First delay after a failure; it doubles with each further failure of the same object.
    #[arg(long, env = "CIM_BACKOFF_BASE", value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub backoff_base: Duration,

    /// Longest delay after failures.
    #[arg(long, env = "CIM_BACKOFF_MAX", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub backoff_max: Duration,

    /// Changes of one object within this time are handled together.
    #[arg(long, env = "CIM_DEBOUNCE", value_name = "DURATION", default_value = "200ms", value_parser = duration)]
    pub debounce: Duration,

    /// Domains reconciled at once, per watched namespace.
    #[arg(long, env = "CIM_DOMAIN_CONCURRENCY", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub domain_concurrency: u16,

    /// Clusters reconciled at once, per watched namespace.
    #[arg(long, env = "CIM_CLUSTER_CONCURRENCY", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub cluster_concurrency: u16,

    /// Machines reconciled at once, per watched namespace.
    #[arg(long, env = "CIM_MACHINE_CONCURRENCY", value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub machine_concurrency: u16,

    /// Services reconciled at once, per watched namespace.
    #[arg(long, env = "CIM_SERVICE_CONCURRENCY", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub service_concurrency: u16,

    /// ObjectReplicas reconciled at once, per watched namespace.
    #[arg(long, env = "CIM_OBJECT_REPLICA_CONCURRENCY", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub object_replica_concurrency: u16,
}

/// What is done outside Kubernetes, and how long it may take.
#[derive(Clone, Debug, Group)]
#[command(next_help_heading = "Outside")]
pub struct OutsideArgs {
    /// Directory for what may be lost: caches, control sockets, known hosts. Created when absent.
    #[arg(
        long,
        env = "CIM_STATE_DIR",
        value_name = "DIR",
        default_value = "/var/lib/cim-controller"
    )]
    pub state_dir: PathBuf,

    /// Where nix, git and ssh are looked for, as a PATH.
    #[arg(
        long,
        env = "CIM_TOOL_PATH",
        value_name = "PATH",
        default_value = "/run/current-system/sw/bin:/usr/local/bin:/usr/bin:/bin"
    )]
    pub tool_path: String,

    /// File that lists remote builders, as JSON (docs/guide/builders.md). Without it everything is built
    /// here.
    #[arg(long, env = "CIM_BUILDERS", value_name = "FILE")]
    pub builders: Option<PathBuf>,

    /// Deadline of one short exchange with a server outside (DNS, NATS, SSH command).
    #[arg(long, env = "CIM_EXTERNAL_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub external_timeout: Duration,

    /// Deadline of one reconcile of a Domain, Service or Cluster without evaluation.
    #[arg(long, env = "CIM_RECONCILE_TIMEOUT", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub reconcile_timeout: Duration,

    /// Deadline of one reconcile that evaluates, builds or copies (Cluster, Machine, ObjectReplica).
    #[arg(long, env = "CIM_DELIVERY_TIMEOUT", value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub delivery_timeout: Duration,
}

/// Health, readiness and metrics.
#[derive(Clone, Debug, Group)]
#[command(next_help_heading = "Operations")]
pub struct OpsArgs {
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "CIM_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// Publish series that name single objects (cim_condition, cim_drift_items, …).
    #[arg(long, env = "CIM_OBJECT_METRICS", value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub object_metrics: bool,

    /// How long visits under way may take to finish after SIGTERM, before they are cut and the
    /// lease is released. What is cut is taken up again where it stands.
    #[arg(long, env = "CIM_SHUTDOWN_GRACE", value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub shutdown_grace: Duration,
}

/// Logs.
#[derive(Clone, Debug, Group)]
#[command(next_help_heading = "Logs")]
pub struct TelemetryArgs {
    /// Form of a log line.
    #[arg(long, env = "CIM_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// What is logged: a level, or `target=level` pairs separated by commas.
    #[arg(long, env = "CIM_LOG", value_name = "FILTER", default_value = "info,async_nats=warn")]
    pub log: String,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for collectors.
    Json,
    /// For people; coloured on a terminal.
    Text,
}

/// Reads `90s`, `5m`, `1h 30m`: the notation of the resources' own durations.
fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| format!("`{text}` is no duration; write e.g. 30s, 5m or 1h30m"))?;
    let duration = Duration::try_from(span)
        .map_err(|_| format!("`{text}` is negative; a time to wait is not"))?;
    if duration.is_zero() {
        return Err(format!("`{text}` is no time at all; write e.g. 30s, 5m or 1h30m"));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_variable() {
        let command = Args::command();
        for arg in command.get_arguments().filter(|arg| arg.get_id() != "help") {
            if arg.get_id() == "version" {
                continue;
            }
            let env = arg.get_env().unwrap_or_else(|| panic!("--{} has none", arg.get_id()));
            let env = env.to_string_lossy();
            assert!(env.starts_with("CIM_") || env == "KUBECONFIG", "{env}");
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        for bad in ["", "5", "-5m", "soon", "0s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
