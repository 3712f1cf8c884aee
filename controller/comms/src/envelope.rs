//! What is said, with who said it, when and because of what.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{CorrelationId, Error, MessageId, Route, Subject, Token};

/// The three kinds of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A request to change state.
    Command,
    /// A request to read.
    Query,
    /// A fact that happened.
    Event,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Command, Self::Query, Self::Event];

    /// The first part of the subject.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Command => "cmd",
            Self::Query => "qry",
            Self::Event => "evt",
        }
    }
}

/// A type of content, known by name and version to whoever reads it.
pub trait Payload: Serialize + DeserializeOwned {
    /// What kind of message carries it.
    const KIND: Kind;
    /// Its name, the last part of the subject: a [`Token`].
    const TYPE: &'static str;
    /// Its version, counted up with each incompatible change.
    const SCHEMA: u32;
}

/// When a message is made, and as what. Taken by the caller, so that the rest is reproducible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its id.
    pub id: MessageId,
    /// Its time.
    pub time: Timestamp,
}

impl Stamp {
    /// A new id, now.
    pub fn now() -> Self {
        Self { id: MessageId::new(), time: Timestamp::now() }
    }
}

/// Whom a message is about and who answers for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Whom it is about.
    pub route: Route,
    /// Who owns what it says: the tenant, or the Domain itself.
    pub owner: Token,
    /// The service that says it.
    pub source: Token,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<P> {
    /// Who the message is and when it was made.
    pub stamp: Stamp,
    /// The transaction that it belongs to.
    pub correlation: CorrelationId,
    /// The message that caused it; itself, if it begins a transaction.
    pub causation: MessageId,
    /// Whom it is about.
    pub about: About,
    /// What is said.
    pub content: P,
}

impl<P> Envelope<P> {
    /// The message that begins a transaction.
    pub fn root(stamp: Stamp, about: About, content: P) -> Self {
        Self { stamp, correlation: stamp.id.as_root(), causation: stamp.id, about, content }
    }

    /// A message that this one causes: same transaction, and this one as its cause.
    pub fn cause<Q>(&self, stamp: Stamp, about: About, content: Q) -> Envelope<Q> {
        let (correlation, causation) = (self.correlation, self.stamp.id);
        Envelope { stamp, correlation, causation, about, content }
    }

    /// Whether it begins its transaction.
    pub fn is_root(&self) -> bool {
        self.causation == self.stamp.id
    }
}

impl<P: Payload> Envelope<P> {
    /// Where it goes.
    ///
    /// # Errors
    /// [`Error::Setting`] if [`Payload::TYPE`] is no token.
    pub fn subject(&self) -> Result<Subject, Error> {
        Ok(Subject { kind: P::KIND, route: self.about.route.clone(), message: P::TYPE.parse()? })
    }
}
