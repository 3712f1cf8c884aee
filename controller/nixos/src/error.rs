//! What can go wrong, each with the place where it did and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use crate::build::BuildLog;
use crate::install::{Phase, Refused};

/// How much of a log's last line is told, in bytes.
const LINE_MAX: usize = 300;

/// A text that is not what a type admits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {got:?} is not accepted: wants {wants}")]
pub struct ParseError {
    /// The kind of thing: `store path`, `flake URL`.
    pub what: &'static str,
    /// The text as it came, shortened. For kinds that are secret it is left out.
    pub got: String,
    /// The form that would be accepted.
    pub wants: &'static str,
}

impl ParseError {
    pub(crate) fn new(what: &'static str, got: &str, wants: &'static str) -> Self {
        Self { what, got: got.chars().take(200).collect(), wants }
    }
}

/// Why the machine's own `cim-activate` did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The machine does not hold the path as a valid NixOS closure.
    NotAClosure,
    /// No key of the machine's `/etc/cim/delivery-keys` signed the closure.
    Unsigned,
    /// Another activation is running.
    Busy,
    /// What should be confirmed is not what the machine would keep: it has gone back, or nobody
    /// tested it.
    NotPending,
    /// sudo does not let this user run `cim-activate` without a password.
    SudoDenied,
    /// `cim-activate` is not installed.
    HelperMissing,
    /// Something on the machine failed; the text says what.
    Failed,
}

impl Refusal {
    const fn advice(&self) -> &'static str {
        match self {
            Self::NotAClosure => "the closure is incomplete there or is no NixOS system",
            Self::Unsigned => {
                "add the controller's public key to the machine's trusted-public-keys"
            }
            Self::Busy => "another activation is running; it is not interrupted",
            Self::NotPending => "the machine has gone back, or was rebooted",
            Self::SudoDenied => "the sudo rule for cim-activate is missing on the machine",
            Self::HelperMissing => "install cim-activate on the machine",
            Self::Failed => "see its message",
        }
    }
}

