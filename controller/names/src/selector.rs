use std::{
    fmt::{self, Display},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{Error, Kind, Label};

/// A reference to elements: a name, short or long, optionally with the kind it must have, or a
/// metadata label of machines.
///
/// ```text
/// selector = [ kind "/" ] name [ "." ]          host1   machine/host1   api.vault   host1.core.example.com
///          | "label/" key [ "=" value ]         label/canary   label/rack=b2
/// kind     = "domain" | "cluster" | "service" | "role" | "machine" | "interface" | "host"
/// ```
///
/// `host/` is a virtual host. A final dot makes the name absolute, as in DNS. What a selector means
/// depends on where it stands; see [the crate](crate#selectors).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// One element by its name.
    Name {
        /// The kind it must have.
        kind: Option<Kind>,
        /// Its labels joined by dots, in canonical spelling.
        name: String,
        /// Whether the name is complete: written with a final dot.
        absolute: bool,
    },
    /// All machines with a metadata label, of the cluster in which the selector stands.
    Label {
        /// The key, such as `canary` or `example.com/rack`.
        key: String,
        /// The value that it must have; any when `None`.
        value: Option<String>,
    },
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(written: &str) -> Result<Self, Error> {
        let bad = |why: String| Error::BadSelector { got: written.to_owned(), why };
        let (kind, name) = match written.split_once('/') {
            Some(("label", label)) => return Self::label(label).map_err(bad),
            Some((prefix, name)) => (Some(Kind::from_prefix(prefix).map_err(bad)?), name),
            None => (None, written),
        };
        let relative = name.strip_suffix('.');
        let labels = relative
            .unwrap_or(name)
            .split('.')
            .map(|label| Label::parse(label).map(|label| label.to_string()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| bad(error.to_string()))?;
        Ok(Self::Name { kind, name: labels.join("."), absolute: relative.is_some() })
    }
}

impl Selector {
    fn label(written: &str) -> Result<Self, String> {
        let (key, value) = match written.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (written, None),
        };
        if key.is_empty() {
            return Err("wanted is label/KEY or label/KEY=VALUE".to_owned());
        }
        Ok(Self::Label { key: key.to_owned(), value })
    }
}

impl Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { kind, name, absolute } => {
                if let Some(kind) = kind {
                    write!(f, "{}/", kind.prefix())?;
                }
                write!(f, "{name}{}", if *absolute { "." } else { "" })
            }
            Self::Label { key, value: None } => write!(f, "label/{key}"),
            Self::Label { key, value: Some(value) } => write!(f, "label/{key}={value}"),
        }
    }
}

impl Serialize for Selector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_print_as_they_are_read() {
        for (written, canonical) in [
            ("Host1", "host1"),
            ("machine/host1", "machine/host1"),
            ("host/vm1.host1", "host/vm1.host1"),
            ("host1.core.example.com.", "host1.core.example.com."),
            ("label/canary", "label/canary"),
            ("label/example.com/rack=B2", "label/example.com/rack=B2"),
            ("label/empty=", "label/empty="),
        ] {
            let selector: Selector = written.parse().unwrap();
            assert_eq!(selector.to_string(), canonical);
            assert_eq!(selector.to_string().parse(), Ok(selector));
        }
    }

    #[test]
    fn a_bad_selector_is_told_what_is_wanted() {
        for (written, why) in [
            ("", "empty"),
            ("host1..core", "empty"),
            ("pod/host1", "domain, cluster, service, role, machine, interface, host or label"),
            ("label/", "label/KEY"),
            ("10.0.0.1/24", "is not a kind"),
            ("eth0:1", "something other"),
        ] {
            let refused = written.parse::<Selector>().unwrap_err().to_string();
            assert!(refused.contains(why), "{written}: {refused}");
        }
    }
}
