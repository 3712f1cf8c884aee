use std::fmt::{self, Display};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::Error;

/// The longest label in octets (RFC 1035 §2.3.4).
pub const MAX_LABEL: usize = 63;

/// One label of a host name, in its only spelling: lower case, ASCII, 1 to 63 of `a-z`, `0-9` and
/// `-`, neither beginning nor ending with `-` (RFC 1035 §2.3.1 as relaxed by RFC 1123 §2.1).
///
/// Other scripts are taken as IDNA A-labels (RFC 5891, UTS #46): `bücher` is `xn--bcher-kva`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Label(String);

impl Label {
    /// Reads a label as people write it.
    pub fn parse(written: &str) -> Result<Self, Error> {
        let bad = |why| Error::BadLabel { got: written.to_owned(), why };
        let ascii = if written.is_ascii() {
            written.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii_strict(written).map_err(|_| bad("IDNA does not allow it"))?
        };
        check_ldh(&ascii).map_err(bad)?;
        // Hyphens in the third and fourth place are reserved (RFC 5891 §4.2.3.1): such a label is
        // either a valid A-label or it will be refused by somebody later.
        let reserved = ascii.as_bytes().get(2..4) == Some(b"--");
        if reserved && idna::domain_to_ascii_strict(&ascii).ok().as_deref() != Some(&*ascii) {
            return Err(bad("`--` in the third and fourth place is reserved for IDNA"));
        }
        Ok(Self(ascii))
    }

    /// The label of a network interface, whose kernel name may hold almost anything: its runs of
    /// `a-z` and `0-9`, after lower-casing, joined by one `-`. So `eno1.100` is `eno1-100`,
    /// `eth0:1` is `eth0-1` and `br_LAN` is `br-lan`.
    ///
    /// Two interfaces of a machine may meet in one label; building the hierarchy reports that.
    pub fn of_interface(kernel_name: &str) -> Result<Self, Error> {
        let lower = kernel_name.to_ascii_lowercase();
        let runs: Vec<_> = lower
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|run| !run.is_empty())
            .collect();
        let label = runs.join("-");
        check_ldh(&label)
            .map_err(|why| Error::BadLabel { got: kernel_name.to_owned(), why })
            .map(|()| Self(label))
    }

    /// The label as it goes into a name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Letters, digits, hyphen; the reason when it is not so.
fn check_ldh(label: &str) -> Result<(), &'static str> {
    if label.is_empty() {
        Err("it is empty")
    } else if label.len() > MAX_LABEL {
        Err("it is longer than 63 octets")
    } else if label.contains('.') {
        Err("it holds a dot, so it is several labels")
    } else if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        Err("it holds something other than letters, digits and `-`")
    } else if label.starts_with('-') || label.ends_with('-') {
        Err("it begins or ends with `-`")
    } else {
        Ok(())
    }
}

impl Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_one_spelling() {
        assert_eq!(Label::parse("Host1").unwrap().as_str(), "host1");
        assert_eq!(Label::parse("bücher").unwrap().as_str(), "xn--bcher-kva");
        assert_eq!(Label::parse("BÜCHER").unwrap(), Label::parse("xn--bcher-kva").unwrap());
        assert_eq!(Label::parse("3com").unwrap().as_str(), "3com");
        assert_eq!(Label::parse(&"a".repeat(63)).unwrap().as_str().len(), 63);
    }

    #[test]
    fn what_no_resolver_would_take_is_refused_with_the_reason() {
        for (written, why) in [
            ("", "empty"),
            (&"a".repeat(64), "longer"),
            (&"ü".repeat(60), "IDNA"),
            ("a.b", "several labels"),
            ("a。b", "several labels"),
            ("a_b", "something other"),
            ("-a", "begins or ends"),
            ("a-", "begins or ends"),
            ("ab--c", "reserved"),
            ("xn--zzzzzz!", "something other"),
            ("xn--a", "reserved"),
        ] {
            let refused = Label::parse(written).unwrap_err().to_string();
            assert!(refused.contains(why), "{written}: {refused}");
        }
    }

    #[test]
    fn interface_names_map_to_labels() {
        for (kernel, label) in [
            ("eno1", "eno1"),
            ("eno1.100", "eno1-100"),
            ("eth0:1", "eth0-1"),
            ("br_LAN", "br-lan"),
            ("veth@if7", "veth-if7"),
            ("en::1", "en-1"),
            ("_tun0_", "tun0"),
        ] {
            assert_eq!(Label::of_interface(kernel).unwrap().as_str(), label);
        }
        assert!(Label::of_interface("::").is_err());
    }
}