/// The error of every operation of this crate.
///
/// Tool output in it is bounded and has no secret: keys are passed as files, never as arguments.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value from outside has the wrong form.
    #[error(transparent)]
    Parse(#[from] ParseError),

    /// A tool could not be started at all.
    #[error("cannot run {program}: {source}")]
    Spawn {
        /// The program's path.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A local tool did not end within its deadline and was killed.
    #[error("{what} did not end within {after:?} and was stopped")]
    Timeout {
        /// What was being done.
        what: String,
        /// The deadline.
        after: Duration,
    },
    /// A local tool failed in a way that has no variant of its own.
    #[error("{what} failed ({}): {stderr}", exit_text(*.code))]
    ToolFailed {
        /// What was being done.
        what: String,
        /// Exit code; `None` if a signal ended it.
        code: Option<i32>,
        /// The end of its standard error.
        stderr: String,
    },
    /// A tool answered with something that cannot be understood.
    #[error("{what} answered something that cannot be understood: {why}")]
    BadOutput {
        /// What was being done.
        what: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// The installed Nix lacks what this crate relies on.
    #[error("Nix {found} is too old: at least {wants} is needed")]
    NixTooOld {
        /// The version found.
        found: String,
        /// The oldest version that will do.
        wants: &'static str,
    },
    /// The private directory for keys and sockets cannot be used.
    #[error("private directory {}: {why}", path.display())]
    PrivateDir {
        /// The directory or the file in it.
        path: PathBuf,
        /// What is wrong and what it should be.
        why: String,
    },

    /// The flake's repository did not answer.
    #[error("repository of flake {url} cannot be read: {why}")]
    SourceUnreachable {
        /// The flake as it was asked for.
        url: String,
        /// What git or Nix said.
        why: String,
    },
    /// The repository's server does not let us read: wrong credentials, or none.
    #[error("repository of flake {url} does not let us read it: {why}")]
    SourceDenied {
        /// The flake as it was asked for.
        url: String,
        /// What git or Nix said.
        why: String,
    },
    /// The repository's server presented no key of the given `known_hosts`.
    #[error(
        "server of flake {url} does not present a key of the given known_hosts: if its key was \
         replaced, correct known_hosts; else somebody answers in its place: {why}"
    )]
    SourceKeyMismatch {
        /// The flake as it was asked for.
        url: String,
        /// What ssh said.
        why: String,
    },
    /// The repository has no such branch, tag or revision.
    #[error("repository of flake {url} has no {reference}")]
    RefNotFound {
        /// The flake as it was asked for.
        url: String,
        /// The branch, tag or revision.
        reference: String,
    },
    /// The working tree has changes that no commit holds, so there is no revision to name.
    #[error("flake {url} has uncommitted changes: commit them, or name a branch or revision")]
    Dirty {
        /// The flake as it was asked for.
        url: String,
    },
    /// `flake.lock` is missing or lacks an input.
    #[error(
        "flake {url} is not fully locked: run `nix flake lock` and commit flake.lock: {detail}"
    )]
    Unlocked {
        /// The flake, locked to its revision.
        url: String,
        /// What Nix said.
        detail: String,
    },
    /// An input's content is not what `flake.lock` promises.
    #[error("an input of flake {url} does not match flake.lock: {detail}")]
    LockMismatch {
        /// The flake, locked to its revision.
        url: String,
        /// What Nix said.
        detail: String,
    },
    /// The source is not the one that was pinned.
    #[error("flake {url} is not what was pinned: {field} should be {expected}, is {found}")]
    SourceChanged {
        /// The flake, locked to its revision.
        url: String,
        /// `rev` or `narHash`.
        field: &'static str,
        /// The pinned value.
        expected: String,
        /// The value now.
        found: String,
    },
    /// The flake as a whole cannot be evaluated (not one machine's attribute alone).
    #[error("flake {url} cannot be evaluated: {detail}")]
    FlakeBroken {
        /// The flake, locked to its revision.
        url: String,
        /// What Nix said.
        detail: String,
    },

    /// The flake takes too much memory even without any machine.
    #[error(
        "flake {url} takes more than {} MiB to evaluate even without any machine: raise the limit",
        limit >> 20
    )]
    FlakeTooLarge {
        /// The flake, locked to its revision.
        url: String,
        /// The bound on resident memory in bytes.
        limit: u64,
    },

    /// A build failed.
    #[error("build of {derivation} failed: {detail}")]
    BuildFailed {
        /// The derivation that was asked for.
        derivation: String,
        /// What Nix said.
        detail: String,
        /// The log of the derivation that failed, which may be one that it needs.
        log: Box<BuildLog>,
    },
    /// A remote builder could not be reached, or was lost while it built.
    #[error("builder {builder} was lost while {derivation} was to be built: {why}")]
    BuilderLost {
        /// The builder's name.
        builder: String,
        /// The derivation that was asked for.
        derivation: String,
        /// What Nix or ssh said.
        why: String,
    },
    /// The directory of garbage collector roots cannot be used.
    #[error("garbage collector root {}: {why}", path.display())]
    Roots {
        /// The directory or the root in it.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The machine accepts no unsigned path, and this one bears no signature that it trusts.
    #[error(
        "{host} refuses {path}: no signature by a trusted key; \
         add the controller's public key to its trusted-public-keys"
    )]
    UnsignedRefused {
        /// The machine.
        host: String,
        /// What Nix named, the closure or a part of it.
        path: String,
    },

    /// The machine presented another host key than the pinned ones.
    #[error(
        "{host} presents another host key than the pinned ones ({offered}): if it was reinstalled, correct ssh.hostKeys; else somebody answers in its place"
    )]
    HostKeyMismatch {
        /// The machine.
        host: String,
        /// Type and fingerprint of the key presented, as far as ssh told.
        offered: String,
    },
    /// The machine does not accept the key of the deploy user.
    #[error("{host} does not let {user} log in with the given key: {why}")]
    AuthFailed {
        /// The machine.
        host: String,
        /// The user.
        user: String,
        /// What ssh said.
        why: String,
    },
    /// No connection to the machine, or it was lost.
    #[error("{host} is unreachable: {why}")]
    Unreachable {
        /// The machine.
        host: String,
        /// What ssh said.
        why: String,
    },
    /// A command on the machine did not end within its deadline.
    #[error("{host} did not finish {command} within {after:?}")]
    HostTimeout {
        /// The machine.
        host: String,
        /// What was asked of it.
        command: String,
        /// The deadline.
        after: Duration,
    },
    /// A command on the machine ended with an error.
    #[error("{command} on {host} failed ({}): {stderr}", exit_text(*.code))]
    CommandFailed {
        /// The machine.
        host: String,
        /// What was asked of it.
        command: String,
        /// Exit code; `None` if a signal ended ssh.
        code: Option<i32>,
        /// The end of its standard error.
        stderr: String,
    },
    /// The disk of the machine's store is full.
    #[error(
        "{host} has no space left on the disk of its store for {what}: remove old generations \
         there (nix-collect-garbage --delete-older-than 30d) or give it a larger one: {stderr}"
    )]
    DiskFull {
        /// The machine.
        host: String,
        /// What was being done.
        what: String,
        /// What Nix said.
        stderr: String,
    },
    /// The machine did not do what its `cim-activate` was asked.
    #[error("{host} refuses `cim-activate {request}`: {}: {message}", refusal.advice())]
    ActivationRefused {
        /// The machine.
        host: String,
        /// The verb and its arguments.
        request: String,
        /// Why, as a class.
        refusal: Refusal,
        /// What `cim-activate` or sudo said.
        message: String,
    },
    /// The machine was told to reboot and did not come back in time.
    #[error("{host} did not come back from its reboot within {after:?}: {last}")]
    NotRebooted {
        /// The machine.
        host: String,
        /// The deadline.
        after: Duration,
        /// What was seen of it last.
        last: String,
    },
    /// Nothing may be installed on the machine; nothing was changed.
    #[error("nothing is installed on {host}: {}", reasons(why))]
    InstallRefused {
        /// The machine.
        host: String,
        /// Every reason.
        why: Vec<Refused>,
    },
    /// A phase of the machine's installation failed.
    #[error("installation of {host}: {phase} failed: {why}{}; {}", told(log), phase.advice())]
    InstallFailed {
        /// The machine.
        host: String,
        /// The phase.
        phase: Phase,
        /// What was seen.
        why: String,
        /// The end of what it wrote, at most 8 KiB.
        log: String,
    },
}

