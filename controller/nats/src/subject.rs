//! Subjects: dot-separated tokens, `*` for one, `>` at the end for one or more.

use std::fmt::{self, Debug, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A subject that a server accepts, perhaps with wildcards.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(Box<str>);

/// Why a text is no subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no NATS subject: {why}")]
pub struct InvalidSubject {
    /// The text, at most its first 100 characters.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Subject {
    /// The longest that is accepted, in bytes; the server's control line of 4096 holds two and more.
    pub const MAX_BYTES: usize = 1024;

    /// The subject as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has `*` or `>`.
    pub fn has_wildcards(&self) -> bool {
        self.tokens().any(|token| matches!(token, "*" | ">"))
    }

    /// Whether everything that matches `other` matches this one too.
    pub fn contains(&self, other: &Self) -> bool {
        let mut others = other.tokens();
        for token in self.tokens() {
            match (token, others.next()) {
                (">", Some(_)) => return true,
                (_, None | Some(">")) => return false,
                ("*", Some(_)) => {}
                (mine, Some(theirs)) if mine == theirs => {}
                _ => return false,
            }
        }
        others.next().is_none()
    }

    /// The tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let bad = |why| InvalidSubject { text: text.chars().take(100).collect(), why };
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        if text.len() > Self::MAX_BYTES {
            return Err(bad("it is longer than 1024 bytes"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(bad("it has white space or control characters"));
        }
        let mut tokens = text.split('.').peekable();
        while let Some(token) = tokens.next() {
            if token.is_empty() {
                return Err(bad("a token between dots is empty"));
            }
            if token == ">" && tokens.peek().is_some() {
                return Err(bad("'>' may only be the last token"));
            }
            if token.len() > 1 && (token.contains('>') || token.contains('*')) {
                return Err(bad("a wildcard must be a token of its own"));
            }
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Subject {
    type Error = InvalidSubject;

    fn try_from(text: String) -> Result<Self, InvalidSubject> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0.into()
    }
}

impl Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_subject_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "empty"),
            (".a", "empty"),
            ("a..b", "empty"),
            ("a.", "empty"),
            ("a b", "white space"),
            ("a\nb", "white space"),
            ("a.>.b", "last"),
            ("a.b*", "of its own"),
            ("a>", "of its own"),
        ] {
            let error = text.parse::<Subject>().unwrap_err();
            assert!(error.why.contains(why), "{text:?}: {error}");
        }
        assert!("x".repeat(1025).parse::<Subject>().is_err());
    }

    #[test]
    fn containment_is_that_of_the_server() {
        let contains = |a: &str, b: &str| {
            a.parse::<Subject>().unwrap().contains(&b.parse::<Subject>().unwrap())
        };
        for (a, b) in [("a.>", "a.b"), ("a.>", "a.*"), ("a.>", "a.b.>"), ("a.*", "a.*"), ("*", "a")]
        {
            assert!(contains(a, b), "{a} contains {b}");
        }
        for (a, b) in [("a.>", "a"), ("a.*", "a.>"), ("a.b", "a.*"), ("a", "a.b"), ("a.b", "a")] {
            assert!(!contains(a, b), "{a} does not contain {b}");
        }
    }
}
