//! The local Nix: where it is, which version, with which settings it is run.

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::copy::Copies;
use crate::error::{Error, ParseError};
use crate::process::Invocation;
use crate::source::Access;

/// The oldest Nix whose JSON and command line this crate relies on; also nixpkgs' own minimum.
const MIN_NIX: NixVersion = NixVersion { major: 2, minor: 18, patch: 0 };
const MIN_NIX_TEXT: &str = "2.18";

/// Settings for every call. Flakes get no say over ours (`accept-flake-config`), and nothing is
/// looked up in a registry: a name that can be redirected pins nothing.
const NIX_CONFIG: &str = "\
extra-experimental-features = nix-command flakes
accept-flake-config = false
flake-registry =
use-registries = false
";

/// Local programs and the environment that they run in. Nothing else is inherited.
#[derive(Clone)]
pub struct Tools {
    /// The `nix` program.
    pub nix: PathBuf,
    /// The `git` program. Nix itself takes the one on [`Tools::path`].
    pub git: PathBuf,
    /// The `ssh` program. Nix itself takes the one on [`Tools::path`].
    pub ssh: PathBuf,
    /// `PATH` of the children; `git` and `ssh` must be on it.
    pub path: OsString,
    /// `HOME` of the children: Nix keeps its fetcher caches in `.cache/nix` below it, and what was
    /// compressed for machines is in `.cache/cim`. They must see it by the same path as we do.
    pub home: PathBuf,
    /// Further variables: `NIX_REMOTE`, `NIX_SSL_CERT_FILE`, `GIT_SSH_COMMAND`. Values may be secret.
    /// Settings for Nix come by `NIX_USER_CONF_FILES`; `NIX_CONFIG` is ours.
    pub env: Vec<(OsString, OsString)>,
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nix, git, ssh, path, home, env } = self;
        let names: Vec<_> = env.iter().map(|(name, _)| name).collect();
        f.debug_struct("Tools")
            .field("nix", nix)
            .field("git", git)
            .field("ssh", ssh)
            .field("path", path)
            .field("home", home)
            .field("env", &names)
            .finish()
    }
}

/// Deadlines, each of one run of a tool, and bounds of one evaluation.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Asking a repository for a branch, and fetching one revision. Default 2 min.
    pub fetch: Duration,
    /// One run of the evaluator. Default 10 min.
    pub evaluate: Duration,
    /// Resident memory of one run of the evaluator and what it forks, in bytes; above it the run is
    /// stopped and its machines are divided. Default 4 GiB.
    pub evaluate_memory: u64,
    /// Machines in one run of the evaluator; at least 1. Default 50.
    pub evaluate_batch: usize,
    /// Runs of the evaluator at the same time, each with that much memory; at least 1. Machines are
    /// then spread over all of them. Default 1.
    pub evaluate_workers: usize,
    /// One build. Default 2 h.
    pub build: Duration,
    /// Signing, and other work within the local store. Default 2 min.
    pub store: Duration,
    /// Copying one closure to one machine. Default 1 h.
    pub copy: Duration,
    /// One short command on a machine. Default 30 s.
    pub command: Duration,
    /// Waiting for one activation before it is left to the next pass. Default 10 min.
    pub activation: Duration,
    /// Waiting for a machine to come back from a reboot. Default 10 min.
    pub reboot: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_mins(1);
        Self {
            fetch: 2 * MINUTE,
            evaluate: 10 * MINUTE,
            evaluate_memory: 4 << 30,
            evaluate_batch: 50,
            evaluate_workers: 1,
            build: 120 * MINUTE,
            store: 2 * MINUTE,
            copy: 60 * MINUTE,
            command: MINUTE / 2,
            activation: 10 * MINUTE,
            reboot: 10 * MINUTE,
        }
    }
}

/// A version of Nix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NixVersion {
    /// 2 in 2.26.3.
    pub major: u32,
    /// 26 in 2.26.3.
    pub minor: u32,
    /// 3 in 2.26.3; 0 where none is given.
    pub patch: u32,
}

impl FromStr for NixVersion {
    type Err = ParseError;

    /// Reads the line of `nix --version`: `nix (Nix) 2.26.3`, also of Lix and Determinate Nix, and
    /// with suffixes as in `2.30.0pre20250701_abcdef`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new("version of Nix", text, "nix (Nix) 2.26.3");
        let version = text.split_whitespace().next_back().ok_or_else(refuse)?;
        let digits =
            |part: &str| -> String { part.chars().take_while(char::is_ascii_digit).collect() };
        let mut parts = version.split('.').map(digits);
        let mut number = |default: Option<u32>| {
            parts.next().and_then(|part| part.parse().ok()).or(default).ok_or_else(refuse)
        };
        Ok(Self { major: number(None)?, minor: number(None)?, patch: number(Some(0))? })
    }
}

impl Display for NixVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The local Nix, found and of a usable version.
#[derive(Clone, Debug)]
pub struct Nix {
    tools: Tools,
    limits: Limits,
    version: NixVersion,
    access: Option<Arc<Access>>,
    copies: Arc<Copies>,
}

