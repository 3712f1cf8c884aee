//! Absolute domain names and zones.

use std::{fmt, str::FromStr};

use hickory_proto::rr;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The longest name on the wire, in bytes, with the length bytes (RFC 1035 section 2.3.4).
const MAX_WIRE: usize = 255;
/// The longest label, in bytes.
const MAX_LABEL: usize = 63;

/// An absolute domain name in its canonical presentation form: lower case, every special byte
/// escaped as RFC 4343 section 2.1 says, with the final dot.
///
/// Names compare and sort by this text. Lower case because DNS compares names without regard to
/// case (RFC 4343), and text because names are read by people far more often than sent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text, with the final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root of all names.
    pub fn is_root(&self) -> bool {
        self.0 == "."
    }

    /// Whether this name is `apex` or below it, on a label boundary.
    pub fn is_within(&self, apex: &Self) -> bool {
        apex.is_root() || self.0 == apex.0 || self.prefix_before(apex).is_some()
    }

    /// The part before `.apex`, when there is one and the dot between them is no escaped byte.
    fn prefix_before(&self, apex: &Self) -> Option<&str> {
        let prefix = self.0.strip_suffix(apex.as_str())?.strip_suffix('.')?;
        let backslashes = prefix.bytes().rev().take_while(|byte| *byte == b'\\').count();
        (!prefix.is_empty() && backslashes % 2 == 0).then_some(prefix)
    }

    /// This name without the zone, `@` for the apex itself, and `None` outside of the zone.
    pub fn relative_to(&self, zone: &Zone) -> Option<&str> {
        if self == zone.name() { Some("@") } else { self.prefix_before(zone.name()) }
    }

    /// The labels as bytes, unescaped, from the left. The root has none.
    pub(crate) fn labels(&self) -> Vec<Vec<u8>> {
        // The text was made by `from_labels`, so it splits without error.
        split(&self.0).unwrap_or_default()
    }

    /// The length on the wire without compression, in bytes.
    pub(crate) fn wire_len(&self) -> usize {
        1 + self.labels().iter().map(|label| label.len() + 1).sum::<usize>()
    }

    pub(crate) fn from_labels<L: AsRef<[u8]>>(labels: &[L]) -> Result<Self, &'static str> {
        let mut text = String::new();
        let mut wire = 1;
        for label in labels.iter().map(AsRef::as_ref) {
            match label.len() {
                0 => return Err("it has an empty label"),
                1..=MAX_LABEL => wire += label.len() + 1,
                _ => return Err("a label is longer than 63 bytes"),
            }
            for byte in label {
                escape(byte.to_ascii_lowercase(), &mut text);
            }
            text.push('.');
        }
        if wire > MAX_WIRE {
            return Err("it is longer than 255 bytes");
        }
        if text.is_empty() {
            text.push('.');
        }
        Ok(Self(text))
    }

    pub(crate) fn from_wire(name: &rr::Name) -> Result<Self, &'static str> {
        Self::from_labels(&name.iter().collect::<Vec<_>>())
    }

    pub(crate) fn to_wire(&self) -> rr::Name {
        let labels = self.labels();
        let mut name = rr::Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap_or_default();
        name.set_fqdn(true);
        name
    }
}

/// Writes one byte of a label so that [`split`] reads it back.
fn escape(byte: u8, text: &mut String) {
    match byte {
        b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
            text.push('\\');
            text.push(char::from(byte));
        }
        0x21..=0x7e => text.push(char::from(byte)),
        _ => {
            text.push('\\');
            text.extend(
                [byte / 100, byte / 10 % 10, byte % 10].map(|digit| char::from(b'0' + digit)),
            );
        }
    }
}

/// Splits presentation format into labels; the final dot may be missing.
fn split(text: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text == "." {
        return Ok(Vec::new());
    }
    let (mut labels, mut label) = (Vec::new(), Vec::new());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'.' => labels.push(std::mem::take(&mut label)),
            b'\\' => label.push(unescape(&mut bytes).ok_or("a backslash begins no escape")?),
            0x21..=0x7e => label.push(byte),
            0x80.. => return Err("it is not ASCII; write its A-label (xn--…)"),
            _ => return Err("it contains a blank or a control character"),
        }
        if labels.len() > MAX_WIRE / 2 {
            return Err("it is longer than 255 bytes");
        }
    }
    if !label.is_empty() {
        labels.push(label);
    }
    Ok(labels)
}

