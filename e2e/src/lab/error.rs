//! What can go wrong in the lab.

use std::{io, path::PathBuf, time::Duration};

/// An error of the lab: what was attempted, on what, and why it failed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Something that the machine itself must have is missing and could not be installed.
    #[error("the lab needs {what}: {remedy}")]
    Prerequisite {
        /// The missing thing.
        what: String,
        /// What the reader has to do.
        remedy: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// The operation, as a verb.
        action: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A system call or another operation without a path failed.
    #[error("cannot {action}: {source}")]
    System {
        /// The operation, as a verb with its object.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A command ran and reported failure.
    #[error("`{command}` failed ({status}): {output}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status, in words.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// A server ended although it should run.
    #[error("{name} ended ({status}); the end of its log, {}:\n{tail}", log.display())]
    Died {
        /// The server's name in the lab.
        name: String,
        /// Its exit status, in words.
        status: String,
        /// The whole log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// Something did not become true in time.
    #[error("{what}: not within {}; last seen: {last}", humantime(*after))]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// The state that the last look found.
        last: String,
    },
    /// An answer could not be understood.
    #[error("cannot understand {what}: {why}")]
    Unexpected {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The result of nearly every function of the lab.
pub type Result<T, E = LabError> = std::result::Result<T, E>;

/// `2.5s`, `3m 20s`: a duration for people.
pub fn humantime(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        _ => format!("{}m {:02}s", seconds / 60, seconds % 60),
    }
}

/// Adds to an [`io::Error`] what was attempted.
pub(crate) trait During<T> {
    /// Names the operation, as a verb, and the path it was done to.
    fn during(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T>;
    /// Names the operation where there is no path.
    fn attempting(self, action: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T> {
        self.map_err(|source| LabError::File { action, path: path.into(), source: source.into() })
    }

    fn attempting(self, action: impl Into<String>) -> Result<T> {
        self.map_err(|source| LabError::System { action: action.into(), source: source.into() })
    }
}
