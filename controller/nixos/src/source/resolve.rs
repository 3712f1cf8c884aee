//! From what is asked for to what is locked.

use serde::Deserialize;

use super::{At, GitRef, LockedSource, NarHash, Rev, Source};
use crate::error::Error;
use crate::nix::Nix;
use crate::process::{Output, strip_ansi};

/// The part of `nix flake metadata --json` that is the same from Nix 2.18 on.
#[derive(Deserialize)]
struct Metadata {
    locked: Locked,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Locked {
    rev: Option<Rev>,
    nar_hash: Option<NarHash>,
}

impl Nix {
    /// The commit that `source` names now. Cheap: it asks the repository and fetches nothing.
    ///
    /// git is asked, not Nix: when a fetch fails, Nix goes on with what it fetched last time and
    /// merely warns, and a branch seems not to have moved.
    ///
    /// # Errors
    /// [`Error::SourceUnreachable`], [`Error::SourceDenied`], [`Error::SourceKeyMismatch`],
    /// [`Error::RefNotFound`], [`Error::Dirty`].
    pub async fn current_rev(&self, source: &Source) -> Result<Rev, Error> {
        match &source.at {
            At::Rev { rev, .. } => Ok(rev.clone()),
            At::Ref(name) => self.remote_rev(source, &name.full()).await,
            At::Default => {
                if source.url.is_local() {
                    self.refuse_dirty(source).await?;
                }
                self.remote_rev(source, "HEAD").await
            }
        }
    }

    /// Locks `source`: the commit it names now, and the hash of that commit's tree.
    ///
    /// # Errors
    /// Those of [`Nix::current_rev`], and [`Error::Unlocked`], [`Error::LockMismatch`],
    /// [`Error::FlakeBroken`].
    pub async fn resolve(&self, source: &Source) -> Result<LockedSource, Error> {
        let rev = self.current_rev(source).await?;
        let on = match &source.at {
            At::Default => None,
            At::Ref(name) => Some(name),
            At::Rev { on, .. } => on.as_ref(),
        };
        self.lock(&source.url.with_query(on, Some(&rev)), rev, on).await
    }

    async fn lock(&self, url: &str, rev: Rev, on: Option<&GitRef>) -> Result<LockedSource, Error> {
        let output = self.metadata(url).await?;
        if !output.success() {
            return Err(explain(url, on, &rev, &output));
        }
        let locked = parse(url, &output)?;
        let nar_hash = locked.nar_hash.ok_or_else(|| Error::BadOutput {
            what: format!("locking {url}"),
            why: "no narHash".to_owned(),
        })?;
        match locked.rev {
            Some(found) if found == rev => Ok(LockedSource { url: url.to_owned(), rev, nar_hash }),
            Some(found) => Err(Error::SourceChanged {
                url: url.to_owned(),
                field: "rev",
                expected: rev.to_string(),
                found: found.to_string(),
            }),
            None => Err(Error::Dirty { url: url.to_owned() }),
        }
    }

    /// Without a branch, Nix takes a local repository's working tree: whoever asks for that means
    /// what lies there, so delivering the last commit instead would be a surprise.
    async fn refuse_dirty(&self, source: &Source) -> Result<(), Error> {
        let url = source.reference();
        let output = self.metadata(&url).await?;
        if output.success() && parse(&url, &output)?.rev.is_none() {
            return Err(Error::Dirty { url });
        }
        Ok(())
    }

    async fn metadata(&self, url: &str) -> Result<Output, Error> {
        // tarball-ttl is also how long Nix trusts its memory of a branch.
        let args = ["flake", "metadata", "--json", "--no-update-lock-file", "--tarball-ttl", "0"];
        let args = args.into_iter().chain(["--", url]);
        self.fetching_nix(args, self.limits().fetch, format!("locking {url}")).run().await
    }

