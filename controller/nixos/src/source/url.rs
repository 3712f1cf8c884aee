//! Flake URLs that can be locked: git over its own protocol, HTTP, SSH, or from a local path.

use std::fmt::{self, Display};
use std::str::FromStr;

use ::url::Url;

use super::{GitRef, Rev};
use crate::error::ParseError;

const WANTS: &str =
    "git+https://, git+ssh://, git+http://, git:// or git+file:/// with the path of a repository";

/// A flake in a git repository, without the point in its history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlakeUrl {
    /// As git understands it: `https://git.example.com/infra`.
    git: String,
    /// Query parameters that choose content and are passed on: `dir`, `submodules`, …
    options: Options,
}

type Options = Vec<(String, String)>;

/// `ref` and `rev` as found in the query.
#[derive(Debug, Default)]
pub(super) struct InUrl {
    pub(super) reference: Option<String>,
    pub(super) rev: Option<String>,
}

impl FlakeUrl {
    /// The repository as git understands it.
    pub fn repository(&self) -> &str {
        &self.git
    }

    /// Whether this is a local path, whose working tree may have uncommitted changes.
    pub fn is_local(&self) -> bool {
        self.git.starts_with("file://")
    }

    pub(super) fn parse_with_query(text: &str) -> Result<(Self, InUrl), ParseError> {
        let refuse = |wants| ParseError::new("flake URL", &without_userinfo(text), wants);
        if text.len() > 2048 || text.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err(refuse("at most 2048 visible ASCII characters; percent-encode others"));
        }
        // What ends up in a Nix expression must have no character that means something there.
        if text.contains(['"', '\\', '$', '{', '}', '`', '\'']) {
            return Err(refuse("quotes, backslash, $ and braces percent-encoded"));
        }
        let inner = match text.split_once(':') {
            Some(("git+https" | "git+http" | "git+ssh" | "git+file" | "git+git", _)) => {
                text.trim_start_matches("git+")
            }
            Some(("git", _)) => text,
            _ => return Err(refuse(WANTS)),
        };
        let mut url = Url::parse(inner).map_err(|_| refuse(WANTS))?;
        if url.fragment().is_some() {
            return Err(refuse("no #fragment: the attribute is named by each machine"));
        }
        // A token is often given in the place of the user; only SSH has users that are no secret.
        if url.password().is_some() || (!url.username().is_empty() && url.scheme() != "ssh") {
            return Err(refuse("no credentials in the URL: they belong in a Secret"));
        }
        // git itself refuses a host that looks like an option; so do we, before anything runs.
        let host = url.host_str().unwrap_or_default();
        if host.starts_with('-') || (host.is_empty() && url.scheme() != "file") {
            return Err(refuse("a host name behind ://"));
        }
        if url.path().len() < 2 {
            return Err(refuse("the path of a repository behind the host"));
        }
        let (options, in_url) = split_query(&url).map_err(refuse)?;
        url.set_query(None);
        Ok((Self { git: url.into(), options }, in_url))
    }

    /// The reference that Nix is given.
    pub(super) fn with_query(&self, reference: Option<&GitRef>, rev: Option<&Rev>) -> String {
        // `git+git:` is unknown to Nix; the git protocol has its scheme to itself.
        let prefix = if self.git.starts_with("git://") { "" } else { "git+" };
        let mut query = ::url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.options {
            query.append_pair(name, value);
        }
        if let Some(reference) = reference {
            query.append_pair("ref", reference.as_str());
        }
        if let Some(rev) = rev {
            query.append_pair("rev", rev.as_str());
        }
        let query = query.finish();
        let separator = if query.is_empty() { "" } else { "?" };
        format!("{prefix}{}{separator}{query}", self.git)
    }
}

/// For messages: whoever puts a password where it does not belong should not find it in a log.
fn without_userinfo(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://…@{host}"),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    }
}

/// Nix hands parameters that it does not know on to git as part of the address, `narHash` among
/// them: what looks like a pin would pin nothing. So only known ones pass.
fn split_query(url: &Url) -> Result<(Options, InUrl), &'static str> {
    let mut options = Options::new();
    let mut in_url = InUrl::default();
    for (name, value) in url.query_pairs() {
        match &*name {
            "ref" => in_url.reference = Some(value.into_owned()),
            "rev" => in_url.rev = Some(value.into_owned()),
            "dir" if value.split('/').any(|part| part == "..") => {
                return Err("a ?dir= within the repository");
            }
            "dir" | "submodules" | "shallow" | "allRefs" | "lfs" => {
                options.push((name.into_owned(), value.into_owned()));
            }
            "narHash" => return Err("no ?narHash=: Nix ignores it here; state it beside the URL"),
            _ => return Err("only ref, rev, dir, submodules, shallow, allRefs and lfs behind ?"),
        }
    }
    Ok((options, in_url))
}

impl FromStr for FlakeUrl {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match Self::parse_with_query(text)? {
            (url, InUrl { reference: None, rev: None }) => Ok(url),
            _ => Err(ParseError::new("flake URL", text, "no ?ref= or ?rev= here")),
        }
    }
}

impl Display for FlakeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_query(None, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> FlakeUrl {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn each_transport_gives_an_address_for_git_and_one_for_nix() {
        for (text, git, nix) in [
            ("git+https://h.example/r", "https://h.example/r", "git+https://h.example/r"),
            ("git+ssh://git@h.example/r", "ssh://git@h.example/r", "git+ssh://git@h.example/r"),
            ("git+git://10.0.0.1:9418/r", "git://10.0.0.1:9418/r", "git://10.0.0.1:9418/r"),
            ("git://10.0.0.1/r", "git://10.0.0.1/r", "git://10.0.0.1/r"),
            ("git+file:///srv/r?dir=a", "file:///srv/r", "git+file:///srv/r?dir=a"),
        ] {
            assert_eq!((url(text).repository(), url(text).to_string().as_str()), (git, nix));
        }
    }

    #[test]
    fn what_cannot_be_locked_or_could_be_read_as_something_else_is_refused() {
        for evil in [
            "",
            "nixpkgs",
            "path:/srv/r",
            "/srv/r",
            "https://h.example/r.tar.gz",
            "github:owner/repo",
            "git+https://",
            "git+https://h.example",
            "git+https://u:secret@h.example/r",
            "git+https://token@h.example/r",
            "git+https://h.example/r#host1",
            "git+https://h.example/r?narHash=sha256-x",
            "git+https://h.example/r?upload-pack=x",
            "git+file:///srv/r?dir=../../etc",
            "git+ssh://-oProxyCommand=x/r",
            "git+https://h.example/r\"; builtins.exec",
            "git+https://h.example/${r}",
            "git+https://h.example/r\nx",
            "ext::sh -c id",
        ] {
            assert!(evil.parse::<FlakeUrl>().is_err(), "{evil}");
        }
    }

    #[test]
    fn a_password_is_not_repeated_by_the_error() {
        let error = "git+https://u:hunter2@h.example/r".parse::<FlakeUrl>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
