//! Carrying a plan out. Decides nothing: what a step needs is in the step, and what no longer holds
//! fails and is planned anew.
//!
//! ```text
//! create stores ─▶ copies and repairs (some at a time) ─▶ removals (one at a time, each with proof)
//! ```
//!
//! Removals wait until a pass in which everything before them went well.

mod copy;
mod put;
mod remove;

use cim_plan::Plan;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{Change, Cid, Desired, Error, Ledger, Limits, OnProgress, StoreId, Stores, Verdict};
use copy::{Job, Made, make};
pub use put::{put_bytes, put_object};

/// What became of each step of a plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// Steps whose result was read back and is as wanted.
    pub done: Vec<Change>,
    /// Steps that failed, and why.
    pub failed: Vec<(Change, Error)>,
    /// Steps that were not begun, and why.
    pub deferred: Vec<(Change, String)>,
    /// Bytes of the copies made.
    pub bytes: u64,
}

/// Carries out `plan`, which was made for `desired`, and notes in `ledger` what it reads.
///
/// `holder` names this process in locks, so it must be unique among all controllers; `now` dates
/// the verifications.
#[expect(clippy::too_many_arguments, reason = "each is a different thing, and none has a default")]
pub async fn apply(
    plan: &Plan<Change>,
    stores: &Stores,
    desired: &Desired,
    ledger: &mut Ledger,
    limits: &Limits,
    holder: &str,
    now: Timestamp,
    progress: OnProgress<'_>,
) -> Applied {
    let mut applied = Applied::default();
    let end = Instant::now() + limits.pass;
    for change in &plan.changes {
        if let Change::CreateStore { store } = change {
            let result = match stores.get(store) {
                Some(store) => store.create().await,
                None => Err(Error::NoStore(store.clone())),
            };
            applied.note(change, result);
        }
    }
    make_all(plan, stores, ledger, limits, end, now, progress, &mut applied).await;
    let removals = plan.changes.iter().filter(|change| change.is_removal());
    for (nth, change) in removals.enumerate() {
        if let Some((failed, error)) = applied.failed.first() {
            let why = format!("an earlier step failed: {failed}: {error}");
            applied.deferred.push((change.clone(), why));
        } else if nth >= limits.drops || Instant::now() >= end {
            let why = "this pass has removed enough; the next one goes on".to_owned();
            applied.deferred.push((change.clone(), why));
        } else {
            let result =
                remove::remove(stores, change, desired, ledger, limits, holder, now, progress)
                    .await;
            applied.note(change, result);
        }
    }
    applied
}

impl Applied {
    fn note(&mut self, change: &Change, result: Result<(), Error>) {
        match result {
            Ok(()) => self.done.push(change.clone()),
            Err(error) => self.failed.push((change.clone(), error)),
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the inner half of `apply`")]
async fn make_all(
    plan: &Plan<Change>,
    stores: &Stores,
    ledger: &mut Ledger,
    limits: &Limits,
    end: Instant,
    now: Timestamp,
    progress: OnProgress<'_>,
    applied: &mut Applied,
) {
    let mut waiting = plan.changes.iter();
    let mut running: FuturesUnordered<BoxFuture<'_, (&Change, Made)>> = FuturesUnordered::new();
    loop {
        while running.len() < limits.jobs.max(1)
            && let Some(change) = waiting.next()
        {
            let Some(job) = Job::of(change) else { continue };
            if Instant::now() >= end {
                let why = "this pass is over; the next one goes on".to_owned();
                applied.deferred.push((change.clone(), why));
                continue;
            }
            let job = async move { (change, make(stores, &job, limits, progress).await) };
            running.push(job.boxed());
        }
        let Some((change, Made { verdict, suspects })) = running.next().await else { break };
        let (Some(cid), to) = (change.cid(), change.store()) else { continue };
        for source in &suspects {
            ledger.suspect(source, cid);
        }
        let result = settle(ledger, cid, to, verdict, now);
        if let Ok(bytes) = result {
            applied.bytes += bytes;
        }
        applied.note(change, result.map(drop));
    }
}

/// Notes what was read back at the destination; the bytes of a good copy.
fn settle(
    ledger: &mut Ledger,
    cid: &Cid,
    to: &StoreId,
    verdict: Verdict,
    now: Timestamp,
) -> Result<u64, Error> {
    match verdict {
        Verdict::Verified(entry) => {
            let size = entry.size;
            ledger.verified(to, entry, now);
            Ok(size)
        }
        Verdict::Corrupt { entry, why } => {
            ledger.corrupt(to, entry, now, why.clone());
            Err(Error::store(to, "read back the copy", &why))
        }
        Verdict::Missing => Err(Error::Absent { store: to.clone(), cid: *cid }),
        Verdict::Unknown(error) => Err(error),
    }
}

impl<'a> Job<'a> {
    /// The copying that a step asks for, if it does.
    fn of(change: &'a Change) -> Option<Self> {
        match change {
            Change::Copy { cid, from, to, .. } => Some(Self { cid, from, to, bad: None }),
            Change::Repair { cid, from, to, bad, .. } => {
                Some(Self { cid, from, to, bad: Some(bad) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Rehash;

    /// Callers run these on many threads. Never called: that it compiles is the test.
    #[test]
    fn passes_can_be_sent_between_threads() {
        fn check<T: Send>(_: impl FnOnce() -> T) {}
        let limits = crate::Limits::default();
        let now = jiff::Timestamp::UNIX_EPOCH;
        check(|| super::apply(any(), any(), any(), any(), &limits, "", now, &|_| {}));
        check(|| crate::observe(any(), any(), any(), Rehash::Due, &limits, now, &|_| {}));
    }

    fn any<T>() -> T {
        unreachable!("only its type matters")
    }
}
