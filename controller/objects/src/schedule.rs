//! When a verified copy is read again.

use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{Cid, StoreId};

/// A number in [0, 1) that is the same for this object and store at all times and everywhere.
pub(crate) fn draw(cid: &Cid, store: &StoreId, salt: &[u8]) -> f64 {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(cid.to_bytes());
    hash.update(store.as_str());
    let head = hash.finalize().iter().take(4).fold(0_u32, |n, byte| n << 8 | u32::from(*byte));
    f64::from(head) / (f64::from(u32::MAX) + 1.0)
}

/// When the copy verified at `at` is due: between half and nine tenths of `max_age` later.
///
/// Spread by object and store, so that what was written together is not read together; and before
/// `max_age`, so that copies do not stop counting while they wait for their turn.
pub(crate) fn due(at: Timestamp, max_age: Duration, cid: &Cid, store: &StoreId) -> Timestamp {
    let wait = max_age.mul_f64(0.5 + 0.4 * draw(cid, store, b"scrub"));
    at.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// Whether `age` has passed between `since` and `now`. A clock that went backwards has not.
pub(crate) fn passed(since: Timestamp, age: Duration, now: Timestamp) -> bool {
    since.saturating_add(age).unwrap_or(Timestamp::MAX) <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_due_before_they_stop_counting_and_not_all_at_once() {
        let at = Timestamp::UNIX_EPOCH;
        let month = Duration::from_hours(720);
        let store: StoreId = "a".parse().expect("name");
        let times: Vec<_> = (0..200).map(|n| due(at, month, &Cid::raw([n; 32]), &store)).collect();
        assert!(times.iter().all(|due| passed(at, month / 2, *due) && !passed(at, month, *due)));
        let early = times.iter().filter(|due| !passed(at, month.mul_f64(0.7), **due)).count();
        assert!((60..140).contains(&early), "{early} of 200 in the first half");
    }
}
