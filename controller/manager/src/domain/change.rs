//! One thing that is done for a Domain.

use std::fmt;

use serde::Serialize;

/// One thing that is done for a Domain.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Records of one name in a zone.
    Zone {
        /// The zone's apex.
        zone: String,
        /// What is done.
        change: cim_dns::Change,
    },
    /// The NATS operator is made.
    MakeOperator {
        /// The Secret that it goes to.
        secret: String,
        /// What the operator is called.
        name: String,
    },
    /// Keys of an account are made or dropped.
    MakeKeys {
        /// The account.
        account: String,
        /// The Secret that they go to.
        secret: String,
        /// The roles that have keys then.
        roles: Vec<String>,
        /// Whether the account itself is new.
        new: bool,
    },
    /// An account on the servers.
    Account(cim_nats::sync::Change),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zone { zone, change } => write!(f, "zone {zone}: {change}"),
            Self::MakeOperator { secret, name } => {
                write!(f, "make the NATS operator {name} in Secret {secret}")
            }
            Self::MakeKeys { account, secret, roles, new } => {
                let what = if *new { "make the keys" } else { "change the keys" };
                let roles = if roles.is_empty() { "no roles".to_owned() } else { roles.join(", ") };
                write!(f, "{what} of account {account} in Secret {secret}, for {roles}")
            }
            Self::Account(change) => change.fmt(f),
        }
    }
}
