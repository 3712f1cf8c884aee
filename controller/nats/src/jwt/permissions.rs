//! What a client may publish and subscribe to.

use serde::{Deserialize, Serialize};

use super::limits::NO_LIMIT;

/// Subjects allowed and denied; deny wins. Both empty: everything is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// Allowed subjects, with wildcards; for subscriptions `subject queue` limits to a queue group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Denied subjects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// Leave to publish to the reply subject of a message that was received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponsePermission {
    /// Replies to one request; -1 is unlimited.
    pub max: i64,
    /// Nanoseconds within which they must come; -1 is unlimited.
    pub ttl: i64,
}

/// Permissions of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Publishing, including requests.
    #[serde(default)]
    pub r#pub: Permission,
    /// Subscribing.
    #[serde(default)]
    pub sub: Permission,
    /// Replies; absent: only where `pub` allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resp: Option<ResponsePermission>,
}

/// Permissions and limits: of a user, or of the scope of a signing key for all users under it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Permissions, in a scope with templates such as `{{name()}}`.
    #[serde(flatten)]
    pub permissions: Permissions,
    /// Subscriptions; -1 is unlimited.
    #[serde(default = "no_limit")]
    pub subs: i64,
    /// Bytes; not enforced by nats-server.
    #[serde(default = "no_limit")]
    pub data: i64,
    /// Bytes of one message; -1 is unlimited.
    #[serde(default = "no_limit")]
    pub payload: i64,
    /// Networks (CIDR) from which it may connect; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub src: Vec<String>,
    /// Whether the JWT alone, without the seed, is enough.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bearer_token: bool,
    /// `STANDARD`, `WEBSOCKET`, `LEAFNODE`, `MQTT`, …; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_connection_types: Vec<String>,
}

/// In a scope, unlike anywhere else, an absent limit is unlimited: so does the Go library read it.
const fn no_limit() -> i64 {
    NO_LIMIT
}

impl Template {
    /// These permissions without limits.
    pub fn unlimited(permissions: Permissions) -> Self {
        Self {
            permissions,
            subs: NO_LIMIT,
            data: NO_LIMIT,
            payload: NO_LIMIT,
            src: Vec::new(),
            bearer_token: false,
            allowed_connection_types: Vec::new(),
        }
    }
}
