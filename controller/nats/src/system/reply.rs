//! What servers answer.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::error::Result;
use crate::jwt::{AccountBody, Token};
use crate::keys::OperatorKey;

/// A server that answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Its identity; new at every start.
    pub id: String,
    /// `server_name` of its configuration; equal to `id` if there is none.
    pub name: String,
    /// Version of nats-server.
    pub version: String,
    /// Longest message in bytes, and so the longest account JWT.
    pub max_payload: usize,
    /// Whether it has JetStream.
    pub jetstream: bool,
    /// Keys by which an account must be signed for this server to accept its users: those of the
    /// operators it was **started** with.
    pub trusts: BTreeSet<OperatorKey>,
    /// Members of its cluster that it reports as offline, by name.
    pub offline: BTreeSet<String>,
}

/// One server's answer to the question for an account's JWT. It does not say whose answer it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// The server has none.
    Absent,
    /// What it has is no account JWT; `why`.
    Invalid(String),
    /// It has this one.
    Found(Box<Token<AccountBody>>),
}

impl Lookup {
    /// The token, if there is one.
    pub fn token(&self) -> Option<&Token<AccountBody>> {
        match self {
            Self::Found(token) => Some(token),
            Self::Absent | Self::Invalid(_) => None,
        }
    }

    pub(super) fn of(reply: &[u8]) -> Self {
        if reply.is_empty() {
            return Self::Absent;
        }
        let decoded: Result<Token<AccountBody>> = Token::decode(&String::from_utf8_lossy(reply));
        decoded.map_or_else(
            |error| Self::Invalid(error.to_string()),
            |token| Self::Found(Box::new(token)),
        )
    }
}

/// One server's answer to a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The server's name.
    pub server: String,
    /// `Err`: the server's reason to refuse.
    pub outcome: Result<(), String>,
}

#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) server: ServerInfo,
    pub(super) data: Option<T>,
    pub(super) error: Option<ApiError>,
}

#[derive(Deserialize)]
pub(super) struct ServerInfo {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) ver: String,
}

#[derive(Deserialize)]
pub(super) struct ApiError {
    pub(super) description: String,
}

#[derive(Deserialize)]
pub(super) struct Varz {
    max_payload: usize,
    #[serde(default)]
    jetstream: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    trusted_operators_claim: Vec<serde_json::Value>,
}

/// The outcome of a change: only code 200 without an error is one.
#[derive(Deserialize)]
pub(super) struct Changed {
    pub(super) code: u16,
    pub(super) message: String,
}

impl Server {
    pub(super) fn of(reply: Envelope<Varz>) -> Option<Self> {
        let Envelope { server: ServerInfo { id, name, ver: version }, data: Some(varz), .. } =
            reply
        else {
            return None;
        };
        let trusts = varz.trusted_operators_claim.iter().flat_map(trusted_keys).collect();
        let offline = varz
            .jetstream
            .get("meta")
            .and_then(|meta| meta["replicas"].as_array())
            .into_iter()
            .flatten()
            .filter(|peer| peer["offline"] == true)
            .filter_map(|peer| peer["name"].as_str().map(str::to_owned))
            .collect();
        let jetstream = varz.jetstream.contains_key("config");
        Some(Self { id, name, version, max_payload: varz.max_payload, jetstream, trusts, offline })
    }
}

/// The keys that may sign accounts under an operator's claims: under a strict operator its identity
/// may not.
fn trusted_keys(operator: &serde_json::Value) -> Vec<OperatorKey> {
    let body = &operator["nats"];
    let identity =
        (body["strict_signing_key_usage"] != true).then(|| operator["sub"].as_str()).flatten();
    body["signing_keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .chain(identity)
        .filter_map(|key| key.parse().ok())
        .collect()
}
