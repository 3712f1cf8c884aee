//! The claim by which an operator has account JWTs deleted from the servers' resolvers.

use serde::{Deserialize, Serialize};

use super::claims::Body;
use crate::keys::{AccountKey, Operator};

/// Accounts to delete. Subject and issuer are the same key of the operator: a signing key under
/// `strict_signing_key_usage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteBody {
    /// The accounts.
    pub accounts: Vec<AccountKey>,
}

impl Body for DeleteBody {
    const TYPE: &'static str = "generic";
    type Subject = Operator;
    const ISSUERS: &'static [char] = &['O'];
}
