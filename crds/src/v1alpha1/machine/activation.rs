//! How a new closure takes effect, and how that is checked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{
    atomic, dns_name, nats_name, non_empty, pattern, positive, rule, subject, text,
};
use crate::v1alpha1::common::SecretRef;
use crate::v1alpha1::duration::Duration;

/// How a new closure takes effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(
    "!has(self.checks) || self.checks.all(c, !has(c.nats) || has(c.nats.account))",
    "a nats check of a Machine needs account: the account of its Domain in which it is asked",
))]
pub struct Activation {
    /// When a reboot that is owed may happen. Default: InWindow.
    #[serde(default)]
    pub reboot: RebootPolicy,

    /// How long the machine waits, after the new closure runs, to be told that it is healthy; then it
    /// goes back by itself. Default: 60s.
    #[serde(default = "default_confirm_timeout")]
    #[schemars(transform = positive)]
    pub confirm_timeout: Duration,

    /// What must hold before the new closure is confirmed, and while it runs for the machine to be
    /// Healthy. Default: a new SSH connection works.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = atomic(32))]
    pub checks: Vec<Check>,

    /// What happens when somebody made the machine run another closure by hand. Default: Revert.
    #[serde(default)]
    pub on_drift: OnDrift,

    /// How often the whole closure is read and compared with its hashes; it costs the machine's disk
    /// as much as reading the closure. Default: 168h.
    #[serde(default = "default_verify_interval")]
    #[schemars(transform = positive)]
    pub verify_interval: Duration,
}

fn default_verify_interval() -> Duration {
    Duration::from_mins(7 * 24 * 60)
}

fn default_confirm_timeout() -> Duration {
    Duration::from_secs(60)
}

impl Default for Activation {
    fn default() -> Self {
        Self {
            reboot: RebootPolicy::default(),
            confirm_timeout: default_confirm_timeout(),
            checks: Vec::new(),
            on_drift: OnDrift::default(),
            verify_interval: default_verify_interval(),
        }
    }
}

/// When a reboot that is owed may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RebootPolicy {
    /// By a person only; the condition RebootRequired says that one is owed.
    Never,
    /// Within the Cluster's windows.
    #[default]
    InWindow,
    /// As soon as it is owed, one machine at a time within maxUnavailable.
    Immediately,
}

/// What happens when somebody made a machine run another closure by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnDrift {
    /// The target is activated again.
    #[default]
    Revert,
    /// It is reported, and left alone until the target changes.
    Report,
}

/// Something that must hold. Exactly one kind is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// A TCP port accepts connections.
    Tcp(TcpCheck),
    /// An HTTP request is answered with the expected status.
    Http(HttpCheck),
    /// A NATS request is answered.
    Nats(NatsCheck),
    /// A command on the machine exits with 0.
    Command(CommandCheck),
}

/// A TCP port accepts connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpCheck {
    /// The port, 1 to 65535.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// How long one attempt may take. Default: 5s.
    #[serde(default = "default_timeout")]
    #[schemars(transform = positive)]
    pub timeout: Duration,
}

/// An HTTP request is answered with the expected status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(
    "!has(self.caSecretRef) || (has(self.scheme) && self.scheme == 'Https')",
    "caSecretRef needs scheme Https",
))]
pub struct HttpCheck {
    /// The path, with a leading slash. Default: `/`.
    #[serde(default = "default_path")]
    #[schemars(transform = pattern(512, r"/[^\s]*", "must be a path that begins with /"))]
    pub path: String,
    /// The port, 1 to 65535.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// Http or Https. Default: Http.
    #[serde(default)]
    pub scheme: Scheme,
    /// The Host header, and with Https the name that the certificate must be for. Default: the
    /// machine's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = dns_name)]
    pub host: Option<String>,
    /// With Https: the Secret with the certificates (PEM, in the key `ca.crt`) of the authorities by
    /// which the server is judged, instead of the controller's own roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretRef>,
    /// The status that is expected, 100 to 599. Default: any of 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 599))]
    pub status: Option<u16>,
    /// How long one attempt may take. Default: 5s.
    #[serde(default = "default_timeout")]
    #[schemars(transform = positive)]
    pub timeout: Duration,
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Scheme {
    /// Plain.
    #[default]
    Http,
    /// With TLS.
    Https,
}

/// A NATS request is answered: somebody replies in time, not with the error of a service
/// (`Nats-Service-Error-Code`), and with the text that is expected, if one is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(
    "!has(self.replyContains) || !has(self.replyEquals)",
    "at most one of replyContains and replyEquals may be set",
))]
pub struct NatsCheck {
    /// The account of the Domain in which it is asked. Of a Machine's check: required. Of a
    /// Service's: the Service's own (`nats.account`), not to be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = nats_name)]
    pub account: Option<String>,
    /// The subject of the request, without wildcards. Example: `qry.web.health`.
    #[schemars(transform = subject)]
    #[schemars(transform = rule(
        "!self.contains('*') && !self.contains('>')",
        "must be one subject: a request has no wildcards",
    ))]
    pub subject: String,
    /// The payload of the request. Default: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub payload: Option<String>,
    /// What the reply must contain. Default: any reply will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub reply_contains: Option<String>,
    /// What the reply must be, white space at both ends aside. Default: any reply will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub reply_equals: Option<String>,
    /// How long one attempt may take, the connection included. Default: 5s.
    #[serde(default = "default_timeout")]
    #[schemars(transform = positive)]
    pub timeout: Duration,
}

/// A command on the machine exits with 0. It runs as the deploy user, over a new SSH connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandCheck {
    /// The program and its arguments; no shell reads them.
    #[schemars(transform = text(512), transform = atomic(32), transform = non_empty)]
    pub argv: Vec<String>,
    /// How long one attempt may take. Default: 5s.
    #[serde(default = "default_timeout")]
    #[schemars(transform = positive)]
    pub timeout: Duration,
}

fn default_timeout() -> Duration {
    Duration::from_secs(5)
}

fn default_path() -> String {
    "/".to_owned()
}