impl Nix {
    /// Asks `nix` for its version.
    pub async fn detect(tools: Tools, limits: Limits) -> Result<Self, Error> {
        let mut nix = Self::unasked(tools, limits);
        let what = "asking nix for its version".to_owned();
        let output = nix.nix(["--version"], nix.limits.store, what.clone()).run().await?;
        if !output.success() {
            return Err(Error::ToolFailed { what, code: output.code, stderr: output.stderr });
        }
        nix.version = output.stdout.trim().parse()?;
        if nix.version < MIN_NIX {
            let found = nix.version.to_string();
            return Err(Error::NixTooOld { found, wants: MIN_NIX_TEXT });
        }
        Ok(nix)
    }

    fn unasked(tools: Tools, limits: Limits) -> Self {
        Self { tools, limits, version: MIN_NIX, access: None, copies: Arc::default() }
    }

    /// A Nix that nobody asked for its version, for tests that run none.
    #[cfg(test)]
    pub(crate) fn unchecked(tools: Tools, limits: Limits) -> Self {
        Self::unasked(tools, limits)
    }

    /// What copies to machines share.
    pub(crate) fn copies(&self) -> &Copies {
        &self.copies
    }

    /// The same Nix, which shows its credentials where a repository asks for them.
    ///
    /// They reach the programs that lock and evaluate, no others: nothing that builds sees them.
    #[must_use]
    pub fn with_access(&self, access: Arc<Access>) -> Self {
        Self { access: Some(access), ..self.clone() }
    }

    /// The version found.
    pub fn version(&self) -> NixVersion {
        self.version
    }

    /// The deadlines in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The programs and their environment.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// A run of `nix` with our settings.
    pub(crate) fn nix<A: Into<OsString>>(
        &self,
        args: impl IntoIterator<Item = A>,
        deadline: Duration,
        what: String,
    ) -> Invocation {
        let mut run = self.tools.invocation(self.tools.nix.clone(), args, deadline, what);
        run.env.push(("NIX_CONFIG".into(), NIX_CONFIG.into()));
        run
    }

    /// A run of `nix` with further settings, as lines of nix.conf(5).
    pub(crate) fn nix_with_settings<A: Into<OsString>>(
        &self,
        settings: &str,
        args: impl IntoIterator<Item = A>,
        deadline: Duration,
        what: String,
    ) -> Invocation {
        let mut run = self.nix(args, deadline, what);
        // The last value of a name counts.
        run.env.push(("NIX_CONFIG".into(), format!("{NIX_CONFIG}{settings}").into()));
        run
    }

    /// A run of `nix` that may fetch flakes, with the credentials for that.
    pub(crate) fn fetching_nix<A: Into<OsString>>(
        &self,
        args: impl IntoIterator<Item = A>,
        deadline: Duration,
        what: String,
    ) -> Invocation {
        self.with_credentials(self.nix(args, deadline, what))
    }

    /// A run of `git` that never asks anybody anything.
    pub(crate) fn git<A: Into<OsString>>(
        &self,
        args: impl IntoIterator<Item = A>,
        deadline: Duration,
        what: String,
    ) -> Invocation {
        self.with_credentials(self.tools.invocation(self.tools.git.clone(), args, deadline, what))
    }

    fn with_credentials(&self, mut run: Invocation) -> Invocation {
        run.env.extend(self.access.iter().flat_map(|access| access.environment()));
        run
    }
}

impl Tools {
    pub(crate) fn invocation<A: Into<OsString>>(
        &self,
        program: PathBuf,
        args: impl IntoIterator<Item = A>,
        deadline: Duration,
        what: String,
    ) -> Invocation {
        let mut env: Vec<(OsString, OsString)> = vec![
            ("PATH".into(), self.path.clone()),
            ("HOME".into(), self.home.clone().into()),
            // Messages are matched by their English text.
            ("LC_ALL".into(), "C".into()),
            ("GIT_TERMINAL_PROMPT".into(), "0".into()),
        ];
        env.extend(self.env.iter().cloned());
        Invocation {
            program,
            args: args.into_iter().map(Into::into).collect(),
            env,
            stdin: Vec::new(),
            stdin_is_file: false,
            stdin_from: None,
            deadline,
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_line_of_each_nix_is_understood() {
        let version = |major, minor, patch| NixVersion { major, minor, patch };
        for (line, wants) in [
            ("nix (Nix) 2.26.3", version(2, 26, 3)),
            ("nix (Nix) 2.30.0pre20250701_abcdef", version(2, 30, 0)),
            ("nix (Nix) 2.18", version(2, 18, 0)),
            ("nix (Lix, like Nix) 2.93.0", version(2, 93, 0)),
            ("nix (Determinate Nix 3.8.5) 2.30.2", version(2, 30, 2)),
        ] {
            assert_eq!(line.parse::<NixVersion>().unwrap(), wants, "{line}");
        }
        assert!("nix".parse::<NixVersion>().is_err());
        assert!("".parse::<NixVersion>().is_err());
    }

    #[test]
    fn values_of_the_environment_are_not_shown() {
        let tools = Tools {
            nix: "nix".into(),
            git: "git".into(),
            ssh: "ssh".into(),
            path: "/bin".into(),
            home: "/".into(),
            env: vec![("GIT_TOKEN".into(), "hunter2".into())],
        };
        let shown = format!("{tools:?}");
        assert!(shown.contains("GIT_TOKEN") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn two_nine_is_older_than_two_eighteen() {
        assert!("nix (Nix) 2.9.1".parse::<NixVersion>().unwrap() < MIN_NIX);
    }
}
