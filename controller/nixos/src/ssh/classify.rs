//! What a failed ssh meant. ssh has one exit code (255) for all its own failures, so its English
//! messages decide (`LC_ALL=C`; OpenSSH 8 to 10).

use crate::error::Error;

/// Where a command ran and what it was, for the error.
pub(crate) struct Context<'a> {
    pub(crate) host: &'a str,
    pub(crate) user: &'a str,
    pub(crate) command: &'a str,
}

/// ssh's own exit code for "no connection, or it was lost".
const SSH_FAILED: i32 = 255;

const HOST_KEY: [&str; 4] = [
    "Host key verification failed",
    "REMOTE HOST IDENTIFICATION HAS CHANGED",
    "no matching host key type found",
    "host key is known for",
];
const AUTHENTICATION: [&str; 4] = [
    "Permission denied (",
    "Too many authentication failures",
    "no mutual signature algorithm",
    "Load key \"",
];
const CONNECTION: [&str; 13] = [
    "Connection refused",
    "Connection timed out",
    "Connection closed",
    "Connection reset",
    "Operation timed out",
    "No route to host",
    "Network is unreachable",
    "Could not resolve hostname",
    "kex_exchange_identification",
    "Broken pipe",
    "not responding",
    "client_loop: send disconnect",
    "mux_client_request_session",
];

/// The error of a run of `ssh`, or of a tool that ran `ssh` (`nix copy`; then any exit code may
/// mean a lost connection).
pub(crate) fn failure(
    context: &Context<'_>,
    code: Option<i32>,
    stderr: &str,
    tool_of_ours: bool,
) -> Error {
    let has = |needles: &[&str]| needles.iter().any(|needle| stderr.contains(needle));
    let host = context.host.to_owned();
    if code == Some(SSH_FAILED) || tool_of_ours {
        if has(&HOST_KEY) {
            return Error::HostKeyMismatch { host, offered: offered_key(stderr) };
        }
        if has(&AUTHENTICATION) {
            let why = last_line(stderr);
            return Error::AuthFailed { host, user: context.user.to_owned(), why };
        }
        if has(&CONNECTION) || code == Some(SSH_FAILED) {
            return Error::Unreachable { host, why: last_line(stderr) };
        }
    }
    let command = context.command.to_owned();
    Error::CommandFailed { host, command, code, stderr: stderr.to_owned() }
}

/// The key that the machine showed, from ssh's warning: "The fingerprint for the ED25519 key sent
/// by the remote host is\nSHA256:….".
fn offered_key(stderr: &str) -> String {
    let fingerprint = stderr
        .split_whitespace()
        .find(|word| word.starts_with("SHA256:"))
        .map(|word| word.trim_end_matches('.'));
    let algorithm = ["ED25519", "ECDSA", "RSA"]
        .into_iter()
        .find(|name| stderr.contains(&format!("{name} key sent by the remote host")));
    match (algorithm, fingerprint) {
        (Some(algorithm), Some(fingerprint)) => format!("{algorithm} {fingerprint}"),
        (_, Some(fingerprint)) => fingerprint.to_owned(),
        _ => last_line(stderr),
    }
}

fn last_line(stderr: &str) -> String {
    let line = stderr.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("ssh ended without a message").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(code: i32, stderr: &str) -> &'static str {
        let context = Context { host: "h", user: "deploy", command: "observe" };
        failure(&context, Some(code), stderr, false).reason()
    }

    #[test]
    fn messages_of_ssh_become_their_own_errors() {
        for (stderr, wants) in [
            ("Host key verification failed.", "HostKeyMismatch"),
            ("deploy@10.0.0.11: Permission denied (publickey).", "AuthFailed"),
            ("ssh: connect to host 10.0.0.11 port 22: Connection refused", "Unreachable"),
            ("ssh: connect to host h port 22: No route to host", "Unreachable"),
            ("Timeout, server 10.0.0.11 not responding.", "Unreachable"),
            ("something that nobody has seen", "Unreachable"),
        ] {
            assert_eq!(reason(255, stderr), wants, "{stderr}");
        }
        assert_eq!(reason(1, "Permission denied (really)"), "CommandFailed");
    }

    #[test]
    fn the_key_that_was_shown_is_in_the_error() {
        let stderr = "\
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
The fingerprint for the ED25519 key sent by the remote host is
SHA256:o0k5Rz7W0fVvYw.
Host key verification failed.";
        let context = Context { host: "h", user: "deploy", command: "observe" };
        let error = failure(&context, Some(255), stderr, false);
        assert!(error.to_string().contains("ED25519 SHA256:o0k5Rz7W0fVvYw)"), "{error}");
    }
}
