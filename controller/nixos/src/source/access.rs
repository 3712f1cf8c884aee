//! Credentials for fetching: how git gets them without anybody else seeing them.
//!
//! Secrets lie in files that only this process's user can read; programs get the files' names, in
//! their environment. No secret is ever an argument, part of a URL, or in the Nix store.

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ::url::Url;

use super::FlakeUrl;
use crate::error::{Error, ParseError};
use crate::private_dir::{PrivateDir, remove, write_private};
use crate::ssh::{HostKey, PrivateKey, STRICT};

/// What a repository asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// For `git+ssh`.
    Ssh {
        /// The key to log in with. The user is in the URL: `git+ssh://git@…`.
        private_key: PrivateKey,
        /// The only keys by which a server is recognised.
        known_hosts: KnownHosts,
    },
    /// For `git+https`, and for `git+http`, which sends them in clear.
    Basic {
        /// The user, for forges with tokens often any name.
        username: String,
        /// A password or token.
        password: Password,
    },
}

/// A password or token.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl FromStr for Password {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        // Secrets often end in the line feed of the editor that wrote them.
        let text = text.trim_end_matches(['\r', '\n']);
        if is_line(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new("password", "(secret)", "1 to 4096 characters in one line"))
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

/// Whether git's credential protocol (git-credential(1)) can carry `text` as a value.
fn is_line(text: &str) -> bool {
    (1..=4096).contains(&text.len()) && !text.contains(['\n', '\r', '\0'])
}

/// Servers and their keys, as in sshd(8) under "SSH_KNOWN_HOSTS FILE FORMAT".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHosts(String);

impl FromStr for KnownHosts {
    type Err = ParseError;

    /// Reads lines of names, algorithm and key, as `ssh-keyscan` writes them. Names may be hashed.
    /// At least one line; empty ones and comments are passed over. Markers (`@cert-authority`) are
    /// refused: a certificate pins no host.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let lines = text.lines().map(str::trim);
        let mut known = Vec::new();
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let wants = "lines as of ssh-keyscan: git.example.com ssh-ed25519 AAAA…";
            let refuse = || ParseError::new("known_hosts", line, wants);
            let (names, key) = line.split_once([' ', '\t']).ok_or_else(refuse)?;
            if names.starts_with('@') {
                return Err(refuse());
            }
            let key: HostKey = key.parse().map_err(|_| refuse())?;
            known.push(format!("{names} {key}\n"));
        }
        if known.is_empty() {
            let wants = "at least one line: without it anybody could answer in the server's place";
            return Err(ParseError::new("known_hosts", text, wants));
        }
        Ok(Self(known.concat()))
    }
}

impl Display for KnownHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Credentials in files, as git and ssh want them. The files live as long as this value.
#[derive(Debug)]
pub struct Access {
    dir: PathBuf,
    /// Names of files, no secrets.
    environment: Vec<(OsString, OsString)>,
}

impl Access {
    /// Writes `credentials` for fetching `url`, and inputs of it from the same server, into files
    /// in `dir`.
    ///
    /// # Errors
    /// [`Error::Parse`] when the URL's transport has no use for such credentials, or a user name
    /// has a line end in it; [`Error::PrivateDir`].
    pub fn new(dir: &PrivateDir, url: &FlakeUrl, credentials: &Credentials) -> Result<Self, Error> {
        let refuse = |wants| ParseError::new("transport", &url.to_string(), wants);
        let parsed = Url::parse(url.repository()).map_err(|_| refuse("a URL"))?;
        let (scheme, origin) = (parsed.scheme(), parsed.origin().ascii_serialization());
        // From here on dropping it removes its files.
        let mut access = Self { dir: dir.access_dir()?, environment: Vec::new() };
        access.environment = match credentials {
            Credentials::Ssh { private_key, known_hosts } => {
                if scheme != "ssh" {
                    return Err(refuse("git+ssh:// with a private key").into());
                }
                access.ssh(private_key, known_hosts)?
            }
            Credentials::Basic { username, password } => {
                if !matches!(scheme, "https" | "http") {
                    return Err(refuse("git+https:// with a user name and password").into());
                }
                if !is_line(username) {
                    let wants = "1 to 4096 characters in one line";
                    return Err(ParseError::new("user name", username, wants).into());
                }
                access.basic(&origin, username, password)?
            }
        };
        Ok(access)
    }

