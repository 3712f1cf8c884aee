//! The NATS operator of a Domain, its servers and accounts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{map, nats_name, nats_url, non_empty, rule, set, subject, text};
use crate::v1alpha1::common::SecretRef;

/// The NATS operator, its servers and accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(
    "!has(self.accounts) || self.accounts.all(a, a.name != self.systemAccount)",
    "accounts must not name the system account: the controller keeps that one itself",
))]
pub struct DomainNats {
    /// The servers of one NATS cluster in operator mode. Example: `nats://10.0.0.4:4222`.
    #[schemars(
        transform = nats_url,
        transform = set(16),
        transform = non_empty,
    )]
    pub servers: Vec<String>,

    /// The Secret with what the controller needs of the NATS operator that the servers trust:
    /// `operator.jwt`, `operator.signing.seed` (signs accounts), `sys.account.jwt` and `sys.creds` (a
    /// user of the system account). `operator.seed`, `sys.seed` and `sys.signing.seed` may be kept
    /// elsewhere.
    pub operator_secret_ref: SecretRef,

    /// Make the NATS operator and its system account, and write them to the Secret, when the Secret
    /// does not exist. Default: false.
    #[serde(default)]
    pub generate: bool,

    /// The account through which the servers are administered. Default: SYS.
    #[serde(default = "default_system_account")]
    #[schemars(transform = nats_name)]
    pub system_account: String,

    /// The accounts, each by its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 128))]
    pub accounts: Vec<Account>,
}

fn default_system_account() -> String {
    "SYS".to_owned()
}

/// One NATS account: a space of subjects that others enter by import only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(
    "!has(self.imports) || self.imports.all(i, i.account != self.name)",
    "an import must come from another account",
))]
pub struct Account {
    /// Unique in the Domain: letters, digits, `_` and `-`. Example: `comms`.
    #[schemars(transform = nats_name)]
    pub name: String,

    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub description: Option<String>,

    /// Bounds on its use. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<AccountLimits>,

    /// JetStream for this account; `{}` gives it without bounds. Default: no JetStream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jetstream: Option<JetStreamLimits>,

    /// The subjects that other accounts may import.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 32))]
    pub exports: Vec<Export>,

    /// The subjects taken from other accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 32))]
    pub imports: Vec<Import>,

    /// What its users may do where nothing else is said. Default: everything within the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_permissions: Option<Permissions>,
}

/// Bounds on an account; what is left out is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountLimits {
    /// Client connections at a time, over all servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Leaf node connections at a time, over all servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_nodes: Option<u32>,
    /// Subscriptions at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<u32>,
    /// Size of one message, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_bytes: Option<u64>,
    /// Data in flight, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_bytes: Option<u64>,
    /// Number of imports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imports: Option<u32>,
    /// Number of exports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exports: Option<u32>,
    /// Whether exports may contain wildcards. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wildcards: Option<bool>,
}

/// Bounds on an account's use of JetStream; what is left out is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JetStreamLimits {
    /// Memory for streams, in bytes; 0 forbids memory storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Disk for streams, in bytes; 0 forbids file storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Number of streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<u32>,
    /// Number of consumers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<u32>,
    /// Unacknowledged messages of one consumer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ack_pending: Option<u32>,
}

/// What an export or import carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ShareType {
    /// Messages that flow one way.
    Stream,
    /// Requests and their responses.
    Service,
}

/// How many messages answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ResponseType {
    /// One.
    Singleton,
    /// Any number.
    Stream,
    /// One, in pieces.
    Chunked,
}

/// Subjects that other accounts may import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(
    "!has(self.responseType) || self.type == 'Service'",
    "responseType is for exports of type Service only",
))]
#[schemars(transform = rule(
    "!has(self.accountTokenPosition) || (self.accountTokenPosition <= self.subject.split('.').size() && self.subject.split('.')[self.accountTokenPosition - 1] == '*')",
    "accountTokenPosition must point at a * token of subject, counted from 1",
))]
pub struct Export {
    /// Unique in the account, for people. Example: `events`.
    #[schemars(transform = nats_name)]
    pub name: String,
    /// The subject, wildcards allowed. Example: `evt.>`.
    #[schemars(transform = subject)]
    pub subject: String,
    /// Stream or Service.
    #[serde(rename = "type")]
    pub type_: ShareType,
    /// Whether an importer needs an activation token. Default: false.
    #[serde(default)]
    pub token_required: bool,
    /// Which token of the subject, counted from 1, must be the importer's public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub account_token_position: Option<u32>,
    /// How many messages answer a request; for type Service. Default: Singleton.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_type: Option<ResponseType>,
}

/// Subjects taken from another account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(
    "!self.share || self.type == 'Service'",
    "share is for imports of type Service only",
))]
pub struct Import {
    /// Unique in the account, for people. Example: `events-of-comms`.
    #[schemars(transform = nats_name)]
    pub name: String,
    /// The subject as the other account exports it.
    #[schemars(transform = subject)]
    pub subject: String,
    /// The other account: a name in this Domain, or a public key (`A…`).
    #[schemars(transform = nats_name)]
    pub account: String,
    /// The subject by which it is known here. Default: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = subject)]
    pub local_subject: Option<String>,
    /// Stream or Service.
    #[serde(rename = "type")]
    pub type_: ShareType,
    /// Let the exporter see latency and who asks; for type Service. Default: false.
    #[serde(default)]
    pub share: bool,
}

/// What a user may publish and subscribe to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Permissions {
    /// Subjects for publishing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<SubjectRules>,
    /// Subjects for subscribing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<SubjectRules>,
}

/// Allowed and denied subjects; a denied one wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubjectRules {
    /// Allowed subjects; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = subject, transform = set(32))]
    pub allow: Vec<String>,
    /// Denied subjects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = subject, transform = set(32))]
    pub deny: Vec<String>,
}

/// The NATS operator and its accounts as the servers have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainNatsStatus {
    /// The NATS operator's public key (`O…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub operator: Option<String>,
    /// How many servers answered.
    #[serde(default)]
    pub servers: u32,
    /// Each account as the servers have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 128))]
    pub accounts: Vec<AccountStatus>,
}

/// One account as the servers have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountStatus {
    /// Its name.
    #[schemars(transform = text(64))]
    pub name: String,
    /// Its public key (`A…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub public_key: Option<String>,
    /// The id of its JWT as looked up on the servers; changes with every change of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(64))]
    pub jti: Option<String>,
    /// How many servers have this JWT.
    #[serde(default)]
    pub servers: u32,
}
