//! How far a plan may go.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::{Error, Name, RecordKey, RecordType};

/// What a plan may do to a zone.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Which kinds of change are made.
    pub policy: Policy,
    /// Records that are left alone and not reported.
    pub ignore: Vec<Ignore>,
    /// Names that may be taken over: wanted records overwrite what somebody else put there.
    pub adopt: BTreeSet<Name>,
    /// Whether deletions that were held back may go on.
    pub release: Release,
}

/// Which kinds of change are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Create, change and delete.
    #[default]
    Sync,
    /// Create and change. Nothing is deleted, but a CNAME may take the place of an address and the
    /// reverse.
    UpsertOnly,
    /// Create. What exists is only reported.
    CreateOnly,
}

/// Whether a person has looked at deletions that were held back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// Nobody has.
    #[default]
    Nothing,
    /// The deletions with this hash ([`Held::hash`](crate::Held::hash)) may go on, and no others.
    Confirmed(String),
    /// All may go on: the owner has asked for the end of the zone's records.
    Everything,
}

/// A pattern of records that are left alone: a glob over the absolute name without the final dot,
/// and perhaps a type. `*` is any text within one label, `**` any text.
///
/// `_acme-challenge.** TXT` · `*.dhcp.example.com` · `**.dyn.example.com`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignore {
    glob: String,
    kind: Option<RecordType>,
}

impl Ignore {
    /// Whether the record is to be left alone.
    pub fn matches(&self, key: &RecordKey) -> bool {
        self.kind.is_none_or(|kind| kind == key.kind)
            && glob_matches(
                self.glob.as_bytes(),
                key.name.as_str().trim_end_matches('.').as_bytes(),
            )
    }
}

impl FromStr for Ignore {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        const MAX_GLOB: usize = 255;
        let wrong = |why| Error::Pattern { text: text.to_owned(), why };
        let mut fields = text.split_ascii_whitespace();
        let glob = fields.next().ok_or_else(|| wrong("it is empty"))?;
        let kind = fields.next().map(str::parse).transpose()?;
        if fields.next().is_some() {
            return Err(wrong("it has more than a name and a type"));
        }
        if glob.len() > MAX_GLOB {
            return Err(wrong("it is longer than a name can be"));
        }
        if !glob.is_ascii() {
            return Err(wrong("it is not ASCII; write A-labels (xn--…)"));
        }
        let glob = glob.trim_end_matches('.').to_ascii_lowercase();
        if glob.is_empty() {
            return Err(wrong("it matches no name"));
        }
        Ok(Self { glob, kind })
    }
}

impl fmt::Display for Ignore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.glob)?;
        self.kind.map_or(Ok(()), |kind| write!(f, " {kind}"))
    }
}

/// Glob matching in time |glob| × |text|: `reach[i]` tells whether the glob so far can end at `i`.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let mut reach = vec![false; text.len() + 1];
    reach[0] = true;
    let mut rest = glob;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'*' {
            let any = tail.first() == Some(&b'*');
            rest = if any { &tail[1..] } else { tail };
            for at in 0..text.len() {
                reach[at + 1] |= reach[at] && (any || text[at] != b'.');
            }
        } else {
            for at in (0..text.len()).rev() {
                reach[at + 1] = reach[at] && text[at] == *first;
            }
            reach[0] = false;
        }
    }
    reach[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_by_label_and_type() {
        let matches = |pattern: &str, name: &str, kind: &str| {
            let key = RecordKey::new(name.parse().unwrap(), kind.parse().unwrap());
            pattern.parse::<Ignore>().unwrap().matches(&key)
        };
        assert!(matches("*.dhcp.example.com", "a.dhcp.example.com", "A"));
        assert!(!matches("*.dhcp.example.com", "a.b.dhcp.example.com", "A"));
        assert!(matches("**.dhcp.Example.com.", "a.b.dhcp.example.com", "A"));
        assert!(!matches("*.dhcp.example.com", "dhcp.example.com", "A"));
        assert!(matches("_acme-challenge.** TXT", "_acme-challenge.example.com", "TXT"));
        assert!(!matches("_acme-challenge.** TXT", "_acme-challenge.example.com", "A"));
        assert!(matches("*", "*", "A") && matches("**", "a.b", "A") && !matches("*", "a.b", "A"));
        assert!(matches("a*b*c", "aXbbYc", "A") && !matches("a*b*c", "aXbYcd", "A"));
    }

    #[test]
    fn bad_patterns_are_refused() {
        for wrong in ["", ".", "a b c", "a NOTYPE", "bücher.**"] {
            assert!(wrong.parse::<Ignore>().is_err(), "{wrong}");
        }
    }
}
