//! One long-lived connection.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{ConnectOptions, Event};
use tokio::sync::mpsc;

use crate::creds::Creds;
use crate::error::{Error, Result};

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For the connection, all servers tried.
    pub connect: Duration,
    /// For the replies to one request.
    pub request: Duration,
    /// For a reply of the JetStream API. A cluster itself waits 4 s for its members before it answers
    /// for those it has.
    pub jetstream: Duration,
    /// Where the number of replies is not known: silence after which there are no more.
    pub quiet: Duration,
}

impl Default for Deadlines {
    /// For servers within one region: 5 s, 3 s, 8 s, 250 ms.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(3),
            jetstream: Duration::from_secs(8),
            quiet: Duration::from_millis(250),
        }
    }
}

/// A connection as a user of the system account. Cheap to clone; reconnects by itself.
#[derive(Clone, Debug)]
pub struct SystemClient {
    pub(super) client: async_nats::Client,
    pub(super) deadlines: Deadlines,
    servers: String,
}

impl SystemClient {
    /// Connects to any of `servers` (`nats://host:port`, `tls://host:port`) with `creds` of the
    /// system account. `name` is how the connection is called in the servers' lists.
    pub async fn connect(
        servers: &[String],
        creds: &Creds,
        name: &str,
        deadlines: Deadlines,
    ) -> Result<Self> {
        let listed = servers.join(", ");
        let client = connect(servers, creds, name, deadlines).await?;
        Ok(Self { client, deadlines, servers: listed })
    }

    /// Whether there is a connection at this moment.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// The error for a request that nobody answered.
    pub(super) fn unreachable(&self, why: impl Into<String>) -> Error {
        Error::Unreachable { servers: self.servers.clone(), why: why.into() }
    }
}

/// Connects as any user. Reconnection backs off to 8 s: a server that refuses a user which it used to
/// accept would otherwise be asked fifty times a second.
pub(crate) async fn connect(
    servers: &[String],
    creds: &Creds,
    name: &str,
    deadlines: Deadlines,
) -> Result<async_nats::Client> {
    // Nobody listens: what the servers say is logged.
    let (heard, _) = mpsc::channel(1);
    connect_heard(servers, creds, name, deadlines, heard).await
}

/// The same; what the servers say went wrong goes to `heard`, as much as fits.
pub(crate) async fn connect_heard(
    servers: &[String],
    creds: &Creds,
    name: &str,
    deadlines: Deadlines,
    heard: mpsc::Sender<String>,
) -> Result<async_nats::Client> {
    let listed = servers.join(", ");
    let unreachable = |why: String| Error::Unreachable { servers: listed.clone(), why };
    let addresses = servers
        .iter()
        .map(|server| server.parse::<async_nats::ServerAddr>())
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|error| unreachable(format!("not a server address: {error}")))?;
    let connecting = ConnectOptions::with_credentials(&creds.reveal())
        .map_err(|error| unreachable(error.to_string()))?
        .name(name)
        // Of all inbox prefixes the one that every role of ours may use.
        .custom_inbox_prefix(format!("_INBOX.{}", creds.user().claims().sub))
        .connection_timeout(deadlines.connect)
        .request_timeout(Some(deadlines.jetstream))
        .reconnect_delay_callback(|attempts| {
            let doublings = u32::try_from(attempts.min(6)).unwrap_or(6);
            Duration::from_millis(125 * 2_u64.pow(doublings))
        })
        .event_callback(move |event| {
            let heard = heard.clone();
            async move {
                tracing::debug!(%event, "nats connection");
                if let Event::ServerError(error) = event {
                    drop(heard.try_send(error.to_string()));
                }
            }
        })
        .connect(addresses);
    match tokio::time::timeout(deadlines.connect, connecting).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable(format!("no connection within {:?}", deadlines.connect))),
    }
}