/// Reads what follows a backslash: three decimal digits or one character.
pub(crate) fn unescape(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return (0x20..0x7f).contains(&first).then_some(first);
    }
    [first, bytes.next()?, bytes.next()?]
        .iter()
        .try_fold(0_u16, |n, digit| {
            digit.is_ascii_digit().then(|| n * 10 + u16::from(digit - b'0'))
        })
        .and_then(|n| u8::try_from(n).ok())
}

impl FromStr for Name {
    type Err = Error;

    /// Every name is taken as absolute, with or without the final dot.
    fn from_str(text: &str) -> Result<Self, Error> {
        split(text)
            .and_then(|labels| Self::from_labels(&labels))
            .map_err(|why| Error::Name { text: text.to_owned(), why })
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A zone, known by the name of its apex. Never the root: nobody but IANA manages that one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(Name);

impl Zone {
    /// The name of the apex.
    pub fn name(&self) -> &Name {
        &self.0
    }

    /// Whether `name` is the apex or below it.
    pub fn contains(&self, name: &Name) -> bool {
        name.is_within(&self.0)
    }

    /// The absolute name of `relative` in this zone; `@` is the apex.
    pub fn absolute(&self, relative: &str) -> Result<Name, Error> {
        if relative == "@" { Ok(self.0.clone()) } else { format!("{relative}.{}", self.0).parse() }
    }
}

impl FromStr for Zone {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let name: Name = text.parse()?;
        if name.is_root() {
            return Err(Error::Name { text: text.to_owned(), why: "the root is not our zone" });
        }
        Ok(Self(name))
    }
}

impl TryFrom<String> for Zone {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.0.into()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::serialize::binary::BinEncodable;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_absolute_lower_case_and_escaped() {
        let text = |name: &str| name.parse::<Name>().map(String::from).ok();
        assert_eq!(text("Host1.Example.COM").as_deref(), Some("host1.example.com."));
        assert_eq!(
            text("0/25.2.0.192.in-addr.arpa.").as_deref(),
            Some("0/25.2.0.192.in-addr.arpa.")
        );
        assert_eq!(text("*._tcp.a").as_deref(), Some("*._tcp.a."));
        assert_eq!(text(r"a\.b.\032c").as_deref(), Some(r"a\.b.\032c."));
        assert_eq!(text(".").as_deref(), Some("."));
    }

    #[test]
    fn bad_names_are_refused_with_the_reason() {
        let why = |name: &str| name.parse::<Name>().unwrap_err().to_string();
        assert!(why("").contains("empty"));
        assert!(why("a..b").contains("empty label"));
        assert!(why("bücher.example").contains("A-label"));
        assert!(why("a b").contains("blank"));
        assert!(why(&"a".repeat(64)).contains("63"));
        assert!(why(&"a.".repeat(128)).contains("255"));
        assert!(why(r"a\99").contains("escape"));
        assert!(why(r"a\999.b").contains("escape"));
        assert!(".".parse::<Zone>().is_err());
    }

    #[test]
    fn a_name_is_within_a_zone_only_on_a_label_boundary() {
        let zone: Zone = "example.com".parse().unwrap();
        let within = |name: &str| zone.contains(&name.parse().unwrap());
        assert!(within("example.com") && within("a.b.example.com"));
        assert!(!within("badexample.com") && !within("com") && !within(r"a\.example.com"));
        assert!(within(r"a\\.example.com"));
    }

    proptest! {
            #[test]
            fn any_labels_survive_text_and_wire(
                labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..6)
            ) {
                let name = Name::from_labels(&labels).unwrap();
                prop_assert_eq!(&name, &name.as_str().parse().unwrap());
                prop_assert_eq!(&name, &Name::from_wire(&name.to_wire()).unwrap());
    prop_assert_eq!(name.wire_len(), name.to_wire().to_bytes().unwrap().len());
            }

            #[test]
            fn relative_names_come_back(label in "[a-z0-9.@\\\\-]{1,9}") {
                let zone: Zone = "example.com".parse().unwrap();
                let Ok(name) = format!("{label}.example.com").parse::<Name>() else { return Ok(()) };
                if let Some(relative) = name.relative_to(&zone) {
                    prop_assert_eq!(zone.absolute(relative).unwrap(), name);
                }
            }
        }
}
