//! What can go wrong with a message.

use std::time::Duration;

/// Everything that this crate refuses or fails at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name or id that is out of form.
    #[error("{what} is {got:?}: {want}")]
    Setting {
        /// What it is.
        what: &'static str,
        /// What was given, at most 80 characters of it.
        got: String,
        /// What is accepted, or why it was refused.
        want: String,
    },
    /// A message that is not one of ours, or was changed on its way.
    #[error("message on {subject}: {why}")]
    Malformed {
        /// Where it came from.
        subject: String,
        /// What is wrong with it.
        why: String,
    },
    /// A message of another type or version than was asked for.
    #[error("message on {subject} is {got}, and {want} was expected")]
    Unexpected {
        /// Where it came from.
        subject: String,
        /// What it is.
        got: String,
        /// What was asked for.
        want: String,
    },
    /// A message that the server would not take.
    #[error(
        "message on {subject} has {bytes} bytes and the server takes {max}: lower the threshold of the claim check, or give it an object store"
    )]
    TooLarge {
        /// Where it was to go.
        subject: String,
        /// Its size with headers, in bytes.
        bytes: usize,
        /// The server's `max_payload`.
        max: usize,
    },
    /// Content that lies in an object store, and nobody said which store that is.
    #[error("message on {subject} refers to {cid} in bucket {bucket}, and no such store was given")]
    NoStore {
        /// Where it came from.
        subject: String,
        /// The content.
        cid: cim_objects::Cid,
        /// The bucket.
        bucket: String,
    },
    /// The object store failed, or does not have the content.
    #[error("content of a message on {subject}: {source}")]
    Objects {
        /// The message.
        subject: String,
        /// What went wrong.
        #[source]
        source: Box<cim_objects::Error>,
    },
    /// The stream did not take or give a message.
    #[error("{action} on {subject}: {why}")]
    Stream {
        /// What was being done.
        action: &'static str,
        /// Where.
        subject: String,
        /// What the server or the connection said.
        why: String,
    },
    /// The server did not answer in time. A message may have been stored: send it again, its id
    /// makes that safe.
    #[error("{action} on {subject}: no answer within {after:?}")]
    Deadline {
        /// What was being done.
        action: &'static str,
        /// Where.
        subject: String,
        /// The time it was given.
        after: Duration,
    },
}

impl Error {
    pub(crate) fn setting(what: &'static str, got: &str, want: &str) -> Self {
        Self::Setting { what, got: got.chars().take(80).collect(), want: want.to_owned() }
    }
}
