//! The machine's `cim-activate`: its verbs, and what its answers mean. See
//! `controller/nixos/host/cim-activate`.

use std::time::Duration;

use crate::activation::Outcome;
use crate::error::{Error, Refusal};
use crate::nix::Limits;
use crate::observe::RollbackReason;
use crate::process::Output;
use crate::ssh::{Connection, Host, Script};
use crate::store_path::StorePath;

const WHAT: &str = "cim-activate";
const RUN: &str = "exec sudo -n cim-activate \"$@\"\n";
/// What `check` and `dry-activate` write to standard output, before the exit status of
/// `switch-to-configuration`.
const STATUS: &str = "=cim= status ";
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
/// as good.
pub(crate) async fn start(host: &Host, verb: Verb<'_>, limits: &Limits) -> Result<(), Error> {
    let words = verb.words();
    let output = hear(host, &words, limits.command).await?;
    // What was begun may have cut the connection, or have ended whoever waited there.
    if output.stdout.lines().any(|line| line == STARTED) {
        return Ok(());
    }
    judge(host, &words, output).map(drop)
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
    let status = output.stdout.lines().find_map(|line| line.strip_prefix(STATUS)?.parse().ok());
    let Some(status) = status else {
        return Err(Error::BadOutput {
            what: format!("cim-activate {verb} on {}", host.name()),
            why: "it told no exit status; is it of this version?".to_owned(),
        });
    };
    Ok((Outcome::from_status(status), output.stderr.trim().to_owned()))
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
