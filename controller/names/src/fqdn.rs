use std::{
    borrow::Borrow,
    fmt::{self, Display},
};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{Error, Label, label::MAX_LABEL};

/// The longest name as text without the final dot (RFC 1035 §2.3.4: 255 octets on the wire).
pub const MAX_NAME: usize = 253;

/// A fully qualified domain name: lower-case ASCII labels joined by dots, no final dot, at most 253
/// octets.
///
/// The names of elements are made of [`Label`]s only. Other names in a zone hold more: `_` of
/// service labels (RFC 8552), `/` of classless reverse zones (RFC 2317), a leading `*` (RFC 4592).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Fqdn(String);

impl Fqdn {
    /// Reads a name as people write it; a final dot is allowed, other scripts become A-labels.
    pub fn parse(written: &str) -> Result<Self, Error> {
        let bad = |why: String| Error::BadName { got: written.to_owned(), why };
        let labels = written
            .strip_suffix('.')
            .unwrap_or(written)
            .split('.')
            .enumerate()
            .map(|(position, label)| name_label(label, position))
            .collect::<Result<Vec<_>, _>>()
            .map_err(bad)?;
        Self::bounded(labels.join(".")).map_err(|_| bad("it is longer than 253 octets".into()))
    }

    /// Reads a name made of host labels only: the suffix of a Domain.
    pub fn parse_host(written: &str) -> Result<Self, Error> {
        let labels = written
            .strip_suffix('.')
            .unwrap_or(written)
            .split('.')
            .map(|label| Label::parse(label).map(|label| label.to_string()))
            .collect::<Result<Vec<_>, _>>()?;
        Self::bounded(labels.join("."))
    }

    /// The name of a child: `label.self`.
    pub fn child(&self, label: &Label) -> Result<Self, Error> {
        self.prefixed(label.as_str())
    }

    /// `prefix.self`, where `prefix` is one or more labels that are known to be good.
    pub(crate) fn prefixed(&self, prefix: &str) -> Result<Self, Error> {
        Self::bounded(format!("{prefix}.{}", self.0))
    }

    /// A name that is in canonical spelling by construction.
    pub(crate) fn trusted(name: String) -> Self {
        Self(name)
    }

    fn bounded(name: String) -> Result<Self, Error> {
        if name.len() > MAX_NAME {
            let why = format!("it is {} octets long, the limit is {MAX_NAME}", name.len());
            return Err(Error::BadName { got: name, why });
        }
        Ok(Self(name))
    }

    /// The name as text, without the final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels, leftmost first.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.0.split('.')
    }

    /// The leftmost label.
    pub fn first_label(&self) -> &str {
        self.0.split_once('.').map_or(&*self.0, |(first, _)| first)
    }

    /// Whether this name equals `base` or lies below it, on a label boundary.
    pub fn is_within(&self, base: &Self) -> bool {
        self.relative_to(base).is_some()
    }

    /// What stands before `base`: `host1.core` of `host1.core.example.com` in `example.com`, the
    /// empty string when both are the same, `None` when this name is not within `base`.
    pub fn relative_to(&self, base: &Self) -> Option<&str> {
        match self.0.strip_suffix(&base.0)? {
            "" => Some(""),
            rest => rest.strip_suffix('.'),
        }
    }
}

/// One label of any name in a zone, in canonical spelling.
fn name_label(written: &str, position: usize) -> Result<String, String> {
    if position == 0 && written == "*" {
        return Ok(written.to_owned());
    }
    let service_or_classless = written.is_ascii() && written.contains(['_', '/']);
    if !service_or_classless {
        return Label::parse(written).map(|label| label.to_string()).map_err(|e| e.to_string());
    }
    let label = written.to_ascii_lowercase();
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/');
    if label.len() > MAX_LABEL || !label.bytes().all(allowed) {
        return Err(format!("`{label}` is not 1 to 63 of a-z, 0-9, `-`, `_` and `/`"));
    }
    Ok(label)
}

/// Maps by name can be asked with text; order and hash are those of the text.
impl Borrow<str> for Fqdn {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Display for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Fqdn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(written: &str) -> Fqdn {
        Fqdn::parse(written).unwrap()
    }

    #[test]
    fn suffixes_match_on_label_boundaries() {
        let zone = name("Example.com.");
        assert_eq!(zone.as_str(), "example.com");
        assert_eq!(name("host1.core.example.com").relative_to(&zone), Some("host1.core"));
        assert_eq!(zone.relative_to(&zone), Some(""));
        assert!(!name("badexample.com").is_within(&zone));
        assert!(!name("com").is_within(&zone));
    }

    #[test]
    fn names_of_records_hold_more_than_host_labels() {
        assert_eq!(name("_HTTP._tcp.vault.example.com").first_label(), "_http");
        assert_eq!(name("0/26.2.0.192.in-addr.arpa").first_label(), "0/26");
        assert_eq!(name("*.example.com").first_label(), "*");
        for bad in ["", ".", "a..b", "a.*.b", "a b", &format!("{}a", "a.".repeat(127))] {
            assert!(Fqdn::parse(bad).is_err(), "{bad}");
        }
        assert!(Fqdn::parse_host("_http.example.com").is_err());
    }

    #[test]
    fn a_child_may_not_outgrow_the_limit() {
        let long =
            name(&["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(59)].join("."));
        assert_eq!(long.as_str().len(), 251);
        assert!(long.child(&Label::parse("e").unwrap()).is_ok());
        let refused = long.child(&Label::parse("ef").unwrap()).unwrap_err().to_string();
        assert!(refused.contains("254 octets"), "{refused}");
    }
}
