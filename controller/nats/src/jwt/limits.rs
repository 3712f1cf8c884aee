//! Limits of an account. In a NATS JWT an absent limit is 0, which forbids; unlimited is -1, and
//! has to be written. So these types have no serde defaults that would hide which one is meant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Unlimited.
pub const NO_LIMIT: i64 = -1;

/// What an account may use. `-1` is unlimited, `0` forbids, unless a field says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountLimits {
    /// Subscriptions per connection.
    #[serde(default)]
    pub subs: i64,
    /// Bytes; not enforced by nats-server.
    #[serde(default)]
    pub data: i64,
    /// Bytes of one message; the server's `max_payload` holds as well.
    #[serde(default)]
    pub payload: i64,
    /// Imports.
    #[serde(default)]
    pub imports: i64,
    /// Exports.
    #[serde(default)]
    pub exports: i64,
    /// Whether exports may have wildcards.
    #[serde(default)]
    pub wildcards: bool,
    /// Whether bearer tokens (a JWT without proof of the seed) are refused.
    #[serde(default)]
    pub disallow_bearer: bool,
    /// Client connections at a time.
    #[serde(default)]
    pub conn: i64,
    /// Leaf node connections at a time.
    #[serde(default)]
    pub leaf: i64,
    /// JetStream for streams of any number of replicas; must be all zero if there are tiers.
    #[serde(flatten)]
    pub jetstream: JetStreamLimits,
    /// JetStream by number of replicas: `R1`, `R3`, `R5`.
    #[serde(default, rename = "tiered_limits", skip_serializing_if = "BTreeMap::is_empty")]
    pub tiers: BTreeMap<String, JetStreamLimits>,
}

/// JetStream limits of an account. All zero: no JetStream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JetStreamLimits {
    /// Bytes in memory over all streams; 0 disables memory storage.
    #[serde(default, rename = "mem_storage")]
    pub memory: i64,
    /// Bytes on disk over all streams; 0 disables file storage.
    #[serde(default, rename = "disk_storage")]
    pub disk: i64,
    /// Streams.
    #[serde(default)]
    pub streams: i64,
    /// Consumers.
    #[serde(default, rename = "consumer")]
    pub consumers: i64,
    /// Unacknowledged messages of one consumer; 0 is unlimited.
    #[serde(default)]
    pub max_ack_pending: i64,
    /// Bytes of one memory stream; 0 is unlimited.
    #[serde(default, rename = "mem_max_stream_bytes")]
    pub max_memory_stream: i64,
    /// Bytes of one file stream; 0 is unlimited.
    #[serde(default, rename = "disk_max_stream_bytes")]
    pub max_disk_stream: i64,
    /// Whether every stream must state its `max_bytes`.
    #[serde(default)]
    pub max_bytes_required: bool,
}

impl AccountLimits {
    /// Unlimited core NATS, no JetStream: what `nsc` and the Go library give a new account.
    pub fn unlimited() -> Self {
        Self {
            subs: NO_LIMIT,
            data: NO_LIMIT,
            payload: NO_LIMIT,
            imports: NO_LIMIT,
            exports: NO_LIMIT,
            wildcards: true,
            disallow_bearer: false,
            conn: NO_LIMIT,
            leaf: NO_LIMIT,
            jetstream: JetStreamLimits::default(),
            tiers: BTreeMap::new(),
        }
    }

    /// All zero: nobody may connect. Used by tombstones.
    pub fn none() -> Self {
        Self {
            subs: 0,
            data: 0,
            payload: 0,
            imports: 0,
            exports: 0,
            wildcards: false,
            disallow_bearer: false,
            conn: 0,
            leaf: 0,
            jetstream: JetStreamLimits::default(),
            tiers: BTreeMap::new(),
        }
    }
}

impl JetStreamLimits {
    /// JetStream without any limit.
    pub fn unlimited() -> Self {
        Self {
            memory: NO_LIMIT,
            disk: NO_LIMIT,
            streams: NO_LIMIT,
            consumers: NO_LIMIT,
            ..Self::default()
        }
    }
}
