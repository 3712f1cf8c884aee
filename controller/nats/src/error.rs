//! The one error of this crate.

use std::time::Duration;

/// `Result` of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, and what to do about it. Never contains a seed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A public key that is none, or of another role.
    #[error("not a public key of an {wanted}: {why}")]
    Key {
        /// The role that was wanted.
        wanted: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A seed that is none, or of another role. The seed itself is not repeated.
    #[error("not a seed of an {wanted}: {why}")]
    Seed {
        /// The role that was wanted.
        wanted: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A token that is no valid NATS JWT of the wanted type.
    #[error("not a valid {wanted} JWT: {why}")]
    Token {
        /// The claim type that was wanted: `account`.
        wanted: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A set of Secret data from which a value is missing or in which one is wrong.
    #[error("NATS secret data, key {key:?}: {why}")]
    Bundle {
        /// The data key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// A desired state that cannot be put into claims.
    #[error("{field}: {why}")]
    Desired {
        /// The field in the notation of its owner: `account comms, exports[0].subject`.
        field: String,
        /// What it is and what it should be.
        why: String,
    },
    /// No connection to any of the servers.
    #[error("cannot reach NATS at {servers}: {why}")]
    Unreachable {
        /// The servers tried.
        servers: String,
        /// The last failure.
        why: String,
    },
    /// A request on the system account got no usable reply in time.
    #[error("NATS system request {subject}: {why} (waited {waited:?})")]
    Request {
        /// The subject asked.
        subject: String,
        /// What happened.
        why: String,
        /// The deadline.
        waited: Duration,
    },
}
