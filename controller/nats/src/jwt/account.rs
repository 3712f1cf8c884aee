//! Claims of an account.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::claims::Body;
use super::limits::AccountLimits;
use super::permissions::{Permissions, Template};
use crate::keys::{Account, AccountKey};
use crate::time::UnixTime;

/// An account: what of it the servers need to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountBody {
    /// Subjects of other accounts that appear in this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<Import>,
    /// Subjects that other accounts may import.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<Export>,
    /// Always written: without limits nothing is allowed.
    #[serde(default = "AccountLimits::none")]
    pub limits: AccountLimits,
    /// Keys that may sign users in the account's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signing_keys: Vec<SigningKey>,
    /// By user key, or `*` for all: users issued at or before that time are cut off and refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub revocations: BTreeMap<String, UnixTime>,
    /// Permissions of users that have none of their own.
    #[serde(default)]
    pub default_permissions: Permissions,
    /// Subject mappings within the account.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mappings: BTreeMap<String, Vec<WeightedMapping>>,
    /// What the account is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub info_url: String,
    /// Labels, lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Body for AccountBody {
    const TYPE: &'static str = "account";
    type Subject = Account;
    const ISSUERS: &'static [char] = &['O', 'A'];
}

impl AccountBody {
    /// An account with these limits and nothing else.
    pub fn new(limits: AccountLimits) -> Self {
        Self {
            imports: Vec::new(),
            exports: Vec::new(),
            limits,
            signing_keys: Vec::new(),
            revocations: BTreeMap::new(),
            default_permissions: Permissions::default(),
            mappings: BTreeMap::new(),
            description: String::new(),
            info_url: String::new(),
            tags: Vec::new(),
        }
    }
}

/// Stream (messages flow to the importer) or service (requests flow to the exporter).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportKind {
    /// Published messages.
    Stream,
    /// Requests and replies.
    Service,
}

/// Replies that a service gives to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResponseType {
    /// One.
    Singleton,
    /// Many.
    Stream,
    /// One in pieces.
    Chunked,
}

/// A subject that other accounts may import.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Export {
    /// Name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The subject in this account; may have wildcards.
    pub subject: String,
    /// Stream or service.
    #[serde(rename = "type")]
    pub kind: ExportKind,
    /// Whether an importer needs an activation token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub token_req: bool,
    /// By importer key: activations issued at or before that time are void.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub revocations: BTreeMap<String, UnixTime>,
    /// For services; absent: `Singleton`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_type: Option<ResponseType>,
    /// Nanoseconds between replies after which the service is given up; 0: the server's default.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub response_threshold: i64,
    /// Measurement of the service's latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_latency: Option<Latency>,
    /// Position, from 1, of the `*` which must be the importer's key; 0: none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub account_token_position: u32,
    /// Whether the export is shown to others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub advertise: bool,
    /// Whether message traces of importers may pass.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_trace: bool,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub info_url: String,
}

impl Export {
    /// A public export of `subject`.
    pub fn new(kind: ExportKind, name: impl Into<String>, subject: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            subject: subject.into(),
            kind,
            token_req: false,
            revocations: BTreeMap::new(),
            response_type: None,
            response_threshold: 0,
            service_latency: None,
            account_token_position: 0,
            advertise: false,
            allow_trace: false,
            description: String::new(),
            info_url: String::new(),
        }
    }
}

/// Latency measurement of a service export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Which requests are measured.
    pub sampling: Sampling,
    /// Subject of the results, without wildcards.
    pub results: String,
}

/// Which requests are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Those that ask for it in a header.
    Headers,
    /// That many per cent, 1 to 100.
    Percent(u8),
}

impl Serialize for Sampling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Headers => serializer.serialize_str("headers"),
            Self::Percent(percent) => serializer.serialize_u8(*percent),
        }
    }
}

impl<'de> Deserialize<'de> for Sampling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Word(String),
            Percent(u8),
        }
        match Either::deserialize(deserializer)? {
            Either::Word(word) if word.eq_ignore_ascii_case("headers") => Ok(Self::Headers),
            Either::Word(word) => {
                Err(serde::de::Error::custom(format!("sampling {word:?}, wanted \"headers\"")))
            }
            Either::Percent(0) => Ok(Self::Headers),
            Either::Percent(percent) => Ok(Self::Percent(percent)),
        }
    }
}

/// A subject of another account that appears in this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// Name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The subject in the exporter's account (stream) or in both (service).
    pub subject: String,
    /// The exporter.
    pub account: AccountKey,
    /// Activation token, if the export asks for one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// The subject in this account, if another one; `$1` stands for the first `*`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub local_subject: String,
    /// Stream or service.
    #[serde(rename = "type")]
    pub kind: ExportKind,
    /// Whether the exporter learns who asks (services).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub share: bool,
    /// Whether message traces of the exporter may pass (streams).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_trace: bool,
}

/// A key that may sign users in the account's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SigningKey {
    /// Signs users that carry their own permissions.
    Plain(AccountKey),
    /// Signs users whose permissions are those of the scope, now and after it changes.
    Scoped(Box<UserScope>),
}

impl SigningKey {
    /// The key itself.
    pub fn key(&self) -> &AccountKey {
        match self {
            Self::Plain(key) => key,
            Self::Scoped(scope) => &scope.key,
        }
    }
}

/// Permissions of all users under one signing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserScope {
    /// Always `user_scope`.
    pub kind: ScopeKind,
    /// The signing key.
    pub key: AccountKey,
    /// Name of the role.
    #[serde(default)]
    pub role: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The permissions and limits.
    pub template: Template,
}

/// The one kind of scope there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScopeKind {
    /// Scope of users.
    #[default]
    #[serde(rename = "user_scope")]
    User,
}

/// One destination of a subject mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightedMapping {
    /// Where to.
    pub subject: String,
    /// Per cent; absent or 0: 100.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub weight: u8,
    /// Only in this cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster: String,
}

fn is_zero<N: Copy + Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}
