//! The part of a service in NATS.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{map, nats_name, non_empty, positive, set, subject, text};
use crate::v1alpha1::duration::Duration;

/// The part of a service in NATS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceNats {
    /// The account of the Domain in which its users are. Example: `comms`.
    #[schemars(transform = nats_name)]
    pub account: String,

    /// Subjects to which each role may publish. Example: `evt.vault.>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = subject, transform = set(64))]
    pub publish: Vec<String>,

    /// Subjects to which each role may subscribe. Example: `cmd.vault.>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = subject, transform = set(64))]
    pub subscribe: Vec<String>,

    /// Streams that it needs, each by its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 32))]
    pub streams: Vec<Stream>,

    /// Key-value buckets that it needs, each by its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 32))]
    pub key_value: Vec<KeyValueBucket>,

    /// Object buckets that it needs, each by its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 32))]
    pub object_stores: Vec<ObjectBucket>,
}

/// What a role may do in NATS beside what its service may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleNats {
    /// Further subjects to which this role may publish.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = subject, transform = set(64))]
    pub publish: Vec<String>,

    /// Further subjects to which this role may subscribe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = subject, transform = set(64))]
    pub subscribe: Vec<String>,
}

/// Where messages are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In memory; lost with the server.
    Memory,
}

/// When a message may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Retention {
    /// When a bound is reached.
    #[default]
    Limits,
    /// When every consumer has acknowledged it.
    Interest,
    /// When one consumer has acknowledged it.
    WorkQueue,
}

/// What gives way in a full stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Discard {
    /// The oldest message.
    #[default]
    Old,
    /// The new message: it is refused.
    New,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    /// Unique in the account. Example: `EVENTS`.
    #[schemars(transform = nats_name)]
    pub name: String,
    /// The subjects that it keeps. Example: `evt.vault.>`.
    #[schemars(transform = subject, transform = set(64), transform = non_empty)]
    pub subjects: Vec<String>,
    /// When a message may go. Default: Limits.
    #[serde(default)]
    pub retention: Retention,
    /// What gives way when it is full. Default: Old.
    #[serde(default)]
    pub discard: Discard,
    /// Default: File.
    #[serde(default)]
    pub storage: Storage,
    /// On how many servers it is kept, 1 to 5. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 5))]
    pub replicas: u32,
    /// Messages older than this go. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = positive)]
    pub max_age: Option<Duration>,
    /// Its size, in bytes. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_bytes: Option<u64>,
    /// Its number of messages. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_messages: Option<u64>,
}

fn one() -> u32 {
    1
}

/// A key-value bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyValueBucket {
    /// Unique in the account. Example: `sessions`.
    #[schemars(transform = nats_name)]
    pub name: String,
    /// How many values of a key are kept, 1 to 64. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub history: u32,
    /// Values older than this go. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = positive)]
    pub ttl: Option<Duration>,
    /// Default: File.
    #[serde(default)]
    pub storage: Storage,
    /// On how many servers it is kept, 1 to 5. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 5))]
    pub replicas: u32,
    /// Its size, in bytes. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_bytes: Option<u64>,
}

/// An object bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectBucket {
    /// Unique in the account. Example: `uploads`.
    #[schemars(transform = nats_name)]
    pub name: String,
    /// Objects older than this go. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = positive)]
    pub ttl: Option<Duration>,
    /// Default: File.
    #[serde(default)]
    pub storage: Storage,
    /// On how many servers it is kept, 1 to 5. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 5))]
    pub replicas: u32,
    /// Its size, in bytes. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_bytes: Option<u64>,
}

/// The part of a service in NATS as the servers have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceNatsStatus {
    /// The account.
    #[schemars(transform = text(64))]
    pub account: String,
    /// Its public key (`A…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub account_public_key: Option<String>,
}
