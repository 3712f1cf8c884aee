//! One thing that is done for a Service.

use std::fmt;

use serde::Serialize;

/// One thing that is done for a Service.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Credentials of a role are issued.
    Issue {
        /// The role.
        role: String,
        /// The Secret that they go to.
        secret: String,
    },
    /// A stream or bucket.
    Stream(cim_nats::jetstream::Change),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issue { role, secret } => {
                write!(f, "issue credentials of role {role} in Secret {secret}")
            }
            Self::Stream(change) => change.fmt(f),
        }
    }
}
