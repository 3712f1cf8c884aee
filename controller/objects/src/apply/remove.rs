//! Removals: prove, remove, look again.

use jiff::Timestamp;

use crate::proof::{Claim, Locks, prove};
use crate::{Change, Desired, Error, Ledger, Limits, OnProgress, Stores};

/// Carries out one removal. Nothing is removed unless `Ok` or a later step of this says so.
#[expect(clippy::too_many_arguments, reason = "as `apply`, of which this is one step")]
pub(super) async fn remove(
    stores: &Stores,
    change: &Change,
    desired: &Desired,
    ledger: &mut Ledger,
    limits: &Limits,
    holder: &str,
    now: Timestamp,
    progress: OnProgress<'_>,
) -> Result<(), Error> {
    let (cid, id, version, keep, need) = match change {
        Change::Trim { cid, store, version, keep, need, .. } => {
            (cid, store, Some(version), keep, *need)
        }
        Change::Expunge { cid, store, keep, need, .. } => (cid, store, None, keep, *need),
        _ => return Ok(()),
    };
    let store = stores.get(id).ok_or_else(|| Error::NoStore(id.clone()))?.as_ref();
    let max_age = desired.policy.proof_max_age;
    let claim = Claim { cid, store: id, version, keep, need, max_age, holder, now };
    let mut locks = Locks::default();
    let result = async {
        let proof = prove(stores, &claim, ledger, &mut locks, limits, progress).await?;
        if let Change::Expunge { stray, .. } = change {
            return store.expunge(stray, proof).await;
        }
        let absent = || Error::Absent { store: claim.store.clone(), cid: *cid };
        let entry = store.head(cid).await?.ok_or_else(absent)?;
        store.delete(&entry, proof).await?;
        ledger.gone(claim.store, cid);
        match store.head(cid).await? {
            None => Ok(()),
            Some(_) => Err(Error::Conflict { store: claim.store.clone(), cid: *cid }),
        }
    }
    .await;
    locks.release(stores).await;
    result
}
