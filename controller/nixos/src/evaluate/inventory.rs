//! The inventory: what a flake is told about the Domain when it makes its configurations.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::ParseError;

/// The longest inventory in bytes. The largest Domain that is meant to work has half a megabyte.
const MAX_LENGTH: usize = 16 << 20;

/// An inventory as JSON in one form: keys sorted by their bytes, no space between tokens. Equal
/// values have equal texts and so equal hashes.
///
/// It ends in the Nix store, where everybody can read it: it must hold no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct InventoryJson {
    text: String,
    hash: InventoryHash,
}

impl InventoryJson {
    /// The inventory of `value`.
    ///
    /// # Errors
    /// When it cannot be JSON (a map whose keys are no strings), is no object, or is longer than
    /// 16 MiB.
    pub fn new(value: &impl Serialize) -> Result<Self, ParseError> {
        let refuse = |got: &str, wants| ParseError::new("inventory", got, wants);
        let value = serde_json::to_value(value)
            .map_err(|why| refuse(&why.to_string(), "a value that JSON can hold"))?;
        if !value.is_object() {
            return Err(refuse(&value.to_string(), "a JSON object"));
        }
        let mut text = String::new();
        write_sorted(&value, &mut text);
        if text.len() > MAX_LENGTH {
            return Err(refuse(&format!("{} bytes", text.len()), "at most 16 MiB"));
        }
        let hash = STANDARD.encode(Sha256::digest(text.as_bytes()));
        Ok(Self { text, hash: InventoryHash(format!("sha256-{hash}")) })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The hash over the text; part of a release's identity.
    pub fn hash(&self) -> &InventoryHash {
        &self.hash
    }
}

impl FromStr for InventoryJson {
    type Err = ParseError;

    /// Reads any JSON text of an object.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let value: Value = serde_json::from_str(text).map_err(|why| {
            ParseError::new("inventory", &why.to_string(), "the JSON text of an object")
        })?;
        Self::new(&value)
    }
}

impl fmt::Debug for InventoryJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InventoryJson({} bytes, {})", self.text.len(), self.hash)
    }
}

/// The SHA-256 over the text of an inventory in SRI form: `sha256-<base 64 of 32 bytes>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InventoryHash(String);

impl InventoryHash {
    /// In SRI form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In hexadecimal digits.
    pub(crate) fn hex(&self) -> String {
        let bytes = self.0.strip_prefix("sha256-").and_then(|hash| STANDARD.decode(hash).ok());
        bytes.unwrap_or_default().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

impl FromStr for InventoryHash {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        // The same form as that of every hash in Nix.
        let refuse = |_| ParseError::new("inventory hash", text, "sha256-<base 64 of 32 bytes>");
        text.parse::<crate::source::NarHash>().map_err(refuse)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for InventoryHash {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<InventoryHash> for String {
    fn from(hash: InventoryHash) -> Self {
        hash.0
    }
}

impl Display for InventoryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Sorted here and not by the library: whether that sorts depends on features that any other crate
/// of the program may turn on, and the hash must not.
fn write_sorted(value: &Value, into: &mut String) {
    match value {
        Value::Object(entries) => {
            let sorted: BTreeMap<&String, &Value> = entries.iter().collect();
            into.push('{');
            for (n, (key, value)) in sorted.into_iter().enumerate() {
                if n > 0 {
                    into.push(',');
                }
                let _ = write!(into, "{}:", Value::String(key.clone()));
                write_sorted(value, into);
            }
            into.push('}');
        }
        Value::Array(items) => {
            into.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    into.push(',');
                }
                write_sorted(item, into);
            }
            into.push(']');
        }
        scalar => {
            let _ = write!(into, "{scalar}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_and_spaces_of_the_text_do_not_matter() {
        let one: InventoryJson =
            r#"{ "b": [1, {"y": null, "x": "é\n"}], "a": true }"#.parse().unwrap();
        let other: InventoryJson =
            r#"{"a":true,"b":[1,{"x":"é\u000a","y":null}]}"#.parse().unwrap();
        assert_eq!(one, other);
        assert_eq!(one.as_str(), r#"{"a":true,"b":[1,{"x":"é\n","y":null}]}"#);
        let changed: InventoryJson =
            r#"{"a":true,"b":[{"x":"é\u000a","y":null},1]}"#.parse().unwrap();
        assert_ne!(one.hash(), changed.hash(), "the order of a list is part of it");
    }

    #[test]
    fn the_hash_is_that_of_the_text() {
        let empty: InventoryJson = "{}".parse().unwrap();
        // printf '{}' | sha256sum
        let hex = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(empty.hash().hex(), hex);
        assert_eq!(empty.hash().as_str(), "sha256-RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=");
        assert_eq!(empty.hash().to_string().parse::<InventoryHash>().unwrap(), *empty.hash());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for evil in ["", "[]", "null", "{", "{\"a\":1} x"] {
            assert!(evil.parse::<InventoryJson>().is_err(), "{evil}");
        }
    }

    proptest! {
        #[test]
        fn the_text_means_the_same_value(entries in proptest::collection::btree_map(".*", ".*", 0..20)) {
            let inventory = InventoryJson::new(&entries).unwrap();
            let read: BTreeMap<String, String> = serde_json::from_str(inventory.as_str()).unwrap();
            prop_assert_eq!(read, entries);
        }
    }
}
