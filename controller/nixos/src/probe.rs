//! Checks of a machine over a connection of their own: an open connection goes on although nobody
//! could log in any more.

use std::time::Duration;

use serde::Serialize;

use crate::error::{Error, ParseError};
use crate::ssh::{Connection, Host, Script};

const LOGIN: Script<'static> = Script { what: "logging in", text: "exec true\n", args: &[] };
/// The words come as arguments; no shell reads them again. `timeout` ends what we no longer wait
/// for.
const COMMAND: &str =
    "seconds=$1\nshift\nexec timeout --kill-after=2 \"$seconds\" \"$@\" </dev/null\n";
const TIMED_OUT: [Option<i32>; 2] = [Some(124), Some(137)];
/// For logging in, on top of what the command itself may take.
const LOGIN_TIME: Duration = Duration::from_secs(15);
const OUTPUT_MAX: usize = 2048;

/// How a command check ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckOutcome {
    /// Exit status 0.
    Passed,
    /// Another exit status; 126 and 127 mean that the program could not be run.
    Failed {
        /// The exit status.
        status: i32,
        /// The end of what it wrote, both streams, at most 2 KiB of each.
        output: String,
    },
    /// It did not end in time, and was ended.
    TimedOut,
}

/// Whether the deploy user can log in now, over a new connection.
///
/// # Errors
/// Those of SSH: [`Error::Unreachable`], [`Error::AuthFailed`], [`Error::HostKeyMismatch`],
/// [`Error::HostTimeout`].
pub async fn probe(host: &Host, deadline: Duration) -> Result<(), Error> {
    let output = host.run_over(Connection::Fresh, LOGIN, deadline).await?;
    if output.success() { Ok(()) } else { Err(host.failure(LOGIN.what, &output, false)) }
}

/// Runs a program on the machine as the deploy user, over a new connection. `argv` is its name, looked
/// up on the machine's PATH, and its arguments; no shell reads them. Its standard input is empty.
///
/// # Errors
/// Those of SSH, and [`Error::Parse`] for an empty `argv` or one with a NUL.
pub async fn run_check(
    host: &Host,
    argv: &[String],
    deadline: Duration,
) -> Result<CheckOutcome, Error> {
    if argv.first().is_none_or(String::is_empty) || argv.iter().any(|word| word.contains('\0')) {
        let wants = "a program and its arguments, without NUL";
        return Err(ParseError::new("command of a check", &argv.join(" "), wants).into());
    }
    let seconds = deadline.as_secs().max(1).to_string();
    let words: Vec<&str> =
        [seconds.as_str()].into_iter().chain(argv.iter().map(String::as_str)).collect();
    let script = Script { what: "a check", text: COMMAND, args: &words };
    let output = match host.run_over(Connection::Fresh, script, deadline + LOGIN_TIME).await {
        Err(Error::HostTimeout { .. }) => return Ok(CheckOutcome::TimedOut),
        other => other?,
    };
    Ok(match output.code {
        Some(0) => CheckOutcome::Passed,
        code if TIMED_OUT.contains(&code) => CheckOutcome::TimedOut,
        Some(status) => {
            let both = [tail(&output.stdout), tail(&output.stderr)].join("\n");
            CheckOutcome::Failed { status, output: both.trim().to_owned() }
        }
        None => return Err(host.failure("a check", &output, false)),
    })
}

fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(OUTPUT_MAX);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_output_is_kept_whole() {
        let text = "é".repeat(OUTPUT_MAX);
        assert_eq!(tail(&text).len(), OUTPUT_MAX);
        assert_eq!(tail("short"), "short");
        assert_eq!(tail(&("x".to_owned() + &text)).len(), OUTPUT_MAX);
    }
}