/// Makes `reason`, and the set of all that it may say, from one table.
macro_rules! reason_table {
    ($(#[$doc:meta])* $($variant:ident => $reason:literal),* $(,)?) => {
        /// All that [`Self::reason`] may say.
        pub const REASONS: &[&str] = &[$($reason),*];

        $(#[$doc])*
        pub const fn reason(&self) -> &'static str {
            match self {
                $(Self::$variant { .. } => $reason),*
            }
        }
    };
}
pub(crate) use reason_table;

impl Error {
    reason_table! {
        /// The class of this error as a condition's reason: CamelCase, from a closed set.
        Parse => "InvalidValue",
        Spawn => "ToolMissing",
        Timeout => "Timeout",
        ToolFailed => "ToolFailed",
        BadOutput => "BadOutput",
        NixTooOld => "NixTooOld",
        PrivateDir => "PrivateDirUnusable",
        SourceUnreachable => "SourceUnreachable",
        SourceDenied => "SourceDenied",
        SourceKeyMismatch => "SourceKeyMismatch",
        RefNotFound => "RefNotFound",
        Dirty => "FlakeDirty",
        Unlocked => "FlakeUnlocked",
        LockMismatch => "LockMismatch",
        SourceChanged => "SourceChanged",
        FlakeBroken => "FlakeBroken",
        FlakeTooLarge => "FlakeTooLarge",
        BuildFailed => "BuildFailed",
        BuilderLost => "BuilderLost",
        Roots => "RootsUnusable",
        UnsignedRefused => "UnsignedRefused",
        HostKeyMismatch => "HostKeyMismatch",
        AuthFailed => "AuthFailed",
        Unreachable => "Unreachable",
        HostTimeout => "HostTimeout",
        CommandFailed => "CommandFailed",
        DiskFull => "DiskFull",
        ActivationRefused => "ActivationRefused",
        NotRebooted => "NotRebooted",
        InstallRefused => "InstallRefused",
        InstallFailed => "InstallFailed",
    }

    /// Whether trying again can help although nobody changes a specification, a repository or a
    /// machine's settings.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Timeout { .. }
            | Self::ToolFailed { .. }
            | Self::SourceUnreachable { .. }
            | Self::BuilderLost { .. }
            | Self::Unreachable { .. }
            | Self::HostTimeout { .. }
            | Self::CommandFailed { .. }
            | Self::DiskFull { .. }
            | Self::NotRebooted { .. } => true,
            Self::ActivationRefused { refusal, .. } => {
                matches!(refusal, Refusal::Busy | Refusal::NotPending | Refusal::Failed)
            }
            _ => false,
        }
    }
}

fn reasons(refused: &[Refused]) -> String {
    refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The last line of a log, which mostly says why; of a long one its beginning, since what to do comes
/// after it.
fn told(log: &str) -> String {
    let text = |line: &str| format!(" ({})", &line[..line.floor_char_boundary(LINE_MAX)]);
    log.lines().next_back().map(text).unwrap_or_default()
}

pub(crate) fn exit_text(code: Option<i32>) -> String {
    code.map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit {code}"))
}
