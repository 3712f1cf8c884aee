//! The right to delete, which must be earned each time (after git-annex's `SafeDropProof`).

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::ledger::Outcome;
use crate::schedule::passed;
use crate::{
    Cid, Error, Ledger, Limits, Lock, OnProgress, Store, StoreId, Stores, Verdict, Version, verify,
};

/// How long a lock lasts when nobody gives it back.
const LOCK: Duration = Duration::from_mins(10);
/// How long after the first lock a proof may be used: what is left covers clocks that differ.
const USE_WITHIN: Duration = Duration::from_mins(5);

/// Proof that one copy may go: enough others are verified, locked against being dropped themselves,
/// and were there a moment ago.
///
/// It is made only by `apply`, cannot be copied, is used up by the deletion, and ends by itself.
/// [`Store::delete`] and [`Store::expunge`] take it, and there is no other way to remove bytes.
#[derive(Debug)]
#[must_use = "a proof that is not used should not have been made"]
pub struct SafeDropProof {
    cid: Cid,
    store: StoreId,
    version: Option<Version>,
    not_after: Instant,
}

impl SafeDropProof {
    /// Uses the proof up, as the last thing before bytes are removed.
    ///
    /// # Errors
    /// [`Error::Unsafe`] if it is for another copy, or too old.
    pub fn spend(self, store: &StoreId, cid: &Cid, version: Option<&Version>) -> Result<(), Error> {
        let refuse =
            |why: &str| Err(Error::Unsafe { store: store.clone(), cid: *cid, why: why.to_owned() });
        if (store, cid, version) != (&self.store, &self.cid, self.version.as_ref()) {
            return refuse("the proof is for another copy");
        }
        if Instant::now() > self.not_after {
            return refuse("the proof has expired; the next pass makes a new one");
        }
        Ok(())
    }
}

/// What is to go, and what it rests on.
pub(crate) struct Claim<'a> {
    pub(crate) cid: &'a Cid,
    pub(crate) store: &'a StoreId,
    /// The copy; none for leftovers, which are no copy.
    pub(crate) version: Option<&'a Version>,
    /// Where copies stay.
    pub(crate) keep: &'a [StoreId],
    /// How many of them must be verified and locked.
    pub(crate) need: usize,
    /// How old their verification may be.
    pub(crate) max_age: Duration,
    /// Who asks: unique per controller process.
    pub(crate) holder: &'a str,
    pub(crate) now: Timestamp,
}

/// Locks that are held for a proof.
#[derive(Default)]
pub(crate) struct Locks(Vec<(StoreId, Lock)>);

impl Locks {
    /// Gives them back. Those that cannot be given back end by themselves.
    pub(crate) async fn release(self, stores: &Stores) {
        for (id, lock) in self.0 {
            if let Some(store) = stores.get(&id) {
                let _ = store.unlock(lock).await;
            }
        }
    }

    fn holds(&self, id: &StoreId) -> bool {
        self.0.iter().any(|(held, _)| held == id)
    }
}

/// Proves that `claim` is safe, taking `locks` on the way; the caller gives them back, whatever the
/// outcome. Copies that have to be read again are noted in `ledger`.
pub(crate) async fn prove(
    stores: &Stores,
    claim: &Claim<'_>,
    ledger: &mut Ledger,
    locks: &mut Locks,
    limits: &Limits,
    progress: OnProgress<'_>,
) -> Result<SafeDropProof, Error> {
    let not_after = Instant::now() + USE_WITHIN;
    let mut doubts = lock_all(stores, claim, locks).await?;
    let mut verified = 0;
    for id in claim.keep.iter().filter(|id| locks.holds(id)) {
        // Leftovers are no copy: beside them the store's own copy counts like any other.
        if id == claim.store && claim.version.is_some() {
            continue;
        }
        match good_now(stores, claim, id, ledger, limits, progress).await {
            Ok(()) => verified += 1,
            Err(error) => doubts.push(error.to_string()),
        }
    }
    let refuse = |why: String| Error::Unsafe { store: claim.store.clone(), cid: *claim.cid, why };
    if verified < claim.need.max(1) {
        let doubts =
            if doubts.is_empty() { "there are no more".to_owned() } else { doubts.join("; ") };
        return Err(refuse(format!(
            "{verified} other copies are verified and locked, {} are needed: {doubts}",
            claim.need.max(1)
        )));
    }
    if let Some(version) = claim.version {
        let now = store(stores, claim.store)?.head(claim.cid).await?;
        if now.as_ref().map(|entry| &entry.version) != Some(version) {
            return Err(Error::Conflict { store: claim.store.clone(), cid: *claim.cid });
        }
    }
    Ok(SafeDropProof {
        cid: *claim.cid,
        store: claim.store.clone(),
        version: claim.version.cloned(),
        not_after,
    })
}

/// Locks the copy that goes and those that stay, in the order of names, so that two controllers do
/// not wait for each other. Those that stay unlocked are left out, with the reason.
async fn lock_all(
    stores: &Stores,
    claim: &Claim<'_>,
    locks: &mut Locks,
) -> Result<Vec<String>, Error> {
    let mut doubts = Vec::new();
    let mut all: Vec<&StoreId> = claim.keep.iter().collect();
    all.push(claim.store);
    all.sort();
    all.dedup();
    for id in all {
        let locked = match store(stores, id) {
            Ok(store) => store.lock(claim.cid, claim.holder, LOCK).await,
            Err(error) => Err(error),
        };
        match locked {
            Ok(lock) => locks.0.push((id.clone(), lock)),
            Err(error) if id == claim.store => return Err(error),
            Err(error) => doubts.push(error.to_string()),
        }
    }
    Ok(doubts)
}

/// Whether a copy that stays is good: verified not long ago and unchanged since, or read again now.
async fn good_now(
    stores: &Stores,
    claim: &Claim<'_>,
    id: &StoreId,
    ledger: &mut Ledger,
    limits: &Limits,
    progress: OnProgress<'_>,
) -> Result<(), Error> {
    let store = store(stores, id)?;
    let fresh = ledger.check(claim.cid, id).filter(|check| {
        check.outcome == Outcome::Verified && !passed(check.at, claim.max_age, claim.now)
    });
    if let Some(check) = fresh {
        let now = store.head(claim.cid).await?;
        if now.is_some_and(|entry| entry.version == check.version && entry.flaw.is_none()) {
            return Ok(());
        }
    }
    match verify(store, claim.cid, limits, progress).await {
        Verdict::Verified(entry) => {
            ledger.verified(id, entry, claim.now);
            Ok(())
        }
        Verdict::Corrupt { entry, why } => {
            ledger.corrupt(id, entry, claim.now, why.clone());
            Err(Error::store(id, "verify a copy that would stay", &why))
        }
        Verdict::Missing => {
            ledger.gone(id, claim.cid);
            Err(Error::Absent { store: id.clone(), cid: *claim.cid })
        }
        Verdict::Unknown(error) => Err(error),
    }
}

fn store<'a>(stores: &'a Stores, id: &StoreId) -> Result<&'a dyn Store, Error> {
    stores.get(id).map(AsRef::as_ref).ok_or_else(|| Error::NoStore(id.clone()))
}
