//! What can go wrong with a Cluster.

use crate::outcome::{Class, Failure};

/// What can go wrong with a Cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterFailure {
    /// Machines or Services are not as wanted.
    #[error("{0}")]
    Unavailable(String),
}

impl Failure for ClusterFailure {
    fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "Unavailable",
        }
    }

    fn class(&self) -> Class {
        Class::Retry
    }
}
