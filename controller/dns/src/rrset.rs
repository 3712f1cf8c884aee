//! Record sets: the records of one name and type.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::Rdata;

/// The records of one name and one type. They share one time to live (RFC 2181 section 5.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RrSet {
    /// Time to live, in seconds, at most [`MAX_TTL`](crate::MAX_TTL).
    pub ttl: u32,
    /// The values; never empty in a desired or an observed zone.
    pub values: BTreeSet<Rdata>,
}

impl RrSet {
    /// A set of `values` which caches keep for `ttl` seconds.
    pub fn new(ttl: u32, values: impl IntoIterator<Item = Rdata>) -> Self {
        Self { ttl, values: values.into_iter().collect() }
    }

    /// A short stable name of TTL and values: 96 bits of their SHA-256 in base64url.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(format!("{}\n", self.ttl));
        for value in &self.values {
            // Presentation format has no line break, so the lines cannot run into each other.
            hasher.update(format!("{value}\n"));
        }
        data_encoding::BASE64URL_NOPAD.encode(&hasher.finalize()[..12])
    }
}

impl fmt::Display for RrSet {
    /// `300 10.0.0.1, 10.0.0.2`, cut short for people after some 200 bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        let mut text = String::new();
        for (shown, value) in self.values.iter().map(ToString::to_string).enumerate() {
            if shown > 0 && text.len() + value.len() > SHOWN {
                write!(f, "{} {text} and {} more", self.ttl, self.values.len() - shown)?;
                return Ok(());
            }
            if shown > 0 {
                text.push_str(", ");
            }
            // Presentation format is ASCII, but an opaque value comes from elsewhere.
            text.extend(value.chars().take(SHOWN));
            if value.len() > SHOWN {
                text.push('…');
            }
        }
        write!(f, "{} {text}", self.ttl)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_fingerprint_covers_ttl_and_values() {
        let set = |ttl, texts: &[&str]| RrSet::new(ttl, texts.iter().map(|t| Rdata::txt(t)));
        assert_eq!(set(1, &["a", "b"]).fingerprint(), set(1, &["b", "a"]).fingerprint());
        assert_ne!(set(1, &["a"]).fingerprint(), set(2, &["a"]).fingerprint());
        assert_ne!(set(1, &["a", "b"]).fingerprint(), set(1, &["ab"]).fingerprint());
        assert_eq!(set(1, &["a"]).fingerprint().len(), 16);
    }

    #[test]
    fn long_sets_are_cut_short_for_people() {
        let many = RrSet::new(60, (0..100).map(|n| Rdata::A(Ipv4Addr::new(10, 0, 0, n))));
        let text = many.to_string();
        assert!(text.len() < 260 && text.ends_with("more"), "{text}");
        assert!(RrSet::new(60, [Rdata::txt(&"x".repeat(9000))]).to_string().len() < 260);
    }
}
