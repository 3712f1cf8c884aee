//! From a locked flake to the closure of each machine.
//!
//! Machines are evaluated many at a time: what they share (nixpkgs, modules) is then parsed and
//! evaluated once. A machine whose configuration is broken, endless or too large does not take the
//! others with it, see [`Nix::evaluate`](crate::Nix::evaluate).

mod answer;
mod batches;
mod evaluator;
mod install;
mod inventory;

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::install::{FlakeOutput, InstallParts, Installs};
pub use self::inventory::{InventoryHash, InventoryJson};
use crate::error::ParseError;
use crate::store_path::{DerivationPath, StorePath};

/// The name of a machine's configuration: `<name>` in the flake's `nixosConfigurations.<name>`, or
/// in what its `cimConfigurations` makes of the inventory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Attribute(String);

impl Attribute {
    /// As given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Attribute {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if (1..=253).contains(&text.len()) && text.bytes().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new("configuration", text, "1 to 253 of A-Z a-z 0-9 . _ -"))
        }
    }
}

impl TryFrom<String> for Attribute {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Attribute> for String {
    fn from(attribute: Attribute) -> Self {
        attribute.0
    }
}

impl Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a machine shall run, and how it is built.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Toplevel {
    /// How it is built.
    pub derivation: DerivationPath,
    /// The NixOS closure; known before it is built.
    pub closure: StorePath,
}

/// What a configuration gives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Configuration {
    /// What the machine shall run.
    pub toplevel: Toplevel,
    /// The closures of the services on it, by name: the configuration's `config.cim.closures`.
    /// Empty for a configuration without that option.
    #[serde(default)]
    pub services: BTreeMap<String, StorePath>,
    /// What a first install takes, where that was asked for.
    #[serde(default)]
    pub install: Option<InstallParts>,
}

/// Why one machine's configuration gives no closure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// The flake has no such configuration.
    #[error("the flake has no configuration {attribute}; it has {}", list(.available))]
    Unknown {
        /// The one asked for.
        attribute: Attribute,
        /// Those that exist.
        available: Vec<String>,
    },
    /// The configuration is broken.
    #[error("configuration {attribute} cannot be evaluated: {message}")]
    Failed {
        /// The one asked for.
        attribute: Attribute,
        /// What Nix said.
        message: String,
    },
    /// The configuration needs more memory than an evaluation may take.
    #[error(
        "configuration {attribute} takes more than {} MiB to evaluate: raise the limit, or look \
         for what makes it grow", limit >> 20
    )]
    TooLarge {
        /// The one asked for.
        attribute: Attribute,
        /// The bound on resident memory in bytes.
        limit: u64,
    },
    /// The evaluation of this configuration does not end.
    #[error("configuration {attribute} was not evaluated within {after:?}")]
    TimedOut {
        /// The one asked for.
        attribute: Attribute,
        /// The deadline.
        after: Duration,
    },
}

impl AttributeError {
    /// The class of this error as a condition's reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "UnknownConfiguration",
            Self::Failed { .. } => "EvaluationFailed",
            Self::TooLarge { .. } => "EvaluationTooLarge",
            Self::TimedOut { .. } => "EvaluationTimeout",
        }
    }
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 20;
    match names {
        [] => "none at all".to_owned(),
        _ if names.len() > SHOWN => {
            format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN)
        }
        _ => names.join(", "),
    }
}

/// What an evaluation gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// Each configuration asked for, or why there is none.
    pub configurations: BTreeMap<Attribute, Result<Configuration, AttributeError>>,
    /// The inventory, if the flake has `cimConfigurations` to take it. `None` means that another
    /// inventory would have given the same.
    pub inventory: Option<InventoryHash>,
    /// What it took.
    pub stats: EvaluationStats,
}

/// What an evaluation took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvaluationStats {
    /// Runs of the evaluator.
    pub runs: u32,
    /// Those that were stopped because of their memory.
    pub stopped: u32,
    /// The most resident memory that one run was seen to hold, in bytes.
    pub peak_memory: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_names_cannot_leave_a_nix_string() {
        assert!("host1.core-a_b".parse::<Attribute>().is_ok());
        for evil in ["", "a\"b", "${x}", "a b", "a\\", "a'"] {
            assert!(evil.parse::<Attribute>().is_err(), "{evil}");
        }
    }
}
