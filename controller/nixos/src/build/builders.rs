//! Remote builders: other machines on which Nix builds for us, over SSH.
//!
//! Whoever runs a builder decides what ends in closures that we sign. So only declared ones are used,
//! and each is recognised by its pinned key.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, ParseError};
use crate::private_dir::{PrivateDir, remove, write_private};
use crate::source::one_line;
use crate::ssh::{Context, STRICT, Target, failure};

/// One remote builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builder {
    /// What it is called in messages; one of a kind. 1 to 63 of a-z 0-9 -, not beginning with -.
    pub name: String,
    /// How it is reached, as whom, and how it is recognised.
    pub target: Target,
    /// What it builds for: `x86_64-linux`. At least one.
    pub systems: Vec<String>,
    /// Builds at the same time, from 1.
    pub max_jobs: u32,
    /// How fast it is compared with the other builders, from 1.
    pub speed_factor: u32,
    /// `system-features` that it has: `kvm`, `big-parallel`.
    pub features: Vec<String>,
    /// Features without which a build must not go there.
    pub mandatory_features: Vec<String>,
}

/// Remote builders, with their keys in files. The files live as long as this value.
#[derive(Debug)]
pub struct Builders {
    dir: PathBuf,
    /// Names, and the users that they are logged in to as.
    names: Vec<(String, String)>,
    settings: String,
}

impl Builders {
    /// Writes the keys of `builders` into files in `dir`. Up to `local_jobs` builds run on this
    /// machine at the same time; 0 leaves all to the builders.
    ///
    /// # Errors
    /// [`Error::Parse`] for a value that Nix's list of builders cannot hold, for names that are not
    /// unique, for a builder without a host key; [`Error::PrivateDir`].
    pub fn new(dir: &PrivateDir, builders: &[Builder], local_jobs: u32) -> Result<Self, Error> {
        validate(builders)?;
        let lines: Vec<String> = builders.iter().map(line).collect();
        // From here on dropping it removes its files.
        let this = Self {
            dir: dir.builders_dir()?,
            names: builders
                .iter()
                .map(|it| (it.name.clone(), it.target.user.to_string()))
                .collect(),
            // What a builder can fetch from a cache need not come through here.
            settings: format!(
                "builders = {}\nbuilders-use-substitutes = true\nmax-jobs = {local_jobs}\n",
                lines.join(" ; ")
            ),
        };
        let mut known_hosts = String::new();
        for Builder { name, target, .. } in builders {
            write_private(&this.key_file(name), target.key.expose().as_bytes())?;
            for key in &target.host_keys {
                let _ = writeln!(known_hosts, "{name} {key}");
            }
        }
        write_private(&this.dir.join("known_hosts"), known_hosts.as_bytes())?;
        let config = builders.iter().map(|builder| host_section(builder, &this.dir));
        let config = config.chain([common_section(&this.dir)]).collect::<String>();
        write_private(&this.dir.join("config"), config.as_bytes())?;
        Ok(this)
    }

    fn key_file(&self, name: &str) -> PathBuf {
        key_file(&self.dir, name)
    }

    /// Lines of nix.conf(5).
    pub(super) fn settings(&self) -> &str {
        &self.settings
    }

    /// `NIX_SSHOPTS`: split at spaces before Nix 2.26, so it is one option without any.
    pub(super) fn ssh_options(&self) -> OsString {
        let mut options = OsString::from("-F");
        options.push(self.dir.join("config"));
        options
    }

