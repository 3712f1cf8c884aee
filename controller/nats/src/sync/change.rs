//! One thing that is done to the servers.

use std::fmt::{self, Display};

use serde::Serialize;

use crate::jwt::{AccountBody, Claims};
use crate::keys::AccountKey;
use crate::time::UnixTime;

/// One thing that is done to all servers. The time of issue is no part of its identity: the same
/// change planned a minute later is the same change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum Change {
    /// Store the account's JWT.
    PushAccount {
        /// What is wrong at present.
        why: Why,
        /// The claims, to be signed.
        claims: Box<Claims<AccountBody>>,
        /// Issued at: later than every copy that was seen.
        #[serde(skip)]
        iat: UnixTime,
    },
    /// Replace the JWT of an account that is to go by one that admits nobody. A server that was down
    /// would bring a deleted account back; it cannot bring back what a later JWT has replaced.
    Tombstone {
        /// The account.
        account: AccountKey,
        /// Its name.
        name: String,
        /// Issued at: later than every copy that was seen.
        #[serde(skip)]
        iat: UnixTime,
    },
    /// Remove the account's streams with their data. Deleting an account leaves them.
    PurgeJetStream {
        /// The account.
        account: AccountKey,
        /// Its name.
        name: String,
    },
    /// Remove the account's JWT.
    DeleteAccount {
        /// The account.
        account: AccountKey,
        /// Its name.
        name: String,
    },
}

/// Why an account is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// Some server does not have it.
    Missing,
    /// Some server has another.
    Changed,
}

impl Change {
    /// The account's identity.
    pub fn account(&self) -> &AccountKey {
        match self {
            Self::PushAccount { claims, .. } => &claims.sub,
            Self::Tombstone { account, .. }
            | Self::PurgeJetStream { account, .. }
            | Self::DeleteAccount { account, .. } => account,
        }
    }

    /// The account's name.
    pub fn name(&self) -> &str {
        match self {
            Self::PushAccount { claims, .. } => &claims.name,
            Self::Tombstone { name, .. }
            | Self::PurgeJetStream { name, .. }
            | Self::DeleteAccount { name, .. } => name,
        }
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, key) = (self.name(), self.account().short());
        match self {
            Self::PushAccount { why: Why::Missing, .. } => {
                write!(f, "push account {name} ({key}…), missing on a server")
            }
            Self::PushAccount { why: Why::Changed, .. } => {
                write!(f, "push account {name} ({key}…), changed on a server")
            }
            Self::Tombstone { .. } => write!(f, "close account {name} ({key}…)"),
            Self::PurgeJetStream { .. } => write!(f, "purge streams of account {name} ({key}…)"),
            Self::DeleteAccount { .. } => write!(f, "delete account {name} ({key}…)"),
        }
    }
}
