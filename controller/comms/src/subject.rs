//! Where messages go: `<kind>.<domain>.<aggregate>.<aggregate id>.<type>`.
//!
//! The id of a message is not in its subject: subjects would then grow without bound, and each costs
//! the server memory.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Kind};

/// One part of a subject: 1 to 64 letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);

impl Token {
    /// The part as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if (1..=64).contains(&text.len()) && text.chars().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::setting(
                "a part of a subject",
                text,
                "use 1 to 64 of A-Z, a-z, 0-9, - and _",
            ))
        }
    }
}

impl TryFrom<String> for Token {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0
    }
}

impl Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whom a message is about: one aggregate of one domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The Domain, by its resource name.
    pub domain: Token,
    /// The kind of aggregate, such as `vault`.
    pub aggregate: Token,
    /// Which one.
    pub id: Token,
}

/// The full subject of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject {
    /// Command, query or event.
    pub kind: Kind,
    /// Whom it is about.
    pub route: Route,
    /// The type of the message.
    pub message: Token,
}

impl Subject {
    /// All events of one aggregate, the filter under which they are kept in order:
    /// `evt.<domain>.<aggregate>.<id>.*`.
    pub fn history(route: &Route) -> String {
        format!("{}.{}.{}.{}.*", Kind::Event.prefix(), route.domain, route.aggregate, route.id)
    }
}

impl Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Route { domain, aggregate, id } = &self.route;
        write!(f, "{}.{domain}.{aggregate}.{id}.{}", self.kind.prefix(), self.message)
    }
}

impl FromStr for Subject {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || {
            let want = "use <evt|cmd|qry>.<domain>.<aggregate>.<aggregate id>.<type>";
            Error::setting("a subject", text, want)
        };
        let parts: Vec<&str> = text.split('.').collect();
        let [kind, domain, aggregate, id, message] = parts[..] else { return Err(refuse()) };
        let kind = Kind::ALL.into_iter().find(|k| k.prefix() == kind).ok_or_else(refuse)?;
        let route =
            Route { domain: domain.parse()?, aggregate: aggregate.parse()?, id: id.parse()? };
        Ok(Self { kind, route, message: message.parse()? })
    }
}

impl TryFrom<String> for Subject {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}