    /// The error of a builder, if that is what `told`, the messages of Nix and ssh about a failed
    /// build, say. `machine` is where the build ran, if it began.
    pub(super) fn lost(&self, derivation: &str, told: &str, machine: &str) -> Option<Error> {
        const LOST: [&str; 11] = [
            "failed to start SSH connection",
            "cannot build on",
            "unexpected end-of-file",
            "Nix daemon disconnected unexpectedly",
            "cannot open connection to remote store",
            "Connection refused",
            "Connection timed out",
            "Connection reset",
            "Connection closed",
            "closed by remote host",
            "not responding",
        ];
        let why = told.lines().find(|line| LOST.iter().any(|text| line.contains(text)))?;
        let is_meant = |(name, _): &&(String, String)| {
            let store = format!("ssh-ng://{name}");
            machine == store || told.contains(&format!("'{store}'"))
        };
        let (builder, user) = self.names.iter().find(is_meant)?;
        // Nix says only that there is no connection; ssh's own words, beside it, may say more.
        let context = Context { host: builder, user, command: "building" };
        match failure(&context, None, told, true) {
            error @ (Error::HostKeyMismatch { .. } | Error::AuthFailed { .. }) => Some(error),
            _ => Some(Error::BuilderLost {
                builder: builder.clone(),
                derivation: derivation.to_owned(),
                why: one_line(why),
            }),
        }
    }
}

impl Drop for Builders {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.dir) {
            tracing::warn!(%error, dir = %self.dir.display(), "keys of builders not removed");
        }
    }
}

fn validate(builders: &[Builder]) -> Result<(), ParseError> {
    let mut names = BTreeSet::new();
    for builder in builders {
        let refuse = |got: &str, wants| Err(ParseError::new("builder", got, wants));
        let name = builder.name.as_str();
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=63).contains(&name.len()) || !name.bytes().all(is_plain) || name.starts_with('-') {
            return refuse(name, "a name of 1 to 63 of a-z 0-9 -, not beginning with -");
        }
        if !names.insert(name) {
            return refuse(name, "each name once");
        }
        if builder.target.host_keys.is_empty() {
            return refuse(name, "at least one host key");
        }
        if builder.max_jobs == 0 || builder.speed_factor == 0 {
            return refuse(name, "max_jobs and speed_factor from 1");
        }
        if builder.systems.is_empty() {
            return refuse(name, "at least one system: x86_64-linux");
        }
        let words = [&builder.systems, &builder.features, &builder.mandatory_features];
        if let Some(word) = words.into_iter().flatten().find(|word| !is_word(word)) {
            return refuse(word, "systems and features of A-Z a-z 0-9 _ . -");
        }
    }
    Ok(())
}

/// Whether `text` can stand in a list of Nix's builders without meaning something there: a lone
/// dash is the default, commas, spaces and semicolons separate, @ names a file.
fn is_word(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(is_plain) && !text.starts_with('-')
}

/// A builder as nix.conf(5) has it: URL, systems, key, jobs, speed, features, mandatory features.
/// Key and user are in ssh's configuration, where the address stands behind the name.
fn line(builder: &Builder) -> String {
    let list = |words: &[String]| {
        if words.is_empty() { "-".to_owned() } else { words.join(",") }
    };
    format!(
        "ssh-ng://{} {} - {} {} {} {}",
        builder.name,
        builder.systems.join(","),
        builder.max_jobs,
        builder.speed_factor,
        list(&builder.features),
        list(&builder.mandatory_features),
    )
}

fn key_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("key-{name}"))
}

fn host_section(Builder { name, target, .. }: &Builder, dir: &Path) -> String {
    let (address, port, user) = (target.address.for_config(), target.port, &target.user);
    let key = key_file(dir, name);
    format!(
        "\
Host {name}
  HostName {address}
  Port {port}
  User {user}
  HostKeyAlias {name}
  IdentityFile {}
",
        key.display()
    )
}

