//! Claims of an operator.

use serde::{Deserialize, Serialize};

use super::claims::Body;
use crate::keys::{AccountKey, Operator, OperatorKey};

/// The trust root. Servers read it once, at their start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorBody {
    /// Keys that may sign in the operator's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signing_keys: Vec<OperatorKey>,
    /// Where tools find account JWTs over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_server_url: Option<String>,
    /// Where tools may connect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operator_service_urls: Vec<String>,
    /// The system account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_account: Option<AccountKey>,
    /// Oldest nats-server that may start with it, `2.10.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assert_server_version: Option<String>,
    /// Whether identity keys may not sign: neither the operator's accounts nor accounts' users.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict_signing_key_usage: bool,
    /// Labels, lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Body for OperatorBody {
    const TYPE: &'static str = "operator";
    type Subject = Operator;
    const ISSUERS: &'static [char] = &['O'];
}