    async fn remote_rev(&self, source: &Source, name: &str) -> Result<Rev, Error> {
        let url = source.to_string();
        // A tag object is no commit; the peeled name behind it is.
        let peeled = format!("{name}^{{}}");
        let args = ["ls-remote", "--exit-code", "--", source.url.repository(), name, &peeled];
        let what = format!("asking {url} for {name}");
        let output = match self.git(args, self.limits().fetch, what.clone()).run().await {
            Err(Error::Timeout { after, .. }) => {
                return Err(Error::SourceUnreachable {
                    url,
                    why: format!("no answer in {after:?}"),
                });
            }
            other => other?,
        };
        match output.code {
            Some(0) => {}
            Some(2) => return Err(Error::RefNotFound { url, reference: name.to_owned() }),
            _ => return Err(unread(&url, one_line(&output.stderr), &output.stderr)),
        }
        pick(&output.stdout, name, &peeled)
            .ok_or_else(|| Error::RefNotFound { url, reference: name.to_owned() })?
            .parse()
            .map_err(|why: crate::error::ParseError| Error::BadOutput {
                what,
                why: why.to_string(),
            })
    }
}

/// The commit of `name` in the answer of `git ls-remote`: lines of hash, tab, name. Names are
/// matched whole: git matches patterns from their end, so `HEAD` also finds `refs/remotes/x/HEAD`.
fn pick<'a>(answer: &'a str, name: &str, peeled: &str) -> Option<&'a str> {
    let find = |wanted: &str| {
        answer.lines().filter_map(|line| line.split_once('\t')).find(|(_, name)| *name == wanted)
    };
    find(peeled).or_else(|| find(name)).map(|(hash, _)| hash)
}

fn parse(url: &str, output: &Output) -> Result<Locked, Error> {
    serde_json::from_str::<Metadata>(&output.stdout)
        .map(|metadata| metadata.locked)
        .map_err(|why| Error::BadOutput { what: format!("locking {url}"), why: why.to_string() })
}

/// Turns a failed `nix flake metadata` into the reason for people.
fn explain(url: &str, on: Option<&GitRef>, rev: &Rev, output: &Output) -> Error {
    let text = strip_ansi(&output.stderr);
    // Nix before 2.34 says it itself; since then there are only the words of git.
    let absent = text.contains(&format!("Cannot find Git revision '{rev}'"))
        || text.contains(&format!("not our ref {rev}"));
    let silent = words_of_git(&text).is_some_and(|words| !words.contains("not our ref"));
    if absent && !silent {
        let on = on.map(|on| format!(" on {on}")).unwrap_or_default();
        let reference = format!("revision {rev}{on}");
        return Error::RefNotFound { url: url.to_owned(), reference };
    }
    input_error(url, &text)
        .unwrap_or_else(|| Error::FlakeBroken { url: url.to_owned(), detail: one_line(&text) })
}

/// A fault of the flake's inputs, which concerns whatever is evaluated: a lock file that is not what
/// it should be, or a repository that does not answer. Needs the trace of `--show-trace` where
/// inputs are fetched while evaluating.
pub(crate) fn input_error(url: &str, stderr: &str) -> Option<Error> {
    lock_error(url, stderr).or_else(|| {
        const FETCHING: &str = "while fetching the input '";
        let (_, behind) = stderr.rsplit_once(FETCHING)?;
        let input = behind.split('\'').next()?;
        let why = format!("{input}: {}", words_of_git(stderr).unwrap_or_else(|| one_line(stderr)));
        Some(unread(url, why, stderr))
    })
}

/// A repository that could not be read, by the messages of git and ssh in `stderr`: whether trying
/// again may help depends on who refused.
fn unread(url: &str, why: String, stderr: &str) -> Error {
    const KEY: [&str; 3] = [
        "Host key verification failed",
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "host key is known for",
    ];
    const DENIED: [&str; 7] = [
        // Of ssh, …
        "Permission denied (",
        "Too many authentication failures",
        "error in libcrypto",
        // … and of git over HTTP: refused, nothing to show, and 403.
        "Authentication failed for",
        "could not read Username",
        "could not read Password",
        "The requested URL returned error: 403",
    ];
    let (url, has) = (url.to_owned(), |texts: &[&str]| texts.iter().any(|it| stderr.contains(it)));
    if has(&KEY) {
        Error::SourceKeyMismatch { url, why }
    } else if has(&DENIED) {
        Error::SourceDenied { url, why }
    } else {
        Error::SourceUnreachable { url, why }
    }
}

/// What git said: Nix 2.26 calls a repository that does not answer one that lacks the revision.
fn words_of_git(stderr: &str) -> Option<String> {
    let (_, words) = stderr.rsplit_once("fatal: ")?;
    let paragraph = words.split("\n\n").next()?;
    Some(one_line(paragraph.split("\nerror:").next()?))
}