/// The server is asked often whether it is there: a build is silent for hours, and one on a builder
/// that died would wait for its deadline.
fn common_section(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "\
Host *
  UserKnownHostsFile {dir}/known_hosts
  ControlMaster no
{STRICT}"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJkOxZ6Wm1ibn0JvQ4e1QQ0gzyQzPGmZg0gq0nO1l2dB";

    fn builder(name: &str) -> Builder {
        Builder {
            name: name.to_owned(),
            target: Target {
                address: "10.0.0.5".parse().unwrap(),
                port: 2222,
                user: "nix".parse().unwrap(),
                key: "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----"
                    .parse()
                    .unwrap(),
                host_keys: vec![KEY.parse().unwrap()],
            },
            systems: vec!["x86_64-linux".to_owned(), "i686-linux".to_owned()],
            max_jobs: 4,
            speed_factor: 2,
            features: vec!["kvm".to_owned()],
            mandatory_features: vec![],
        }
    }

    #[test]
    fn settings_name_builders_and_only_files_hold_their_keys() {
        let parent = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(parent.path().join("p")).unwrap();
        let builders = Builders::new(&dir, &[builder("one"), builder("two")], 0).unwrap();
        assert_eq!(
            builders.settings(),
            "builders = ssh-ng://one x86_64-linux,i686-linux - 4 2 kvm - ; \
             ssh-ng://two x86_64-linux,i686-linux - 4 2 kvm -\n\
             builders-use-substitutes = true\nmax-jobs = 0\n"
        );
        let config = fs::read_to_string(builders.dir.join("config")).unwrap();
        assert!(config.contains("Host two\n  HostName 10.0.0.5\n  Port 2222\n"), "{config}");
        let known = fs::read_to_string(builders.dir.join("known_hosts")).unwrap();
        assert_eq!(known, format!("one {KEY}\ntwo {KEY}\n"));
        assert!(!format!("{builders:?} {config}").contains("c2VjcmV0"));
        let path = builders.dir.clone();
        drop(builders);
        assert!(!path.exists());
    }

    /// As Nix 2.26.3 and OpenSSH 10.0 said it, shortened.
    #[test]
    fn a_lost_builder_is_told_from_a_failed_build() {
        let parent = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(parent.path().join("p")).unwrap();
        let builders = Builders::new(&dir, &[builder("one"), builder("two")], 0).unwrap();
        let error = |told: &str, machine: &str| builders.lost("/nix/store/a.drv", told, machine);

        let died = "error: Nix daemon disconnected unexpectedly (maybe it crashed?)\n\
                    error: builder for '/nix/store/a.drv' failed with exit code 1";
        let told = error(died, "ssh-ng://two").unwrap();
        assert!(told.is_transient());
        let wanted = "builder two was lost while /nix/store/a.drv was to be built: \
                      Nix daemon disconnected unexpectedly (maybe it crashed?)";
        assert_eq!(told.to_string(), wanted);

        let down = "cannot build on 'ssh-ng://one': error: failed to start SSH connection to 'one'\n\
                    error:\n  Unable to start any build;";
        assert_eq!(error(down, "").unwrap().reason(), "BuilderLost");
        let key = format!("{down}\nHost key verification failed.\r");
        assert_eq!(error(&key, "").unwrap().reason(), "HostKeyMismatch");
        let denied = format!("{down}\nnix@10.0.0.5: Permission denied (publickey).");
        assert_eq!(error(&denied, "").unwrap().reason(), "AuthFailed");

        let failed = "error: builder for '/nix/store/a.drv' failed with exit code 1";
        assert!(error(failed, "ssh-ng://two").is_none());
        assert!(error("error: unexpected end-of-file", "").is_none(), "of no builder");
    }

    #[test]
    fn what_would_mean_something_else_in_the_list_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(parent.path().join("p")).unwrap();
        let change = |change: fn(&mut Builder)| {
            let mut builder = builder("one");
            change(&mut builder);
            builder
        };
        for evil in [
            change(|it| it.name = "a b".to_owned()),
            change(|it| it.name = "-oProxyCommand=x".to_owned()),
            change(|it| it.name = "a;b".to_owned()),
            change(|it| it.systems = vec![]),
            change(|it| it.systems = vec!["x ; ssh-ng://evil".to_owned()]),
            change(|it| it.features = vec!["a,b".to_owned()]),
            change(|it| it.mandatory_features = vec!["-".to_owned()]),
            change(|it| it.max_jobs = 0),
            change(|it| it.target.host_keys = vec![]),
        ] {
            assert!(Builders::new(&dir, std::slice::from_ref(&evil), 1).is_err(), "{evil:?}");
        }
        assert!(Builders::new(&dir, &[builder("one"), builder("one")], 1).is_err());
    }
}
