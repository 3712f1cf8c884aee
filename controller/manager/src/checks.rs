//! Checks: what must hold for a machine, or for a service on its machines.
//!
//! ```text
//! resolve   a spec's checks, with the keys and certificates that they need ─► Check
//! probe     TCP and HTTP, from here to an address
//! tls       the same over TLS
//! request   NATS, from here, in an account
//! command   a program, on the machine
//! ```
//!
//! A check that could not be made says nothing of what it asks for: [`Verdict::Unknown`] is neither
//! passing nor failing, and never counts as passing.

mod command;
mod probe;
mod request;
mod resolve;
mod tls;

use std::net::IpAddr;

use cim_crds::machine::activation::CommandCheck;
use cim_nixos::Host;
use futures::{StreamExt, stream};

pub(crate) use self::probe::Probe;
pub(crate) use self::request::Request;
pub(crate) use self::resolve::Resolver;

/// Checks of one machine or service made at once. Each command is a login of its own, of which sshd
/// takes ten at a time before it drops some (`MaxStartups`).
const WIDTH: usize = 4;
/// The longest message, in bytes: an answer of somebody else may be any length.
const MESSAGE_MAX: usize = 512;

/// One thing that must hold, with all that it takes to see whether it does.
#[derive(Clone, Debug)]
pub(crate) enum Check {
    /// Seen from here, at an address.
    Probe(Probe),
    /// Seen from here, in an account.
    Request(Box<Request>),
    /// Seen on the machine.
    Command(CommandCheck),
    /// Something that it takes is missing.
    Impossible {
        /// The check.
        what: String,
        /// What is missing, and what to do about it.
        why: String,
    },
}

/// What a check says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It holds.
    Passing,
    /// Something else was found: which check, and what.
    Failing(String),
    /// It could not be made: which check, and why.
    Unknown(String),
}

/// From where a check is made.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Where the machine is asked.
    pub(crate) address: Option<IpAddr>,
    /// Where commands run; `None` where nobody can log in from here.
    pub(crate) host: Option<&'a Host>,
}

/// The checks that do not hold, sorted by what they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Troubles {
    /// Those that say so.
    pub(crate) failing: Vec<String>,
    /// Those that could not be made.
    pub(crate) unknown: Vec<String>,
}

impl Check {
    /// Makes the check once.
    pub(crate) async fn run(&self, place: Place<'_>) -> Verdict {
        let verdict = match self {
            Self::Probe(probe) => match place.address {
                Some(address) => Box::pin(probe.run(address)).await,
                None => Verdict::Unknown(format!("{probe}: the machine has no address")),
            },
            Self::Request(request) => Box::pin(request.run()).await,
            Self::Command(check) => Box::pin(command::run(check, place.host)).await,
            Self::Impossible { what, why } => Verdict::Unknown(format!("{what}: {why}")),
        };
        verdict.bounded()
    }
}

impl Verdict {
    fn bounded(self) -> Self {
        let bound = |text: String| match text.floor_char_boundary(MESSAGE_MAX) {
            end if end < text.len() => format!("{}…", &text[..end]),
            _ => text,
        };
        match self {
            Self::Passing => Self::Passing,
            Self::Failing(message) => Self::Failing(bound(message)),
            Self::Unknown(message) => Self::Unknown(bound(message)),
        }
    }
}

impl Troubles {
    /// Notes what a check says.
    pub(crate) fn note(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Passing => {}
            Verdict::Failing(message) => self.failing.push(message),
            Verdict::Unknown(message) => self.unknown.push(message),
        }
    }

    /// Whether all checks hold.
    pub(crate) fn is_empty(&self) -> bool {
        self.failing.is_empty() && self.unknown.is_empty()
    }

    /// All of them for people: what fails first.
    pub(crate) fn told(&self) -> Vec<String> {
        let unknown = self.unknown.iter().map(|message| format!("not known: {message}"));
        self.failing.iter().cloned().chain(unknown).collect()
    }
}

/// Makes `checks`, a few at a time; what each says, in their order.
pub(crate) async fn run_all(checks: &[Check], place: Place<'_>) -> Vec<Verdict> {
    let mut running = Vec::with_capacity(checks.len());
    for check in checks {
        running.push(check.run(place));
    }
    stream::iter(running).buffered(WIDTH).collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_does_not_hold() {
        let mut troubles = Troubles::default();
        troubles.note(Verdict::Passing);
        assert!(troubles.is_empty());
        troubles.note(Verdict::Unknown("TCP port 22: the machine has no address".into()));
        assert!(!troubles.is_empty());
        troubles.note(Verdict::Failing("TCP port 80: connection refused".into()));
        assert_eq!(
            troubles.told(),
            [
                "TCP port 80: connection refused",
                "not known: TCP port 22: the machine has no address"
            ]
        );
    }

    #[test]
    fn messages_are_bounded_and_stay_text() {
        let Verdict::Failing(message) = Verdict::Failing("é".repeat(MESSAGE_MAX)).bounded() else {
            panic!("it fails");
        };
        assert!(message.len() <= MESSAGE_MAX + '…'.len_utf8() && message.ends_with('…'));
    }
}
