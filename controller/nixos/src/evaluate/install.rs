//! What a first install of a machine takes beside its closure.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Attribute, Toplevel};
use crate::error::ParseError;

/// The configurations whose machines are to be installed, each with the output of the flake that is
/// the installer for a kexec, if one is named.
pub type Installs = BTreeMap<Attribute, Option<FlakeOutput>>;

/// What a configuration gives for a first install. From the same revision and inventory as its
/// closure, so that whoever approved that approved this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InstallParts {
    /// `config.system.build.diskoScript`; `None` for a configuration without the disko module.
    pub layout: Option<Toplevel>,
    /// The devices that the layout names: `config.disko.devices.disk.*.device`.
    pub disks: Vec<String>,
    /// The installer for a kexec; `None` where none was named, or the flake has no such output.
    pub kexec: Option<Toplevel>,
}

/// The path of an output of a flake: `packages.x86_64-linux.kexec-installer`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlakeOutput(String);

impl FlakeOutput {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

impl FromStr for FlakeOutput {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-'".contains(&b);
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(is_plain);
        if text.len() <= 253 && text.split('.').all(is_name) {
            Ok(Self(text.to_owned()))
        } else {
            let wants = "names joined by dots, such as packages.x86_64-linux.kexec-installer";
            Err(ParseError::new("output of a flake", text, wants))
        }
    }
}

impl Display for FlakeOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_a_path_of_plain_names() {
        let output: FlakeOutput = "packages.x86_64-linux.kexec".parse().unwrap();
        assert_eq!(output.names().collect::<Vec<_>>(), ["packages", "x86_64-linux", "kexec"]);
        for evil in ["", ".", "a..b", "a.${x}", "a.\"b\"", "a b"] {
            assert!(evil.parse::<FlakeOutput>().is_err(), "{evil}");
        }
    }
}
