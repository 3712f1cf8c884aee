//! Whom to reach, as whom, and how to be sure that it is the right one.

use std::fmt::{self, Display};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::ParseError;

/// A machine and the credentials for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Address or name of the machine.
    pub address: Address,
    /// Port of its sshd, 22 by default.
    pub port: u16,
    /// The deploy user.
    pub user: User,
    /// The deploy user's private key.
    pub key: PrivateKey,
    /// The keys by which the machine is recognised; at least one.
    pub host_keys: Vec<HostKey>,
}

/// An IP address or host name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl FromStr for Address {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        // `:` and `%` for IPv6 with a zone.
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._:%-".contains(&b);
        let starts_well =
            text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b':');
        // ssh expands % in HostName; a zone is the only use for it.
        let zone_only = !text.contains('%') || (text.contains(':') && !text.ends_with('%'));
        if starts_well && zone_only && text.len() <= 253 && text.bytes().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new("SSH host", text, "an IP address or host name"))
        }
    }
}

impl Address {
    /// As `HostName` in ssh_config(5), where `%` begins a token.
    pub(crate) fn for_config(&self) -> String {
        self.0.replace('%', "%%")
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A Unix user name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User(String);

impl FromStr for User {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let starts_well = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if starts_well && text.len() <= 32 && text.bytes().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new("SSH user", text, "a Unix user name: deploy"))
        }
    }
}

impl Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A public host key: `ssh-ed25519 AAAA…`, as in `/etc/ssh/ssh_host_ed25519_key.pub`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    algorithm: String,
    key: String,
}

impl FromStr for HostKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        let refuse = || {
            let wants = "algorithm and base 64 as in ssh_host_ed25519_key.pub: ssh-ed25519 AAAA…";
            ParseError::new("SSH host key", text, wants)
        };
        let mut words = text.split_ascii_whitespace();
        let (algorithm, key) = words.next().zip(words.next()).ok_or_else(refuse)?;
        let blob = STANDARD.decode(key).map_err(|_| refuse())?;
        // The blob begins with the algorithm as an SSH string (RFC 4253 §6.6), which proves that
        // this is a key and which one.
        let (length, rest) = blob.split_first_chunk::<4>().ok_or_else(refuse)?;
        let named = usize::try_from(u32::from_be_bytes(*length)).ok().and_then(|n| rest.get(..n));
        if named == Some(algorithm.as_bytes()) && !text.contains('\n') {
            Ok(Self { algorithm: algorithm.to_owned(), key: key.to_owned() })
        } else {
            Err(refuse())
        }
    }
}

impl Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, self.key)
    }
}

/// A private key in OpenSSH's or PEM form, without a passphrase.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(String);

impl PrivateKey {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for PrivateKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        let framed = text.starts_with("-----BEGIN ") && text.ends_with(" PRIVATE KEY-----");
        if framed && !text.contains("ENCRYPTED") {
            // ssh refuses a key file without a final line end.
            Ok(Self(format!("{text}\n")))
        } else {
            let wants = "-----BEGIN OPENSSH PRIVATE KEY----- …, without a passphrase";
            Err(ParseError::new("SSH private key", "(secret)", wants))
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJkOxZ6Wm1ibn0JvQ4e1QQ0gzyQzPGmZg0gq0nO1l2dB root@h";

    #[test]
    fn a_host_key_is_what_it_says_it_is() {
        let key: HostKey = format!("{KEY}\n").parse().unwrap();
        assert_eq!(key.to_string(), KEY.rsplit_once(' ').unwrap().0);
        for evil in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            &KEY.replace("ssh-ed25519 ", "ssh-rsa "),
            &format!("{KEY}\n* ssh-rsa AAAA"),
            "@cert-authority * ssh-ed25519 AAAA",
        ] {
            assert!(evil.parse::<HostKey>().is_err(), "{evil}");
        }
    }

    #[test]
    fn addresses_and_users_cannot_become_options_or_lines() {
        for good in ["10.0.0.11", "host1.core.example.com", "fe80::1%eth0", "::1"] {
            assert!(good.parse::<Address>().is_ok(), "{good}");
        }
        for evil in ["", "-oProxyCommand=x", "a b", "a\nProxyCommand x", "host%h", "a/b"] {
            assert!(evil.parse::<Address>().is_err(), "{evil}");
        }
        for evil in ["", "-l", "a b", "root\nx", "a@b"] {
            assert!(evil.parse::<User>().is_err(), "{evil}");
        }
    }

    #[test]
    fn a_private_key_is_never_shown() {
        let text =
            "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----";
        let key: PrivateKey = text.parse().unwrap();
        assert!(!format!("{key:?}").contains("c2VjcmV0"));
        let error = "c2VjcmV0".parse::<PrivateKey>().unwrap_err();
        assert!(!format!("{error:?} {error}").contains("c2VjcmV0"));
    }
}
