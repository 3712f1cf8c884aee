//! Bounds on what one pass may take, and how it tells where it is.

use std::time::Duration;

use crate::{Cid, StoreId};

/// Bounds of [`observe`](crate::observe()) and [`apply`](crate::apply()).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Objects read or copied at the same time. Each takes at most 16 MiB of memory.
    pub jobs: usize,
    /// How long one object may take, however large.
    pub job: Duration,
    /// How long one call may go on starting jobs; what is left is for the next pass.
    pub pass: Duration,
    /// Copies and leftovers that one call of `apply` may remove.
    pub drops: usize,
}

impl Default for Limits {
    /// 4 jobs of at most an hour, started during at most 5 minutes, and 100 removals.
    fn default() -> Self {
        Self { jobs: 4, job: Duration::from_hours(1), pass: Duration::from_mins(5), drops: 100 }
    }
}

/// What a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Rehashing a copy.
    Verifying,
    /// Writing a copy.
    Copying,
}

/// Where a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The object.
    pub cid: Cid,
    /// The store that is read (verifying) or written (copying).
    pub store: StoreId,
    /// What is being done.
    pub doing: Doing,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, as the source declares them.
    pub size: u64,
}

/// Told about each piece of each job. Must not block.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);
