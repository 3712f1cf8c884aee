//! The DNS zones of a Domain.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{dns_name, map, pattern, set, socket_address, text};
use crate::v1alpha1::common::SecretRef;

/// The zones in which the names of a Domain are published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainDns {
    /// The zones, each by its name: forward ones under the suffix, and reverse ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 64))]
    pub zones: Vec<Zone>,
}

/// One zone and who serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Zone {
    /// The apex of the zone, without trailing dot. Examples: `example.com`, `0.0.10.in-addr.arpa`.
    #[schemars(transform = dns_name)]
    pub name: String,

    /// The server in which the records are kept, and how it is reached.
    pub provider: DnsProvider,

    /// Time to live of the records made here, in seconds, 1 to 604800. Default: 300.
    #[serde(default = "default_ttl")]
    #[schemars(range(min = 1, max = 604_800))]
    pub ttl: u32,

    /// What may be done to the records of this zone. Default: Sync.
    #[serde(default)]
    pub policy: ZonePolicy,

    /// Names that are never looked at, as globs in which `*` stands for any characters; they cause
    /// neither drift nor changes. Example: `_acme-challenge.*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = pattern(253, r"[-a-z0-9_.*]+", "must be a name in lower case in which * stands for any characters, such as _acme-challenge.*"), transform = set(64))]
    pub ignore: Vec<String>,
}

fn default_ttl() -> u32 {
    300
}

/// What may be done to the records of a zone. Records that the controller did not make are reported,
/// and never changed, under each of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ZonePolicy {
    /// Create, change and delete.
    #[default]
    Sync,
    /// Create and change; what is no longer wanted stays.
    UpsertOnly,
    /// Create what is missing; never change or delete.
    CreateOnly,
}

/// How the server of a zone is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DnsProvider {
    /// Signed dynamic updates (RFC 2136, TSIG RFC 8945), read back by zone transfer (RFC 5936).
    Rfc2136(Rfc2136),
}

/// A server that takes dynamic updates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rfc2136 {
    /// Address and port of the primary server. Examples: `10.0.0.53:53`, `[fd00::53]:53`.
    #[schemars(
        transform = socket_address,
    )]
    pub server: String,

    /// The Secret with the TSIG key, in the keys `name` (of the key, as the server knows it),
    /// `algorithm` (such as `hmac-sha256`) and `secret` (base64).
    pub tsig_secret_ref: SecretRef,
}

/// A zone as it was last transferred.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneStatus {
    /// The apex of the zone.
    #[schemars(transform = text(253))]
    pub name: String,

    /// The serial of its SOA record; absent while the zone could not be transferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<i64>,

    /// How many records in it are made by this controller.
    #[serde(default)]
    pub records: u32,

    /// How many records in it are foreign: neither wanted nor made here.
    #[serde(default)]
    pub foreign: u32,

    /// When this serial was first seen. It does not move while the zone does not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change_time: Option<Time>,

    /// Why the zone could not be read or written, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub error: Option<String>,
}
