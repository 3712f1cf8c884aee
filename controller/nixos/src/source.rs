//! Where a configuration comes from: a flake in a git repository, asked for by branch or revision,
//! and what it is once locked.

mod access;
mod resolve;
mod url;

pub use self::access::{Access, Credentials, KnownHosts, Password};
pub(crate) use self::resolve::{input_error, one_line};

use std::fmt::{self, Display};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

pub use self::url::FlakeUrl;
use crate::error::ParseError;

/// What is asked for: a flake and the point in its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The flake.
    pub url: FlakeUrl,
    /// The point in its history.
    pub at: At,
}

/// A point in the history of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// Whatever the repository's `HEAD` names. With `git+file` this is the working tree, which must
    /// have no uncommitted changes.
    Default,
    /// A branch or tag; it moves, so it is asked for anew at each resolution.
    Ref(GitRef),
    /// A commit. `on` names a branch that contains it, where it is not the default one.
    Rev {
        /// The commit.
        rev: Rev,
        /// The branch on which to look for it.
        on: Option<GitRef>,
    },
}

impl Source {
    /// Reads a flake URL with the branch and revision given beside it, as in a Cluster's
    /// `spec.source`. `?ref=` and `?rev=` within the URL count as well.
    ///
    /// # Errors
    /// When the URL is none that can be locked, or when URL and argument contradict each other.
    pub fn parse(url: &str, branch: Option<&str>, rev: Option<&str>) -> Result<Self, ParseError> {
        let (url, in_url) = FlakeUrl::parse_with_query(url)?;
        let branch: Option<GitRef> = agree("branch", in_url.reference.as_deref(), branch)?;
        let rev: Option<Rev> = agree("revision", in_url.rev.as_deref(), rev)?;
        let at = match (rev, branch) {
            (Some(rev), on) => At::Rev { rev, on },
            (None, Some(branch)) => At::Ref(branch),
            (None, None) => At::Default,
        };
        Ok(Self { url, at })
    }

    /// The reference that Nix is given, with the point in history in the query.
    pub(crate) fn reference(&self) -> String {
        match &self.at {
            At::Default => self.url.with_query(None, None),
            At::Ref(name) => self.url.with_query(Some(name), None),
            At::Rev { rev, on } => self.url.with_query(on.as_ref(), Some(rev)),
        }
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reference())
    }
}

fn agree<T: FromStr<Err = ParseError>>(
    what: &'static str,
    in_url: Option<&str>,
    beside: Option<&str>,
) -> Result<Option<T>, ParseError> {
    match (in_url, beside) {
        (Some(a), Some(b)) if a != b => {
            Err(ParseError::new(what, &format!("{a} in the URL, {b} beside it"), "one of them"))
        }
        (a, b) => a.or(b).map(str::parse).transpose(),
    }
}

/// A flake pinned for good: the URL alone fetches exactly this content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockedSource {
    /// The flake URL with `rev` (and `ref` where the commit is not on the default branch).
    pub url: String,
    /// The commit.
    pub rev: Rev,
    /// The hash over the flake's source tree.
    pub nar_hash: NarHash,
}

/// A git commit: 40 hexadecimal digits (SHA-1), or 64 (SHA-256 repositories).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rev(String);

impl Rev {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl FromStr for Rev {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if matches!(text.len(), 40 | 64) && text.bytes().all(is_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new("git revision", text, "all 40 or 64 digits of 0-9 a-f"))
        }
    }
}

/// A branch (`main`), or a full reference name (`refs/tags/v1`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitRef(String);

impl GitRef {
    /// As given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full name: a bare one is a branch, as Nix has it.
    pub fn full(&self) -> String {
        if self.0.starts_with("refs/") || self.0 == "HEAD" {
            self.0.clone()
        } else {
            format!("refs/heads/{}", self.0)
        }
    }
}

impl FromStr for GitRef {
    type Err = ParseError;

    /// The rules of git-check-ref-format(1), restricted to characters that need no quoting
    /// anywhere.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._/+@-".contains(&b);
        let is_component = |part: &str| {
            !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none()
        };
        let accepted = (1..=255).contains(&text.len())
            && text.bytes().all(is_plain)
            && text.split('/').all(is_component)
            && !text.starts_with('-')
            && !text.ends_with('.')
            && !text.contains("..")
            && text != "@";
        if accepted {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new("git branch", text, "main, or refs/tags/v1"))
        }
    }
}

/// The hash over an unpacked tree, in SRI form: `sha256-<base 64 of 32 bytes>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NarHash(String);

impl NarHash {
    /// In SRI form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NarHash {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let is_sha256 = text
            .strip_prefix("sha256-")
            .and_then(|hash| STANDARD.decode(hash).ok())
            .is_some_and(|bytes| bytes.len() == 32);
        if is_sha256 {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new("NAR hash", text, "sha256-<base 64 of 32 bytes>"))
        }
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = ParseError;
            fn try_from(text: String) -> Result<Self, ParseError> {
                text.parse()
            }
        }
    )*};
}
as_text!(Rev, GitRef, NarHash);

#[cfg(test)]
mod tests {
    use super::*;

    const REV: &str = "4efca76eb731711a51effb354be563066c7b450b";

    #[test]
    fn branch_and_revision_may_stand_in_the_url_or_beside_it() {
        let in_url = format!("git+https://git.example.com/infra?ref=main&rev={REV}");
        let beside = Source::parse("git+https://git.example.com/infra", Some("main"), Some(REV));
        assert_eq!(Source::parse(&in_url, None, None).unwrap(), beside.unwrap());
        assert!(Source::parse(&in_url, Some("main"), None).is_ok());
        let error = Source::parse(&in_url, Some("other"), None).unwrap_err();
        assert!(error.to_string().contains("main in the URL, other beside it"), "{error}");
    }

    #[test]
    fn a_short_or_upper_case_revision_is_refused() {
        assert!(REV.parse::<Rev>().is_ok());
        assert!(REV[..39].parse::<Rev>().is_err());
        assert!(REV.to_uppercase().parse::<Rev>().is_err());
    }

    #[test]
    fn a_branch_that_git_or_a_command_line_would_misread_is_refused() {
        for good in ["main", "release/25.05", "refs/tags/v1.0", "HEAD"] {
            assert!(good.parse::<GitRef>().is_ok(), "{good}");
        }
        for evil in
            ["", "--upload-pack=x", "a..b", "a b", "a/.b", "a.lock", "a//b", "/a", "a/", "@"]
        {
            assert!(evil.parse::<GitRef>().is_err(), "{evil}");
        }
        assert_eq!("main".parse::<GitRef>().unwrap().full(), "refs/heads/main");
        assert_eq!("refs/tags/v1".parse::<GitRef>().unwrap().full(), "refs/tags/v1");
    }

    #[test]
    fn a_nar_hash_is_sha256_of_the_right_length() {
        let good = "sha256-aVSY/TASFLuZlot6o8KdD5sZF8vuiNvbT/TlLijOJHs=";
        assert!(good.parse::<NarHash>().is_ok());
        assert!(good.replace("sha256", "sha1").parse::<NarHash>().is_err());
        assert!("sha256-AAAA".parse::<NarHash>().is_err());
        assert!("".parse::<NarHash>().is_err());
    }
}
