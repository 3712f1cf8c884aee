//! What was approved, and whether what was evaluated is the same.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{NarHash, Rev, StorePath};

/// What a flake at one revision comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The commit.
    pub rev: Rev,
    /// The hash of the source tree.
    pub nar_hash: NarHash,
    /// The toplevel of each configuration, by its name in `nixosConfigurations`.
    pub configurations: BTreeMap<String, StorePath>,
    /// The closure of each service, by its name.
    pub services: BTreeMap<String, StorePath>,
}

/// What somebody approved.
pub type Approved = Content;
/// What the receiving Cluster evaluated.
pub type Evaluated = Content;

/// One way in which what was evaluated is not what was approved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Another commit.
    Rev {
        /// The approved one.
        approved: Rev,
        /// The evaluated one.
        evaluated: Rev,
    },
    /// Another source tree.
    NarHash {
        /// The approved one.
        approved: NarHash,
        /// The evaluated one.
        evaluated: NarHash,
    },
    /// A configuration of both with another toplevel.
    Configuration {
        /// Its name.
        name: String,
        /// The approved toplevel.
        approved: StorePath,
        /// The evaluated toplevel.
        evaluated: StorePath,
    },
    /// A service with another closure, or one that nobody approved.
    Service {
        /// Its name.
        name: String,
        /// The approved closure; `None` if the approval does not know the service.
        approved: Option<StorePath>,
        /// The evaluated closure.
        evaluated: StorePath,
    },
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rev { approved, evaluated } => {
                write!(f, "rev: approved {approved}, evaluated {evaluated}")
            }
            Self::NarHash { approved, evaluated } => {
                write!(f, "narHash: approved {approved}, evaluated {evaluated}")
            }
            Self::Configuration { name, approved, evaluated } => {
                write!(f, "configuration {name}: approved {approved}, evaluated {evaluated}")
            }
            Self::Service { name, approved: Some(approved), evaluated } => {
                write!(f, "service {name}: approved {approved}, evaluated {evaluated}")
            }
            Self::Service { name, approved: None, evaluated } => {
                write!(f, "service {name}: not approved, evaluated {evaluated}")
            }
        }
    }
}

/// In what `evaluated` is not what was `approved`; empty if it may be delivered.
///
/// Commit and source tree must be the same. A configuration that both have must have the same
/// toplevel: the machines of another Cluster may have configurations of their own, and lack those of
/// this one. Every service that is evaluated must have been approved, with the same closure; one that
/// was approved and is not used here is no difference.
pub fn compare(approved: &Approved, evaluated: &Evaluated) -> Vec<Difference> {
    let mut differences = Vec::new();
    if approved.rev != evaluated.rev {
        differences.push(Difference::Rev {
            approved: approved.rev.clone(),
            evaluated: evaluated.rev.clone(),
        });
    }
    if approved.nar_hash != evaluated.nar_hash {
        differences.push(Difference::NarHash {
            approved: approved.nar_hash.clone(),
            evaluated: evaluated.nar_hash.clone(),
        });
    }
    for (name, path) in &evaluated.configurations {
        if let Some(before) = approved.configurations.get(name).filter(|before| *before != path) {
            differences.push(Difference::Configuration {
                name: name.clone(),
                approved: before.clone(),
                evaluated: path.clone(),
            });
        }
    }
    for (name, path) in &evaluated.services {
        let before = approved.services.get(name);
        if before != Some(path) {
            differences.push(Difference::Service {
                name: name.clone(),
                approved: before.cloned(),
                evaluated: path.clone(),
            });
        }
    }
    differences
}

/// The id of a release, in SRI form: `sha256-<base 64 of 32 bytes>`.
///
/// It is the SHA-256 over these lines, each ended by a line feed, those of a kind sorted by the bytes
/// of the name. Names and the inventory's hash are written as JSON strings; without an inventory its
/// line is missing:
///
/// ```text
/// cim-release 1
/// rev <40 or 64 digits>
/// narHash sha256-<base 64>
/// inventory "<hash>"
/// configuration "<name>" /nix/store/…
/// service "<name>" /nix/store/…
/// ```
///
/// So what a release comes to is part of its id, and not only where it came from.
pub fn digest(content: &Content, inventory_hash: Option<&str>) -> String {
    let Content { rev, nar_hash, configurations, services } = content;
    let mut hasher = Sha256::new();
    let mut line = |line: String| {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    };
    line("cim-release 1".to_owned());
    line(format!("rev {rev}"));
    line(format!("narHash {nar_hash}"));
    if let Some(hash) = inventory_hash {
        line(format!("inventory {}", quoted(hash)));
    }
    for (name, path) in configurations {
        line(format!("configuration {} {path}", quoted(name)));
    }
    for (name, path) in services {
        line(format!("service {} {path}", quoted(name)));
    }
    format!("sha256-{}", STANDARD.encode(hasher.finalize()))
}

