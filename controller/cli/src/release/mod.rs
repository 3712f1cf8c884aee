//! Releases as people handle them: what one is made of, what another would change, which one is meant,
//! and who receives it. Nothing here asks the API server.

pub(crate) mod choice;
pub(crate) mod difference;
pub(crate) mod past;
pub(crate) mod path;
pub(crate) mod refusal;

use std::collections::BTreeMap;

use cim_crds::cluster::release::{NamedPath, Release};

use self::refusal::Refusal;

/// How much of a commit is shown.
const SHORT_REV: usize = 12;
/// How much of a digest is shown, behind `sha256-`.
const SHORT_DIGEST: usize = 10;

/// The first characters of a commit.
pub(crate) fn short_rev(rev: &str) -> &str {
    rev.get(..SHORT_REV).unwrap_or(rev)
}

/// The first characters of a digest.
pub(crate) fn short_digest(digest: &str) -> String {
    let (kind, hash) = digest.split_once('-').unwrap_or(("", digest));
    match hash.get(..SHORT_DIGEST) {
        Some(head) if !kind.is_empty() => format!("{kind}-{head}"),
        _ => digest.to_owned(),
    }
}

/// The toplevel of each configuration in a release.
pub(crate) fn configurations(release: &Release) -> Result<BTreeMap<&str, &str>, Refusal> {
    let mut paths = BTreeMap::new();
    for machine in &release.machines {
        let Some(path) = machine.out_path.as_deref() else { continue };
        let configuration = match machine.configuration.as_str() {
            "" => machine.name.as_str(),
            configuration => configuration,
        };
        match paths.insert(configuration, path) {
            Some(other) if other != path => {
                return Err(Refusal::TwoClosures {
                    configuration: configuration.to_owned(),
                    paths: [other.to_owned(), path.to_owned()],
                });
            }
            _ => {}
        }
    }
    Ok(paths)
}

/// The closure of each service in a release.
pub(crate) fn services(release: &Release) -> BTreeMap<&str, &str> {
    release.services.iter().map(|it| (it.name.as_str(), it.out_path.as_str())).collect()
}

/// Store paths by name, as a manifest has them.
pub(crate) fn named(paths: &BTreeMap<&str, &str>) -> Vec<NamedPath> {
    let named = |(name, path): (&&str, &&str)| NamedPath {
        name: (*name).to_owned(),
        out_path: (*path).to_owned(),
    };
    paths.iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use cim_crds::cluster::release::ReleaseMachine;

    use super::*;

    fn machine(name: &str, configuration: &str, path: Option<&str>) -> ReleaseMachine {
        ReleaseMachine {
            name: name.to_owned(),
            configuration: configuration.to_owned(),
            out_path: path.map(str::to_owned),
            ..ReleaseMachine::default()
        }
    }

    #[test]
    fn machines_of_one_configuration_count_once() {
        let web = |name| machine(name, "web", Some("/nix/store/a-web"));
        let mut release = Release {
            machines: vec![web("host1"), web("host2"), machine("host3", "", Some("/nix/store/b"))],
            ..Release::default()
        };
        let paths = BTreeMap::from([("host3", "/nix/store/b"), ("web", "/nix/store/a-web")]);
        assert_eq!(configurations(&release).unwrap(), paths);
        release.machines.push(machine("host4", "web", Some("/nix/store/c-web")));
        assert!(configurations(&release).is_err());
    }

    #[test]
    fn hashes_are_shortened_and_odd_ones_left_alone() {
        assert_eq!(short_rev("0123456789012345678901234567890123456789"), "012345678901");
        assert_eq!(short_rev("0123"), "0123");
        assert_eq!(short_digest("sha256-abcdefghijklmnop"), "sha256-abcdefghij");
        assert_eq!(short_digest("odd"), "odd");
    }
}