/// The two faults of a lock file, by Nix's messages of 2.18 to 2.34.
fn lock_error(url: &str, stderr: &str) -> Option<Error> {
    const UNLOCKED: [&str; 4] = [
        // Of a local repository, and of a remote one.
        "requires lock file changes",
        "cannot write modified lock file",
        "cannot update unlocked flake input",
        "cannot update flake input",
    ];
    // Any field of the lock may be the one that is noticed first.
    const MISMATCH: [&str; 3] =
        ["mismatch in field '", "NAR hash mismatch", "hash mismatch in input"];
    let has = |needles: &[&str]| needles.iter().any(|needle| stderr.contains(needle));
    let (url, detail) = (url.to_owned(), one_line(stderr));
    if has(&UNLOCKED) {
        Some(Error::Unlocked { url, detail })
    } else if has(&MISMATCH) {
        Some(Error::LockMismatch { url, detail })
    } else {
        None
    }
}

/// The message behind the last `error:` of Nix (before it come traces), else the words of git; in
/// one line, without excerpts of the source, shortened.
pub(crate) fn one_line(stderr: &str) -> String {
    let plain = strip_ansi(stderr);
    let message = plain.rfind("error: ").map_or(plain.as_str(), |at| &plain[at + 7..]);
    let is_excerpt = |line: &&str| {
        line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('|')
    };
    let words = message.lines().filter(|line| !is_excerpt(line)).flat_map(str::split_whitespace);
    let line = words.collect::<Vec<_>>().join(" ");
    let mut short: String = line.chars().take(600).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "4efca76eb731711a51effb354be563066c7b450b";
    const B: &str = "1111111111111111111111111111111111111111";

    #[test]
    fn a_tag_gives_its_commit_and_head_is_not_a_remote_head() {
        let answer = format!("{B}\trefs/tags/v1\n{A}\trefs/tags/v1^{{}}\n");
        assert_eq!(pick(&answer, "refs/tags/v1", "refs/tags/v1^{}"), Some(A));
        let answer = format!("{B}\trefs/remotes/origin/HEAD\n{A}\tHEAD\n");
        assert_eq!(pick(&answer, "HEAD", "HEAD^{}"), Some(A));
        assert_eq!(pick("", "HEAD", "HEAD^{}"), None);
    }

    #[test]
    fn messages_of_nix_become_their_own_errors() {
        let explain = |stderr: &str| {
            let output = Output { code: Some(1), stdout: String::new(), stderr: stderr.into() };
            explain("git+file:///r", None, &A.parse().unwrap(), &output)
        };
        let unlocked = "error: flake 'x' requires lock file changes but they're not allowed";
        assert_eq!(explain(unlocked).reason(), "FlakeUnlocked");
        let mismatch =
            "error:\n … trace\n error: mismatch in field 'narHash' of input 'x', got 'y'";
        assert_eq!(explain(mismatch).reason(), "LockMismatch");
        let unknown =
            format!("error: Cannot find Git revision '{A}' in ref 'main' of repository 'y'!");
        assert_eq!(explain(&unknown).reason(), "RefNotFound");
        let remote = format!("fatal: remote error: upload-pack: not our ref {A}\n{unknown}");
        assert_eq!(explain(&remote).reason(), "RefNotFound");
        let newer = format!(
            "fatal: remote error: upload-pack: not our ref {A}\nerror:\n  … while fetching the input \
             'git+https://h/x?rev={A}'\n\n  error: Failed to fetch git repository 'https://h/x'"
        );
        assert_eq!(explain(&newer).reason(), "RefNotFound");
        let denied = newer.replace(
            &format!("remote error: upload-pack: not our ref {A}"),
            "Authentication failed for 'https://h/x/'",
        );
        assert_eq!(explain(&denied).reason(), "SourceDenied");
        let down = format!(
            "fatal: unable to connect to h:\nh: errno=Connection refused\n\nerror:\n       … while \
             fetching the input 'git://h/x?ref=main'\n\n       error: Cannot find Git revision '{A}'"
        );
        assert_eq!(
            explain(&down).to_string(),
            "repository of flake git+file:///r cannot be read: git://h/x?ref=main: \
             unable to connect to h: h: errno=Connection refused"
        );
        let syntax = "error: syntax error, unexpected end of file";
        assert_eq!(explain(syntax).reason(), "FlakeBroken");
    }

    #[test]
    fn the_last_error_is_the_message() {
        let trace =
            "error:\n  … while evaluating\n\n  error: cannot add\n  at f:1:\n   1| x\n    | ^";
        assert_eq!(one_line(trace), "cannot add at f:1:");
        assert_eq!(one_line("fatal: no\n"), "fatal: no");
    }
}
