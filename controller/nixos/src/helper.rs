//! The machine's `cim-activate`: its verbs, and what its answers mean. See
//! `controller/nixos/host/cim-activate`.

use std::time::Duration;

use crate::activation::Outcome;
use crate::copy::Parcel;
use crate::error::{Error, Refusal};
use crate::nix::{Limits, Nix};
use crate::observe::{self, Observed, RollbackReason};
use crate::process::Output;
use crate::ssh::{Connection, Host, Script};
use crate::store_path::StorePath;

const WHAT: &str = "cim-activate";
const RUN: &str = "exec sudo -n cim-activate \"$@\"\n";
/// Acts and looks at what came of it, in one round trip: see [`Request`].
pub(crate) const ACT_AND_LOOK: &str = concat!(
    "wanted=$1\nshift\nsudo -n cim-activate \"$@\" </dev/null\nacted=$?\nset -- \"$wanted\"\n",
    include_str!("observe/observe.sh"),
    "exit $acted\n"
);
/// What `check` and `dry-activate` write to standard output, before the exit status of
/// `switch-to-configuration`.
const STATUS: &str = "=cim= status ";
/// The exit status of `cim-activate` for a verb that it does not know.
const USAGE: i32 = 64;
/// What the verbs that begin something write once it has begun.
const STARTED: &str = "started";

/// A verb with its arguments, of those that begin something and do not wait for its end.
#[derive(Clone, Copy)]
pub(crate) enum Verb<'a> {
    Test(&'a StorePath, Patience),
    Confirm(&'a StorePath),
    Boot(&'a StorePath),
    /// No reason: only superseded.
    Rollback(&'a StorePath, Option<RollbackReason>),
    Reboot(&'a str),
}

/// How long a machine waits before it goes back by itself.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// For the activation to end.
    pub(crate) activation: Duration,
    /// For the confirmation after that.
    pub(crate) confirmation: Duration,
}

impl Patience {
    pub(crate) fn total(self) -> Duration {
        self.activation + self.confirmation
    }
}

impl Verb<'_> {
    fn words(self) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        match self {
            Self::Test(path, Patience { activation, confirmation }) => {
                let seconds = |time: Duration| time.as_secs().max(1).to_string();
                words(&["test", path.as_str(), &seconds(confirmation), &seconds(activation)])
            }
            Self::Confirm(path) => words(&["confirm", path.as_str()]),
            Self::Boot(path) => words(&["boot", path.as_str()]),
            Self::Rollback(path, why) => {
                let why = why.map_or("superseded", RollbackReason::as_str);
                words(&["rollback", path.as_str(), why])
            }
            Self::Reboot(boot_id) => words(&["reboot", boot_id]),
        }
    }
}

/// Has the machine begin something, and gives it a moment to end. That it already runs or is done is
/// as good. The machine as it was after that moment, if it could still tell; `wanted` is the closure
/// whose presence the caller wants to know.
pub(crate) async fn start(
    host: &Host,
    verb: Verb<'_>,
    limits: &Limits,
    wanted: Option<&StorePath>,
) -> Result<Option<Observed>, Error> {
    let words = verb.words();
    let output = match verb {
        // There may be nothing to look at any more.
        Verb::Reboot(_) => hear(host, &words, limits.command).await?,
        _ => {
            hear_and_look(host, Request { wanted, words: &words, deadline: limits.command }).await?
        }
    };
    began(host, &words, output)
}

fn began(host: &Host, words: &[String], output: Output) -> Result<Option<Observed>, Error> {
    let observed = observe::within(&output.stdout);
    // What was begun may have cut the connection, or have ended whoever waited there.
    if output.stdout.lines().any(|line| line == STARTED) {
        return Ok(observed);
    }
    judge(host, words, output).map(|_| observed)
}

/// What [`ACT_AND_LOOK`] is to do.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The closure whose presence the caller wants to know afterwards.
    wanted: Option<&'a StorePath>,
    words: &'a [String],
    /// How long it may take.
    pub(crate) deadline: Duration,
}

impl Request<'_> {
    /// The arguments of the script.
    pub(crate) fn args(&self) -> impl Iterator<Item = &str> {
        let wanted = self.wanted.map_or("", StorePath::as_str);
        [wanted].into_iter().chain(self.words.iter().map(String::as_str))
    }
}

/// What came of trying.
pub(crate) enum Tried {
    /// The closure refuses to be switched to; how, and what it said. Nothing was begun.
    Refused(Outcome, String),
    /// As [`start`].
    Began(Option<Observed>),
    /// The machine's `cim-activate` is older than this verb.
    Unknown,
}

/// Has the closure judge whether it can be switched to, and begins its test unless it refuses. With
/// `bring` it is copied before, in the same round trip.
pub(crate) async fn try_closure(
    nix: &Nix,
    parcel: Parcel<'_>,
    bring: bool,
    patience: Patience,
    wanted: Option<&StorePath>,
) -> Result<Tried, Error> {
    let (host, limits) = (parcel.host, nix.limits());
    let mut words = Verb::Test(parcel.closure, patience).words();
    "try".clone_into(&mut words[0]);
    let deadline = limits.command + limits.activation;
    let request = Request { wanted, words: &words, deadline };
    let output = if bring {
        nix.bring(parcel, Some(request)).await?
    } else {
        hear_and_look(host, request).await?
    };
    if output.code == Some(USAGE) {
        return Ok(Tried::Unknown);
    }
    match status(&output).map(Outcome::from_status) {
        Some(outcome) if !outcome.is_success() => {
            Ok(Tried::Refused(outcome, output.stderr.trim().to_owned()))
        }
        _ => began(host, &words, output).map(Tried::Began),
    }
}

