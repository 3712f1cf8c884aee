//! What is wanted of a stream or bucket, and the stream configuration that it means.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::name::StreamName;
use crate::subject::Subject;

/// The key in a stream's metadata that says who made it.
pub(super) const OWNER: &str = "cim.dev/owner";

/// The server's default, and what the buckets of all client libraries have.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);

/// Where messages are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In memory.
    Memory,
}

/// When a message may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discard {
    /// The oldest message.
    #[default]
    Old,
    /// The new message: it is refused.
    New,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its name.
    pub name: StreamName,
    /// The subjects that it keeps.
    pub subjects: Vec<Subject>,
    /// When a message may go.
    pub retention: Retention,
    /// What gives way when it is full.
    pub discard: Discard,
    /// Where it is kept.
    pub storage: Storage,
    /// On how many servers, 1 to 5.
    pub replicas: u32,
    /// Messages older than this go; absent: never.
    pub max_age: Option<Duration>,
    /// Bytes; absent: no bound.
    pub max_bytes: Option<u64>,
    /// Messages; absent: no bound.
    pub max_messages: Option<u64>,
}

/// A key-value bucket (ADR-8): the stream `KV_<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Its name.
    pub name: StreamName,
    /// Values kept of each key, 1 to 64.
    pub history: u32,
    /// Values older than this go; absent: never.
    pub ttl: Option<Duration>,
    /// Where it is kept.
    pub storage: Storage,
    /// On how many servers, 1 to 5.
    pub replicas: u32,
    /// Bytes; absent: no bound.
    pub max_bytes: Option<u64>,
}

/// An object bucket (ADR-20): the stream `OBJ_<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStore {
    /// Its name.
    pub name: StreamName,
    /// Objects older than this go; absent: never.
    pub ttl: Option<Duration>,
    /// Where it is kept.
    pub storage: Storage,
    /// On how many servers, 1 to 5.
    pub replicas: u32,
    /// Bytes; absent: no bound.
    pub max_bytes: Option<u64>,
}

/// Something that is kept as a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A stream.
    Stream(Stream),
    /// A key-value bucket.
    KeyValue(KeyValue),
    /// An object bucket.
    ObjectStore(ObjectStore),
}

impl Resource {
    /// The name of the stream.
    pub fn stream(&self) -> String {
        match self {
            Self::Stream(stream) => stream.name.to_string(),
            Self::KeyValue(bucket) => format!("KV_{}", bucket.name),
            Self::ObjectStore(bucket) => format!("OBJ_{}", bucket.name),
        }
    }

    /// The fields of the stream's configuration that are wanted. Others are the server's, or
    /// somebody else's.
    pub(super) fn config(&self, owner: &str) -> Map<String, Value> {
        let config = match self {
            Self::Stream(stream) => stream.config(),
            Self::KeyValue(bucket) => bucket.config(),
            Self::ObjectStore(bucket) => bucket.config(),
        };
        let Value::Object(mut config) = config else { return Map::new() };
        config.insert("name".into(), self.stream().into());
        config.insert("metadata".into(), json!({ OWNER: owner }));
        config
    }
}

impl Stream {
    fn config(&self) -> Value {
        json!({
            "subjects": self.subjects,
            "retention": match self.retention {
                Retention::Limits => "limits",
                Retention::Interest => "interest",
                Retention::WorkQueue => "workqueue",
            },
            "discard": match self.discard {
                Discard::Old => "old",
                Discard::New => "new",
            },
            "storage": self.storage.as_str(),
            "num_replicas": self.replicas,
            "max_age": nanoseconds(self.max_age),
            "max_bytes": bound(self.max_bytes),
            "max_msgs": bound(self.max_messages),
            // Reads that need no leader.
            "allow_direct": true,
        })
    }
}

impl KeyValue {
    fn config(&self) -> Value {
        let window = self.ttl.map_or(DUPLICATE_WINDOW, |ttl| ttl.min(DUPLICATE_WINDOW));
        json!({
            "subjects": [format!("$KV.{}.>", self.name)],
            "max_msgs_per_subject": self.history,
            "max_age": nanoseconds(self.ttl),
            "max_bytes": bound(self.max_bytes),
            "storage": self.storage.as_str(),
            "num_replicas": self.replicas,
            "discard": "new",
            "duplicate_window": nanoseconds(Some(window)),
            "allow_rollup_hdrs": true,
            "deny_delete": true,
            "allow_direct": true,
        })
    }
}

impl ObjectStore {
    fn config(&self) -> Value {
        json!({
            "subjects": [format!("$O.{}.C.>", self.name), format!("$O.{}.M.>", self.name)],
            "max_age": nanoseconds(self.ttl),
            "max_bytes": bound(self.max_bytes),
            "storage": self.storage.as_str(),
            "num_replicas": self.replicas,
            "discard": "new",
            "allow_rollup_hdrs": true,
            "allow_direct": true,
        })
    }
}

impl Storage {
    const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
        }
    }
}

/// 0 is unlimited.
fn nanoseconds(duration: Option<Duration>) -> i64 {
    duration.map_or(0, |duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

/// -1 is unlimited.
fn bound(bound: Option<u64>) -> i64 {
    bound.map_or(-1, |bound| i64::try_from(bound).unwrap_or(i64::MAX))
}
