//! NATS servers in operator mode, one or three in a cluster, with JetStream.

use std::{
    fmt::Write,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use cim_nats::{OperatorBundle, UnixTime};
use tokio::process::Command;

use crate::lab::{
    Inside, Process,
    error::{During, LabError, Result},
    http::http_get,
    network,
};

const READY: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(10);
const CLIENTS: u16 = 4222;
const ROUTES: u16 = 6222;
const MONITOR: u16 = 8222;

/// A new NATS operator with its system account, such as the owner of a domain makes.
pub fn new_operator(name: &str) -> Result<OperatorBundle> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime(i64::try_from(since.as_secs()).unwrap_or_default());
    OperatorBundle::generate(name, now).map_err(|error| LabError::Unexpected {
        what: "the new NATS operator".into(),
        why: error.to_string(),
    })
}

/// Running NATS servers.
#[derive(Debug)]
pub struct Nats {
    servers: Vec<Server>,
    operator: OperatorBundle,
}

/// One of them; `nats-a`, `nats-b`, `nats-c` with the tag `node:a` and so on.
#[derive(Debug)]
pub struct Server {
    name: String,
    address: Ipv4Addr,
    dir: PathBuf,
    process: Process,
}

impl Nats {
    /// Starts one server, or three in a cluster, and waits until JetStream is ready in each.
    pub(crate) async fn start(
        inside: &Inside,
        operator: &OperatorBundle,
        count: usize,
    ) -> Result<Self> {
        if count != 1 && count != network::NATS.len() {
            return Err(LabError::Unexpected {
                what: format!("the wish for {count} NATS servers"),
                why: "the lab starts one or three".into(),
            });
        }
        let mut servers = Vec::new();
        for (node, address) in ["a", "b", "c"].into_iter().zip(network::NATS).take(count) {
            let name = format!("nats-{node}");
            let dir = inside.volatile().join("nats").join(&name);
            fs::create_dir_all(&dir).during("create", &dir)?;
            let config = config(node, address, count, operator, &dir);
            let path = config_path(&dir);
            fs::write(&path, config).during("write", &path)?;
            let program = inside.tools().program("nats-server").to_owned();
            let config = config_path(&dir);
            let process = Process::spawn(&name, &inside.logs(), move || {
                let mut command = Command::new(&program);
                command.arg("--config").arg(&config);
                command
            })?;
            servers.push(Server { name, address, dir, process });
        }
        for server in &servers {
            server.ready().await?;
        }
        Ok(Self { servers, operator: operator.clone() })
    }

    /// The URLs that clients connect to.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Server::url).collect()
    }

    /// The operator that the servers obey.
    pub fn operator(&self) -> &OperatorBundle {
        &self.operator
    }

    /// The servers, in order.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// An error if one of the servers has ended.
    pub fn check(&self) -> Result<()> {
        self.servers.iter().try_for_each(|server| server.process.check())
    }
}

impl Server {
    /// `nats-a`, `nats-b` or `nats-c`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `nats://10.0.0.4:4222` and so on.
    pub fn url(&self) -> String {
        format!("nats://{}:{CLIENTS}", self.address)
    }

    /// Where it serves /healthz, /varz, /jsz, /routez.
    pub fn monitor(&self) -> SocketAddr {
        SocketAddr::from((self.address, MONITOR))
    }

    /// The directory with `resolver/` (account JWTs) and `jetstream/` (streams).
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Stops it with SIGTERM.
    pub async fn stop(&self) -> Result<()> {
        self.process.stop(GRACE).await.map(drop)
    }

    /// Stops it with SIGKILL.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await.map(drop)
    }

    /// Starts it again on its old data, and waits until it is ready.
    pub async fn restart(&self) -> Result<()> {
        self.process.restart().await?;
        self.ready().await
    }

    async fn ready(&self) -> Result<()> {
        let healthy = async || match http_get(self.monitor(), "/healthz").await {
            Ok((200, _)) => Ok(()),
            Ok((status, body)) => Err(format!("{status} {body}")),
            Err(error) => Err(error.to_string()),
        };
        self.process.ready(READY, healthy).await
    }
}

fn config_path(dir: &Path) -> PathBuf {
    dir.join("server.conf")
}

/// The limits of JetStream are explicit, since by default they follow the size of the machine.
fn config(
    node: &str,
    address: Ipv4Addr,
    count: usize,
    operator: &OperatorBundle,
    dir: &Path,
) -> String {
    let dir = dir.display();
    let trust = operator.resolver_conf(&format!("{dir}/resolver"));
    let mut text = format!(
        "server_name: nats-{node}\n\
         server_tags: [\"node:{node}\"]\n\
         listen: \"{address}:{CLIENTS}\"\n\
         http: \"{address}:{MONITOR}\"\n\
         {trust}\
         jetstream: {{ store_dir: \"{dir}/jetstream\", max_mem: 256MB, max_file: 2GB }}\n"
    );
    if count > 1 {
        let routes: Vec<_> =
            network::NATS.iter().map(|peer| format!("\"nats://{peer}:{ROUTES}\"")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "cluster: {{ name: lab, listen: \"{address}:{ROUTES}\", routes: [{}] }}",
            routes.join(", ")
        );
    }
    text
}
