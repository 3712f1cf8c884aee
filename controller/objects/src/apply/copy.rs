//! One copy from the first good source to one destination, read back.

use std::sync::Arc;

use futures::StreamExt;

use crate::limits::{Doing, OnProgress, Progress};
use crate::store::{ByteStream, Over, Put};
use crate::{Cid, Error, Limits, Store, StoreId, Stores, Verdict, Version, verify};

/// A copy to make.
pub(super) struct Job<'a> {
    pub(super) cid: &'a Cid,
    pub(super) from: &'a [StoreId],
    pub(super) to: &'a StoreId,
    /// The corrupt bytes to replace; none where no copy is.
    pub(super) bad: Option<&'a Version>,
}

/// What came of a [`Job`].
pub(super) struct Made {
    /// What was read back at the destination.
    pub(super) verdict: Verdict,
    /// Sources that were verified earlier and gave other bytes now.
    pub(super) suspects: Vec<StoreId>,
}

/// Makes the copy within [`Limits::job`], trying one source after the other.
pub(super) async fn make(
    stores: &Stores,
    job: &Job<'_>,
    limits: &Limits,
    progress: OnProgress<'_>,
) -> Made {
    let mut suspects = Vec::new();
    let written = tokio::time::timeout(limits.job, write(stores, job, &mut suspects, progress));
    let verdict = match written.await {
        Ok(Ok(to)) => verify(to.as_ref(), job.cid, limits, progress).await,
        Ok(Err(error)) => Verdict::Unknown(error),
        Err(_) => Verdict::Unknown(Error::Deadline {
            store: job.to.clone(),
            action: "copy",
            after: limits.job,
        }),
    };
    Made { verdict, suspects }
}

async fn write(
    stores: &Stores,
    job: &Job<'_>,
    suspects: &mut Vec<StoreId>,
    progress: OnProgress<'_>,
) -> Result<Arc<dyn Store>, Error> {
    let find = |id: &StoreId| stores.get(id).cloned().ok_or_else(|| Error::NoStore(id.clone()));
    let to = find(job.to)?;
    let mut last = Error::Absent { store: job.to.clone(), cid: *job.cid };
    for id in job.from {
        // Looked at for each try: the destination may have changed during the last one.
        let over = over(to.as_ref(), job).await?;
        let result = async { transfer(find(id)?.as_ref(), to.as_ref(), job, over, progress).await };
        match result.await {
            Ok(()) => return Ok(to),
            Err(error) => {
                if matches!(error, Error::Mismatch(_) | Error::Absent { .. }) {
                    suspects.push(id.clone());
                }
                // Another source would not help a destination that fails.
                if error.place() == Some(job.to) {
                    return Err(error);
                }
                last = error;
            }
        }
    }
    Err(last)
}

/// What may be replaced: nothing, or exactly the bytes that were found corrupt.
async fn over(to: &dyn Store, job: &Job<'_>) -> Result<Over, Error> {
    let Some(bad) = job.bad else { return Ok(Over::Nothing) };
    match to.head(job.cid).await? {
        Some(entry) if &entry.version == bad => Ok(Over::Corrupt(Box::new(entry))),
        Some(_) => Err(Error::Conflict { store: job.to.clone(), cid: *job.cid }),
        None => Ok(Over::Nothing),
    }
}

async fn transfer(
    from: &dyn Store,
    to: &dyn Store,
    job: &Job<'_>,
    over: Over,
    progress: OnProgress<'_>,
) -> Result<(), Error> {
    let absent = || Error::Absent { store: from.id().clone(), cid: *job.cid };
    let entry = from.head(job.cid).await?.ok_or_else(absent)?;
    let put = Put { cid: Some(*job.cid), attributes: entry.attributes.clone(), over };
    let (bytes, counted) = counting(from.get(&entry).await?);
    let report = |done| {
        progress(Progress {
            cid: *job.cid,
            store: job.to.clone(),
            doing: Doing::Copying,
            done,
            size: entry.size,
        });
    };
    let mut writing = to.put(&put, bytes);
    let mut counts = counted;
    loop {
        tokio::select! {
            result = &mut writing => return result.map(drop),
            Ok(()) = counts.changed() => report(*counts.borrow_and_update()),
        }
    }
}

/// The same bytes, and how many of them have been taken.
fn counting(bytes: ByteStream) -> (ByteStream, tokio::sync::watch::Receiver<u64>) {
    let (count, counted) = tokio::sync::watch::channel(0);
    let bytes = bytes.inspect(move |piece| {
        if let Ok(piece) = piece {
            count.send_modify(|done| *done += piece.len() as u64);
        }
    });
    (Box::pin(bytes), counted)
}