/// Has the closure judge whether it can be switched to; how it ended, and what it said.
pub(crate) async fn check(
    host: &Host,
    closure: &StorePath,
    limits: &Limits,
) -> Result<(Outcome, String), Error> {
    ask(host, "check", closure, limits).await
}

/// Has the closure tell what it would do; how it ended, and what it said.
pub(crate) async fn dry_activate(
    host: &Host,
    closure: &StorePath,
    limits: &Limits,
) -> Result<(Outcome, String), Error> {
    ask(host, "dry-activate", closure, limits).await
}

async fn ask(
    host: &Host,
    verb: &str,
    closure: &StorePath,
    limits: &Limits,
) -> Result<(Outcome, String), Error> {
    let words = [verb.to_owned(), closure.to_string()];
    let output = run(host, &words, limits.activation).await?;
    let Some(status) = status(&output) else {
        return Err(Error::BadOutput {
            what: format!("cim-activate {verb} on {}", host.name()),
            why: "it told no exit status; is it of this version?".to_owned(),
        });
    };
    Ok((Outcome::from_status(status), output.stderr.trim().to_owned()))
}

fn status(output: &Output) -> Option<i32> {
    output.stdout.lines().find_map(|line| line.strip_prefix(STATUS)?.parse().ok())
}

/// The end of the last step's log. Only explains, so failing to get it is no error.
pub(crate) async fn log(host: &Host, limits: &Limits) -> Option<String> {
    match run(host, &["log".to_owned()], limits.command).await {
        Ok(output) => Some(output.stdout.trim().to_owned()).filter(|log| !log.is_empty()),
        Err(error) => {
            tracing::debug!(%error, host = host.name(), "no activation log");
            None
        }
    }
}

async fn run(host: &Host, words: &[String], deadline: Duration) -> Result<Output, Error> {
    judge(host, words, hear(host, words, deadline).await?)
}

async fn hear(host: &Host, words: &[String], deadline: Duration) -> Result<Output, Error> {
    let args: Vec<&str> = words.iter().map(String::as_str).collect();
    let script = Script { what: WHAT, text: RUN, args: &args };
    host.run_until_lost(Connection::Shared, script, deadline).await
}

async fn hear_and_look(host: &Host, request: Request<'_>) -> Result<Output, Error> {
    let args: Vec<&str> = request.args().collect();
    let script = Script { what: WHAT, text: ACT_AND_LOOK, args: &args };
    host.run_until_lost(Connection::Shared, script, request.deadline).await
}

fn judge(host: &Host, words: &[String], output: Output) -> Result<Output, Error> {
    let output = host.unless_lost(WHAT, output)?;
    if output.success() {
        return Ok(output);
    }
    Err(Error::ActivationRefused {
        host: host.name().to_owned(),
        request: words.join(" "),
        refusal: refusal(&output),
        message: output.stderr.trim().to_owned(),
    })
}

/// The exit status of `cim-activate`, see its head; sudo has 1 for all its own refusals.
fn refusal(output: &Output) -> Refusal {
    match output.code {
        Some(65) => Refusal::NotAClosure,
        Some(75) => Refusal::Busy,
        Some(76) => Refusal::NotPending,
        Some(77) => Refusal::Unsigned,
        Some(1) if output.stderr.contains("command not found") => Refusal::HelperMissing,
        Some(1) if output.stderr.contains("sudo:") => Refusal::SudoDenied,
        Some(127) => Refusal::HelperMissing,
        _ => Refusal::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exit_of_the_helper_and_of_sudo_has_its_class() {
        let refusal = |code, stderr: &str| {
            refusal(&Output { code: Some(code), stdout: String::new(), stderr: stderr.into() })
        };
        assert_eq!(refusal(65, ""), Refusal::NotAClosure);
        assert_eq!(refusal(75, ""), Refusal::Busy);
        assert_eq!(refusal(76, ""), Refusal::NotPending);
        assert_eq!(refusal(77, ""), Refusal::Unsigned);
        assert_eq!(refusal(70, ""), Refusal::Failed);
        assert_eq!(refusal(1, "sudo: a password is required"), Refusal::SudoDenied);
        assert_eq!(refusal(1, "sudo: cim-activate: command not found"), Refusal::HelperMissing);
        assert_eq!(refusal(127, "/bin/sh: sudo: not found"), Refusal::HelperMissing);
    }

    #[test]
    fn a_verb_is_words_and_nothing_else() {
        let path: StorePath =
            "/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-nixos-system-host1".parse().unwrap();
        let line = |verb: Verb<'_>| verb.words().join(" ").replace(path.as_str(), "A");
        let activation = Duration::from_mins(10);
        let patience = Patience { activation, confirmation: Duration::from_secs(90) };
        assert_eq!(line(Verb::Test(&path, patience)), "test A 90 600");
        assert_eq!(line(Verb::Rollback(&path, None)), "rollback A superseded");
        let why = Some(RollbackReason::Unhealthy);
        assert_eq!(line(Verb::Rollback(&path, why)), "rollback A unhealthy");
    }
}
