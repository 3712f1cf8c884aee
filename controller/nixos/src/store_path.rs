//! Paths in the Nix store, as Nix itself admits them.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ParseError;

const STORE: &str = "/nix/store/";
const HASH_LENGTH: usize = 32;
/// Nix's own limit (`StorePath::MaxPathLen`).
const MAX_NAME_LENGTH: usize = 211;

/// An absolute path of the store's first level: `/nix/store/<32 × base 32>-<name>`.
///
/// Safe as an argument by construction: it has no space, quote or leading dash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath(String);

impl StorePath {
    /// The absolute path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part behind the hash: `nixos-system-host1-25.05`.
    pub fn name(&self) -> &str {
        &self.0[STORE.len() + HASH_LENGTH + 1..]
    }

    /// The 32 characters that identify the path.
    pub fn hash(&self) -> &str {
        &self.0[STORE.len()..STORE.len() + HASH_LENGTH]
    }
}

impl FromStr for StorePath {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse =
            || ParseError::new("store path", text, "/nix/store/<32 characters of base 32>-<name>");
        let base = text.strip_prefix(STORE).ok_or_else(refuse)?;
        let (hash, name) = base.split_once('-').ok_or_else(refuse)?;
        let is_base32 = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'd' | b'f'..=b'n' | b'p'..=b's' | b'v'..=b'z');
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b"+-._?=".contains(&b);
        if hash.len() == HASH_LENGTH
            && hash.bytes().all(is_base32)
            && (1..=MAX_NAME_LENGTH).contains(&name.len())
            && name.bytes().all(is_name)
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(refuse())
        }
    }
}

impl TryFrom<String> for StorePath {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> Self {
        path.0
    }
}

impl Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The store path of a derivation; its name ends in `.drv`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DerivationPath(StorePath);

impl DerivationPath {
    /// As the store path that it is.
    pub fn as_store_path(&self) -> &StorePath {
        &self.0
    }

    /// The absolute path.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for DerivationPath {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let path: StorePath = text.parse()?;
        if path.name().strip_suffix(".drv").is_some_and(|name| !name.is_empty()) {
            Ok(Self(path))
        } else {
            Err(ParseError::new("derivation", text, "a store path whose name ends in .drv"))
        }
    }
}

impl TryFrom<String> for DerivationPath {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<DerivationPath> for String {
    fn from(path: DerivationPath) -> Self {
        path.0.into()
    }
}

impl Display for DerivationPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "r7b3by83ir2s7fd6dqhwi0npkdhn3a94";

    #[test]
    fn a_path_of_nix_is_accepted_and_taken_apart() {
        let path: StorePath = format!("/nix/store/{HASH}-nixos-system-h1-25.05").parse().unwrap();
        assert_eq!(path.hash(), HASH);
        assert_eq!(path.name(), "nixos-system-h1-25.05");
    }

    #[test]
    fn what_is_not_of_the_first_level_or_could_be_an_argument_is_refused() {
        for evil in [
            String::new(),
            "/nix/store".into(),
            format!("/nix/store/{HASH}"),
            format!("/nix/store/{HASH}-"),
            format!("/nix/store/{HASH}-x/bin"),
            format!("/nix/store/{HASH}-x/../../etc"),
            format!("/nix/store/{HASH}-x y"),
            format!("/nix/store/{HASH}-x\n"),
            format!("/nix/store/{HASH}-$(id)"),
            format!("/nix/store/{}-x", HASH.replace('r', "e")),
            format!("/nix/store/{}-x", &HASH[1..]),
            format!("/gnu/store/{HASH}-x"),
            format!("--help /nix/store/{HASH}-x"),
            format!("/nix/store/{HASH}-{}", "x".repeat(212)),
        ] {
            assert!(evil.parse::<StorePath>().is_err(), "{evil}");
        }
    }

    #[test]
    fn a_derivation_ends_in_drv() {
        assert!(format!("/nix/store/{HASH}-x.drv").parse::<DerivationPath>().is_ok());
        assert!(format!("/nix/store/{HASH}-x").parse::<DerivationPath>().is_err());
        assert!(format!("/nix/store/{HASH}-.drv").parse::<DerivationPath>().is_err());
    }
}
