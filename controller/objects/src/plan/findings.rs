//! What differs, one line each. A store's trouble is one line, however many objects it holds.

use std::collections::BTreeMap;

use cim_plan::{DriftClass, Finding};

use super::census::Census;
use super::change::list;
use super::decide::Decision;
use crate::observed::{Copy, StoreState};
use crate::{Cid, Desired, Observed, StoreId};

/// The stores that are not there, and those whose copies are not verified.
pub(super) fn of_stores(desired: &Desired, observed: &Observed) -> Vec<Finding> {
    let mut unread: BTreeMap<&StoreId, (usize, &Cid, &str)> = BTreeMap::new();
    for (cid, object) in &observed.objects {
        for (store, copy) in &object.copies {
            if let Copy::Unverified { why } = copy {
                unread.entry(store).or_insert((0, cid, why)).0 += 1;
            }
        }
    }
    let mut findings = Vec::new();
    for spec in &desired.stores {
        let subject = format!("object store {}", spec.id);
        findings.extend(match observed.stores.get(&spec.id) {
            Some(StoreState::Ready { .. }) => None,
            Some(StoreState::Absent) => Some(Finding::missing(&*subject, "a bucket")),
            Some(StoreState::Unreachable { why, .. }) => {
                Some(Finding::unverified(&*subject, "a listing", why))
            }
            None => Some(Finding::unverified(&*subject, "a listing", "it was not looked at")),
        });
        if let Some((count, cid, why)) = unread.get(&spec.id) {
            let found = format!("copies that are not verified: {count}; the first is {cid}: {why}");
            findings.push(Finding::unverified(subject, "verified copies", found));
        }
    }
    findings
}

/// What differs about one object.
pub(super) fn of_object(census: &Census<'_>, decision: &Decision) -> Vec<Finding> {
    let subject = format!("object {}", census.cid);
    let wanted = census.replicas.desired();
    let expected = match wanted {
        1 => "1 verified copy".to_owned(),
        n => format!("{n} verified copies"),
    };
    let mut findings = Vec::new();
    for (store, _, why) in &census.corrupt {
        let subject = format!("{subject} in {store}");
        findings.push(Finding::changed(subject, "a verified copy", format!("corrupt: {why}")));
    }
    for store in &decision.surplus {
        findings.push(Finding::unexpected(format!("{subject} in {store}"), "a copy too many"));
    }
    let have = census.verified.len() + census.corrupt.len();
    let maybe = census.unverified.len() + census.presumed.len();
    let class_and_found = if census.is_lost() {
        let seen = census.object.known || !census.corrupt.is_empty();
        let found = if seen { LOST } else { NEVER_SEEN };
        Some((DriftClass::Missing, found.to_owned()))
    } else if census.verified.is_empty() {
        Some((DriftClass::Unverified, tally(census, decision)))
    } else if have + maybe < wanted {
        // What corrupt or unverified copies explain is reported by those.
        Some((DriftClass::Missing, tally(census, decision)))
    } else if decision.misplaced > 0 {
        Some((DriftClass::Changed, format!("badly spread: {}", tally(census, decision))))
    } else {
        None
    };
    findings.extend(class_and_found.map(|(class, found)| Finding {
        class,
        subject,
        expected: Some(expected),
        found: Some(found),
    }));
    findings
}

const LOST: &str = "LOST: no store has a good copy; put the object again or restore a store. \
                    Nothing is removed";
const NEVER_SEEN: &str = "no store has it; put it into one of them";

/// The copies of an object, in words.
fn tally(census: &Census<'_>, decision: &Decision) -> String {
    let mut words = match census.verified.as_slice() {
        [] => vec!["none".to_owned()],
        some => vec![format!("{} ({})", some.len(), list(some))],
    };
    let maybe =
        [("not verified in", &census.unverified), ("perhaps in unreachable", &census.presumed)];
    let some = maybe.into_iter().filter(|(_, which)| !which.is_empty());
    words.extend(some.map(|(what, which)| format!("{what} {}", list(which))));
    if decision.unplaced > 0 {
        let refusals = decision.refusals.iter();
        words.extend(refusals.map(|(store, why)| format!("{store} takes none: {why}")));
    }
    words.join("; ")
}
