//! The JetStream API of one account.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::config::OWNER;
use crate::creds::Creds;
use crate::error::{Error, Result};
use crate::system::{Deadlines, connect};

/// Pages of the list of streams, at most: 256 streams each.
const MAX_PAGES: usize = 400;

/// A connection as a user of the account, with leave to use `$JS.API.>`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccountClient {
    client: async_nats::Client,
    deadlines: Deadlines,
}

/// The streams of the account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Those whose servers answered, by name.
    pub streams: BTreeMap<String, FoundStream>,
    /// Those that exist, but none of whose servers answered.
    pub silent: BTreeSet<String>,
}

/// A stream as the server has it.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundStream {
    /// Its configuration.
    pub config: Map<String, Value>,
    /// Messages that it has now.
    pub messages: u64,
}

impl FoundStream {
    /// Who made it, if it says so.
    pub fn owner(&self) -> Option<&str> {
        self.config.get("metadata")?.get(OWNER)?.as_str()
    }
}

#[derive(Deserialize)]
struct Page {
    total: usize,
    #[serde(default)]
    streams: Option<Vec<Info>>,
    #[serde(default)]
    missing: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Info {
    config: Map<String, Value>,
    state: State,
}

#[derive(Deserialize)]
struct State {
    messages: u64,
}

impl AccountClient {
    /// Connects to any of `servers` as a user of the account.
    pub async fn connect(
        servers: &[String],
        creds: &Creds,
        name: &str,
        deadlines: Deadlines,
    ) -> Result<Self> {
        Ok(Self { client: connect(servers, creds, name, deadlines).await?, deadlines })
    }

    /// The JetStream context of this connection, in `domain` or in that of the servers.
    pub fn context(&self, domain: Option<&str>) -> async_nats::jetstream::Context {
        let client = self.client.clone();
        match domain {
            Some(domain) => async_nats::jetstream::with_domain(client, domain),
            None => async_nats::jetstream::new(client),
        }
    }

    /// All streams of the account.
    pub async fn observe(&self) -> Result<Observed> {
        let subject = "$JS.API.STREAM.LIST";
        let mut found = Observed::default();
        for _ in 0..MAX_PAGES {
            let before = found.streams.len() + found.silent.len();
            let reply = self.request(subject, &json!({ "offset": before })).await?;
            let page: Page =
                serde_json::from_value(reply).map_err(|error| self.error(subject, &error))?;
            for Info { config, state: State { messages } } in page.streams.into_iter().flatten() {
                let name = config.get("name").and_then(Value::as_str).unwrap_or_default();
                found.streams.insert(name.to_owned(), FoundStream { config, messages });
            }
            for name in page.missing.into_iter().flatten() {
                // Of a stream that is offline the server knows what it should be.
                found.streams.remove(&name);
                found.silent.insert(name);
            }
            let count = found.streams.len() + found.silent.len();
            // A page that brings nothing new ends it too: streams may go while we count.
            if count >= page.total || count == before {
                return Ok(found);
            }
        }
        Err(self.error(subject, &format!("more than {} streams", found.streams.len())))
    }

    /// One request of the API; `Err` also for the server's refusal.
    pub(super) async fn request(&self, subject: &str, body: &Value) -> Result<Value> {
        let asking = self.client.request(subject.to_owned(), body.to_string().into());
        let reply = match tokio::time::timeout(self.deadlines.jetstream, asking).await {
            Ok(reply) => reply.map_err(|error| self.error(subject, &error))?,
            Err(_) => return Err(self.error(subject, &"no answer")),
        };
        let reply: Value = serde_json::from_slice(&reply.payload)
            .map_err(|error| self.error(subject, &format!("unexpected reply: {error}")))?;
        match reply["error"]["description"].as_str() {
            Some(refusal) => Err(self.error(subject, &refusal)),
            None => Ok(reply),
        }
    }

    fn error(&self, subject: &str, why: &dyn std::fmt::Display) -> Error {
        let waited: Duration = self.deadlines.jetstream;
        Error::Request { subject: subject.into(), why: why.to_string(), waited }
    }
}
