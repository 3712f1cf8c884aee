//! Who a message is, and which transaction it belongs to.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Error;

/// The id of one message: a UUID of version 7, so that ids sort by the time they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

/// The id of a transaction: that of the message which began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CorrelationId(Uuid);

impl MessageId {
    /// A new id, later than all before it in this process.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The transaction that this message begins.
    pub fn as_root(self) -> CorrelationId {
        CorrelationId(self.0)
    }
}

impl Default for MessageId {
    fn default() -> Self {
        Self::new()
    }
}

impl CorrelationId {
    /// The message that began the transaction.
    pub fn root(self) -> MessageId {
        MessageId(self.0)
    }
}

impl Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map(Self)
    }
}

impl FromStr for CorrelationId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map(Self)
    }
}

/// Any version: other systems' ids are theirs to choose.
fn parse(text: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(text).map_err(|error| Error::setting("a message id", text, &error.to_string()))
}
