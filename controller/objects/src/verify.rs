//! Reading a whole copy and holding it against its name.

use futures::StreamExt;

use crate::limits::{Doing, OnProgress, Progress};
use crate::{Cid, Entry, Error, Limits, Store, Verifier};

/// What a rehash of one copy found.
#[derive(Debug)]
pub enum Verdict {
    /// All bytes were read and are the object.
    Verified(Entry),
    /// The copy is there and is not the object.
    Corrupt {
        /// The copy.
        entry: Entry,
        /// What is wrong with it.
        why: String,
    },
    /// The store says that it has no copy.
    Missing,
    /// The copy could not be read to the end, or the CID cannot be checked. Says nothing about it.
    Unknown(Error),
}

/// Reads the copy of `cid` in `store` to its end and rehashes it, in bounded memory and within
/// [`Limits::job`].
pub async fn verify(
    store: &dyn Store,
    cid: &Cid,
    limits: &Limits,
    progress: OnProgress<'_>,
) -> Verdict {
    match tokio::time::timeout(limits.job, attempt(store, cid, progress)).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(error)) => Verdict::Unknown(error),
        Err(_) => Verdict::Unknown(Error::Deadline {
            store: store.id().clone(),
            action: "read a copy to its end",
            after: limits.job,
        }),
    }
}

async fn attempt(store: &dyn Store, cid: &Cid, progress: OnProgress<'_>) -> Result<Verdict, Error> {
    let verifier = Verifier::new(cid)?;
    let Some(entry) = store.head(cid).await? else { return Ok(Verdict::Missing) };
    let Some(why) = damage(store, &entry, verifier, progress).await? else {
        return Ok(Verdict::Verified(entry));
    };
    // A copy that was replaced while it was read looks damaged and is not.
    match store.head(cid).await? {
        Some(now) if now.version == entry.version => Ok(Verdict::Corrupt { entry, why }),
        _ => Err(Error::Conflict { store: store.id().clone(), cid: *cid }),
    }
}

/// What is wrong with the copy, if anything.
async fn damage(
    store: &dyn Store,
    entry: &Entry,
    mut verifier: Verifier,
    progress: OnProgress<'_>,
) -> Result<Option<String>, Error> {
    if let Some(flaw) = &entry.flaw {
        return Ok(Some(flaw.clone()));
    }
    let mut bytes = store.get(entry).await?;
    let mut done = 0;
    while let Some(piece) = bytes.next().await {
        let piece = piece?;
        verifier.update(&piece);
        done += piece.len() as u64;
        progress(Progress {
            cid: entry.cid,
            store: store.id().clone(),
            doing: Doing::Verifying,
            done,
            size: entry.size,
        });
    }
    Ok(match verifier.finish() {
        Err(mismatch) => Some(mismatch.to_string()),
        // The bytes are right and stock clients would refuse them all the same.
        Ok(found) if found.size != entry.size => {
            Some(format!("its metadata declares {} bytes instead of {}", entry.size, found.size))
        }
        Ok(found) if entry.sha256.is_some_and(|declared| declared != found.sha256) => {
            Some("its metadata declares another SHA-256 than its bytes have".to_owned())
        }
        Ok(_) => None,
    })
}