    /// What programs that fetch need to know.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (OsString, OsString)> {
        self.environment.iter().cloned()
    }

    fn ssh(
        &self,
        key: &PrivateKey,
        known_hosts: &KnownHosts,
    ) -> Result<Vec<(OsString, OsString)>, Error> {
        write_private(&self.dir.join("key"), key.expose().as_bytes())?;
        write_private(&self.dir.join("known_hosts"), known_hosts.0.as_bytes())?;
        let config = self.dir.join("config");
        write_private(&config, ssh_config(&self.dir).as_bytes())?;
        let mut command = OsString::from("ssh -F ");
        command.push(config);
        Ok(vec![("GIT_SSH_COMMAND".into(), command), ("GIT_SSH_VARIANT".into(), "ssh".into())])
    }

    /// A helper (gitcredentials(7)) that answers for this server only. git asks it when the server
    /// asks, so the password does not follow a redirection to somebody else.
    fn basic(
        &self,
        origin: &str,
        username: &str,
        password: &Password,
    ) -> Result<Vec<(OsString, OsString)>, Error> {
        let answer = self.dir.join("answer");
        let content = format!("username={username}\npassword={}\n", password.0);
        write_private(&answer, content.as_bytes())?;
        // git would also tell it what to store and to erase.
        let helper = format!("!f() {{ test \"$1\" != get || cat {}; }}; f", answer.display());
        let settings = [
            // Whatever the machine's own configuration would ask comes after ours; so none of it.
            ("credential.helper".to_owned(), String::new()),
            (format!("credential.{origin}.helper"), helper),
        ];
        let mut environment: Vec<(OsString, OsString)> =
            vec![("GIT_CONFIG_COUNT".into(), settings.len().to_string().into())];
        for (n, (key, value)) in settings.into_iter().enumerate() {
            environment.push((format!("GIT_CONFIG_KEY_{n}").into(), key.into()));
            environment.push((format!("GIT_CONFIG_VALUE_{n}").into(), value.into()));
        }
        Ok(environment)
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.dir) {
            tracing::warn!(%error, dir = %self.dir.display(), "credentials not removed");
        }
    }
}

/// No other configuration is read (`ssh -F`), nobody is asked, and only the pinned keys are known.
fn ssh_config(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "\
Host *
  UserKnownHostsFile {dir}/known_hosts
  IdentityFile {dir}/key
  ControlMaster no
{STRICT}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJkOxZ6Wm1ibn0JvQ4e1QQ0gzyQzPGmZg0gq0nO1l2dB";
    const PRIVATE: &str =
        "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----";

    fn basic() -> Credentials {
        let password = "hunter2\n".parse().unwrap();
        Credentials::Basic { username: "ci".to_owned(), password }
    }

    fn ssh() -> Credentials {
        let known_hosts = format!("# by hand\n\ngit.example.com {KEY} root@git\n").parse().unwrap();
        Credentials::Ssh { private_key: PRIVATE.parse().unwrap(), known_hosts }
    }

    #[test]
    fn a_known_host_has_a_name_and_a_key() {
        let known: KnownHosts = format!("[10.0.0.4]:2222 {KEY}\n|1|x=|y= {KEY}").parse().unwrap();
        assert_eq!(known.to_string(), format!("[10.0.0.4]:2222 {KEY}\n|1|x=|y= {KEY}\n"));
        for evil in ["", "# nothing", KEY, "h ssh-ed25519", &format!("@cert-authority * {KEY}")] {
            assert!(evil.parse::<KnownHosts>().is_err(), "{evil}");
        }
    }

    #[test]
    fn secrets_are_in_private_files_and_nowhere_else() {
        let parent = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(parent.path().join("p")).unwrap();
        for (url, credentials, secret) in [
            ("git+https://h.example/r", basic(), "hunter2"),
            ("git+ssh://git@git.example.com/r", ssh(), "c2VjcmV0"),
        ] {
            let access = Access::new(&dir, &url.parse().unwrap(), &credentials).unwrap();
            let shown = format!("{access:?} {credentials:?}");
            assert!(!shown.contains(secret), "{shown}");
            let files: Vec<_> = std::fs::read_dir(&access.dir).unwrap().collect();
            let holds = |file: &std::io::Result<std::fs::DirEntry>| {
                let text = std::fs::read_to_string(file.as_ref().unwrap().path()).unwrap();
                text.contains(secret)
            };
            assert_eq!(files.iter().filter(|file| holds(file)).count(), 1);
            let path = access.dir.clone();
            drop(access);
            assert!(!path.exists(), "its files go with it");
        }
    }

    #[test]
    fn a_password_is_for_its_server_alone() {
        let parent = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(parent.path().join("p")).unwrap();
        let url = "git+https://h.example:8443/r".parse().unwrap();
        let access = Access::new(&dir, &url, &basic()).unwrap();
        let of = |name: &str| {
            let found = access.environment.iter().find(|(key, _)| key == name);
            found.unwrap().1.to_str().unwrap().to_owned()
        };
        assert_eq!(of("GIT_CONFIG_KEY_0"), "credential.helper");
        assert_eq!(of("GIT_CONFIG_KEY_1"), "credential.https://h.example:8443.helper");
    }

    #[test]
    fn credentials_that_the_transport_cannot_use_are_refused() {
        let parent = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(parent.path().join("p")).unwrap();
        for (url, credentials) in [
            ("git+https://h.example/r", ssh()),
            ("git+ssh://git@h.example/r", basic()),
            ("git://h.example/r", basic()),
            ("git+file:///srv/r", ssh()),
        ] {
            let error = Access::new(&dir, &url.parse().unwrap(), &credentials).unwrap_err();
            assert_eq!(error.reason(), "InvalidValue", "{error}");
        }
        let two_lines = Credentials::Basic {
            username: "ci\npassword=other".to_owned(),
            password: "x".parse().unwrap(),
        };
        assert!(Access::new(&dir, &"git+https://h/r".parse().unwrap(), &two_lines).is_err());
        assert!("a\nb".parse::<Password>().is_err());
    }
}
