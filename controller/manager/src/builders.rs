//! The file that lists remote builders.

use std::path::{Path, PathBuf};

use cim_nixos::{Builder, Builders, Error, ParseError, PrivateDir, Target};
use serde::Deserialize;

/// Why the list of builders cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BuildersError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The list, or the key of a builder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not of the form.
    #[error("{}: {source}", path.display())]
    Form {
        /// The list.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// A value is not one that Nix would take.
    #[error(transparent)]
    Value(#[from] Error),
}

impl From<ParseError> for BuildersError {
    fn from(error: ParseError) -> Self {
        Self::Value(error.into())
    }
}

/// The list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct List {
    /// Builds on this machine at the same time; 0 leaves all to the builders.
    #[serde(default)]
    local_jobs: u32,
    builders: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    name: String,
    host: String,
    #[serde(default = "default_port")]
    port: u16,
    user: String,
    key_file: PathBuf,
    host_keys: Vec<String>,
    systems: Vec<String>,
    #[serde(default = "one")]
    max_jobs: u32,
    #[serde(default = "one")]
    speed_factor: u32,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    mandatory_features: Vec<String>,
}

const fn default_port() -> u16 {
    22
}

const fn one() -> u32 {
    1
}

/// Reads the list in `file`; the builders' keys are put into `dir`.
pub fn read(file: &Path, dir: &PrivateDir) -> Result<Builders, BuildersError> {
    let text = contents(file)?;
    let list: List = serde_json::from_str(&text)
        .map_err(|source| BuildersError::Form { path: file.to_owned(), source })?;
    let builders: Vec<Builder> =
        list.builders.into_iter().map(builder).collect::<Result<_, _>>()?;
    Ok(Builders::new(dir, &builders, list.local_jobs)?)
}

fn contents(path: &Path) -> Result<String, BuildersError> {
    std::fs::read_to_string(path)
        .map_err(|source| BuildersError::Read { path: path.to_owned(), source })
}

fn builder(entry: Entry) -> Result<Builder, BuildersError> {
    let key = contents(&entry.key_file)?;
    let host_keys: Result<Vec<_>, ParseError> =
        entry.host_keys.iter().map(|key| key.parse()).collect();
    Ok(Builder {
        name: entry.name,
        target: Target {
            address: entry.host.parse()?,
            port: entry.port,
            user: entry.user.parse()?,
            key: key.parse()?,
            host_keys: host_keys?,
        },
        systems: entry.systems,
        max_jobs: entry.max_jobs,
        speed_factor: entry.speed_factor,
        features: entry.features,
        mandatory_features: entry.mandatory_features,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST_KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJkOxZ6Wm1ibn0JvQ4e1QQ0gzyQzPGmZg0gq0nO1l2dB";
    const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n";

    fn read_list(list: &str) -> Result<Builders, BuildersError> {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = PrivateDir::open(parent.path().join("private")).expect("a private directory");
        let (file, key) = (parent.path().join("builders.json"), parent.path().join("key"));
        std::fs::write(&key, KEY).expect("the key");
        let list = list.replace("KEY", &key.display().to_string()).replace("HOST", HOST_KEY);
        std::fs::write(&file, list).expect("the list");
        read(&file, &dir)
    }

    #[test]
    fn a_list_is_read_and_a_wrong_one_says_where() {
        let builder = r#"{"name": "big", "host": "10.0.0.9", "user": "nix", "keyFile": "KEY",
            "hostKeys": ["HOST"], "systems": ["x86_64-linux"]}"#;
        let list = format!(r#"{{"localJobs": 1, "builders": [{builder}]}}"#);
        assert!(read_list(&list).is_ok());
        let missing = read_list(&list.replace("KEY", "/nonexistent")).expect_err("no key");
        assert!(missing.to_string().contains("/nonexistent"), "{missing}");
        let misspelt = read_list(&list.replace("localJobs", "localjobs")).expect_err("misspelt");
        assert!(misspelt.to_string().contains("localjobs"), "{misspelt}");
        let unpinned = read_list(&list.replace(r#"["HOST"]"#, "[]")).expect_err("unpinned");
        assert!(unpinned.to_string().contains("at least one host key"), "{unpinned}");
    }
}