/// A text that cannot be taken for two, or for the end of a line.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> StorePath {
        format!("/nix/store/{}-{name}", "0".repeat(32)).parse().unwrap()
    }

    fn map(names: &[(&str, &str)]) -> BTreeMap<String, StorePath> {
        names.iter().map(|(name, to)| ((*name).to_owned(), path(to))).collect()
    }

    fn content() -> Content {
        Content {
            rev: "1".repeat(40).parse().unwrap(),
            nar_hash: format!("sha256-{}", STANDARD.encode([7; 32])).parse().unwrap(),
            configurations: map(&[("host1", "system1"), ("host2", "system2")]),
            services: map(&[("dns", "dns1"), ("web", "web1")]),
        }
    }

    #[test]
    fn the_same_is_no_difference() {
        assert_eq!(compare(&content(), &content()), vec![]);
    }

    #[test]
    fn a_part_is_no_difference_and_neither_is_a_configuration_of_ones_own() {
        let mut evaluated = content();
        evaluated.services.remove("dns");
        evaluated.configurations = map(&[("host2", "system2"), ("host9", "system9")]);
        assert_eq!(compare(&content(), &evaluated), vec![]);
    }

    #[test]
    fn each_difference_names_both_sides() {
        let mut evaluated = content();
        evaluated.rev = "2".repeat(40).parse().unwrap();
        evaluated.nar_hash = format!("sha256-{}", STANDARD.encode([8; 32])).parse().unwrap();
        evaluated.configurations = map(&[("host1", "other")]);
        evaluated.services = map(&[("mail", "mail1"), ("web", "web2")]);
        let zeros = "0".repeat(32);
        let said: Vec<String> =
            compare(&content(), &evaluated).iter().map(ToString::to_string).collect();
        assert_eq!(
            said[0],
            format!("rev: approved {}, evaluated {}", "1".repeat(40), "2".repeat(40))
        );
        assert!(said[1].starts_with("narHash: approved sha256-Bwc"), "{}", said[1]);
        assert_eq!(
            said[2..],
            [
                format!(
                    "configuration host1: approved /nix/store/{zeros}-system1, evaluated /nix/store/{zeros}-other"
                ),
                format!("service mail: not approved, evaluated /nix/store/{zeros}-mail1"),
                format!(
                    "service web: approved /nix/store/{zeros}-web1, evaluated /nix/store/{zeros}-web2"
                ),
            ]
        );
    }

    /// Computed once with `printf … | openssl dgst -sha256 -binary | base64`: an id must not change
    /// from one version of the controller to the next, for every fleet would then roll out again.
    #[test]
    fn the_id_is_the_documented_one() {
        assert_eq!(
            digest(&content(), Some("abc")),
            "sha256-p+hPwpSDIG8fjg8XUzS49VcKtlAcMvfTPGLOBf1P0c4="
        );
    }

    #[test]
    fn every_part_is_part_of_the_id() {
        let mut ids = vec![digest(&content(), None), digest(&content(), Some(""))];
        let mut with = |change: fn(&mut Content)| {
            let mut content = content();
            change(&mut content);
            ids.push(digest(&content, None));
        };
        with(|content| content.rev = "2".repeat(40).parse().unwrap());
        with(|content| {
            content.nar_hash = format!("sha256-{}", STANDARD.encode([8; 32])).parse().unwrap();
        });
        with(|content| content.configurations = map(&[("host1", "system1")]));
        with(|content| std::mem::swap(&mut content.configurations, &mut content.services));
        with(|content| {
            content.services = map(&[("dns", "dns1"), ("web\nservice x", "web1")]);
        });
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
