//! Looking: light at every store in every pass, deep where something changed or is due.
//!
//! ```text
//! presence ── mark unchanged ──▶ last listing stands
//!          └─ mark changed   ──▶ list ── version unchanged, not due ──▶ last check stands
//!                                     └─ else                       ──▶ rehash
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::ledger::{Known, Ledger, Outcome, Shelf};
use crate::schedule::{due, passed};
use crate::{
    Attributes, Cid, Copy, Desired, Entry, Error, Item, Limits, Mark, Object, Observed, OnProgress,
    Presence, Store, StoreId, StoreState, Stores, Stray, Verdict, verify,
};

/// Which copies are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehash {
    /// Those that changed, were never read, or are due.
    Due,
    /// All, whatever the ledger says.
    All,
}

/// Looks at the declared stores and the selected objects in them, and updates `ledger`.
///
/// Never fails as a whole: a store that fails is [`StoreState::Unreachable`]. A declared store that
/// is not in `stores` is unreachable too. `now` is the time that checks are dated by.
pub async fn observe(
    stores: &Stores,
    desired: &Desired,
    ledger: &mut Ledger,
    rehash: Rehash,
    limits: &Limits,
    now: Timestamp,
    progress: OnProgress<'_>,
) -> Observed {
    let mut states = BTreeMap::new();
    for (id, seen) in survey(stores, desired, ledger).await {
        let shelf = ledger.shelves.entry(id.clone()).or_default();
        states.insert(id, shelve(shelf, seen, now));
    }
    let selected = selected(desired, ledger, &states);
    let due = copies_due(desired, ledger, &states, &selected, rehash, now);
    let unread = rehash_all(stores, ledger, due, limits, now, progress).await;
    let objects = selected
        .into_iter()
        .map(|cid| (cid, object(desired, ledger, &states, &unread, cid, now)))
        .collect();
    let strays = states
        .iter()
        .filter(|(_, state)| matches!(state, StoreState::Ready { .. }))
        .filter_map(|(id, _)| Some((id.clone(), ledger.shelves.get(id)?.strays.clone())))
        .collect();
    Observed { at: now, stores: states, objects, strays }
}

/// What one look at a store gave.
enum Seen {
    Absent,
    Unchanged {
        used: u64,
        free: Option<u64>,
    },
    Listed {
        mark: Mark,
        used: u64,
        free: Option<u64>,
        entries: BTreeMap<Cid, Entry>,
        strays: Vec<Stray>,
    },
}

async fn survey(
    stores: &Stores,
    desired: &Desired,
    ledger: &Ledger,
) -> Vec<(StoreId, Result<Seen, Error>)> {
    let looks = desired.stores.iter().map(|spec| async move {
        let id = spec.id.clone();
        let mark = ledger.shelves.get(&id).and_then(|shelf| shelf.mark.as_ref());
        let seen = match stores.get(&id) {
            Some(store) => look(store.as_ref(), mark).await,
            None => Err(Error::NoStore(id.clone())),
        };
        (id, seen)
    });
    futures::future::join_all(looks).await
}

async fn look(store: &dyn Store, last: Option<&Mark>) -> Result<Seen, Error> {
    let (mark, used, free) = match store.presence().await? {
        Presence::Absent => return Ok(Seen::Absent),
        // Taken before the listing: what changes during it shows at the next look.
        Presence::Here { mark, used, free } if last != Some(&mark) => (mark, used, free),
        Presence::Here { used, free, .. } => return Ok(Seen::Unchanged { used, free }),
    };
    let (mut entries, mut strays) = (BTreeMap::new(), Vec::new());
    store
        .list(&mut |item| match item {
            Item::Copy(entry) => drop(entries.insert(entry.cid, entry)),
            Item::Stray(stray) => strays.push(stray),
        })
        .await?;
    Ok(Seen::Listed { mark, used, free, entries, strays })
}

fn shelve(shelf: &mut Shelf, seen: Result<Seen, Error>, now: Timestamp) -> StoreState {
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => {
            let since = *shelf.unreachable_since.get_or_insert(now);
            return StoreState::Unreachable { why: error.to_string(), since };
        }
    };
    shelf.unreachable_since = None;
    match seen {
        Seen::Unchanged { used, free } => StoreState::Ready { used, free },
        Seen::Absent => {
            *shelf = Shelf::default();
            StoreState::Absent
        }
        Seen::Listed { mark, used, free, entries, strays } => {
            shelf.checks.retain(|cid, _| entries.contains_key(cid));
            shelf.mark = Some(mark);
            shelf.entries = entries;
            shelf.strays = strays;
            StoreState::Ready { used, free }
        }
    }
}

/// The objects that are meant: by what any copy says, by name, or because they were here before.
fn selected(
    desired: &Desired,
    ledger: &Ledger,
    states: &BTreeMap<StoreId, StoreState>,
) -> BTreeSet<Cid> {
    let entries = states.keys().filter_map(|id| ledger.shelves.get(id)).flat_map(|s| &s.entries);
    let mut selected: BTreeSet<Cid> = entries
        .filter(|(cid, entry)| desired.select.matches(cid, &entry.attributes))
        .map(|(cid, _)| *cid)
        .collect();
    selected.extend(desired.select.named_cids());
    if desired.select == crate::Select::All {
        selected.extend(ledger.known.keys());
    }
    selected
}

fn copies_due(
    desired: &Desired,
    ledger: &Ledger,
    states: &BTreeMap<StoreId, StoreState>,
    selected: &BTreeSet<Cid>,
    rehash: Rehash,
    now: Timestamp,
) -> Vec<(Cid, StoreId)> {
    let mut copies = Vec::new();
    for (id, state) in states {
        let (StoreState::Ready { .. }, Some(shelf)) = (state, ledger.shelves.get(id)) else {
            continue;
        };
        for cid in shelf.entries.keys().filter(|cid| selected.contains(cid)) {
            let at = ledger.check(cid, id).map(|check| check.at);
            let is_due = at.is_none_or(|at| due(at, desired.policy.max_age, cid, id) <= now);
            if is_due || rehash == Rehash::All {
                copies.push((at, *cid, id.clone()));
            }
        }
    }
    // Never read before longest ago, so that a pass that runs out of time leaves the freshest.
    copies.sort();
    copies.into_iter().map(|(_, cid, id)| (cid, id)).collect()
}

/// Why copies could not be read in this pass.
type Unread = BTreeMap<(Cid, StoreId), String>;

async fn rehash_all(
    stores: &Stores,
    ledger: &mut Ledger,
    due: Vec<(Cid, StoreId)>,
    limits: &Limits,
    now: Timestamp,
    progress: OnProgress<'_>,
) -> Unread {
    let mut unread = Unread::new();
    let end = Instant::now() + limits.pass;
    let mut due = due.into_iter();
    let mut running: FuturesUnordered<BoxFuture<'_, _>> = FuturesUnordered::new();
    loop {
        // A job exists only while it runs: there may be a million copies to read.
        while running.len() < limits.jobs.max(1) && Instant::now() < end {
            let Some((cid, id)) = due.next() else { break };
            let Some(store) = stores.get(&id).map(Arc::clone) else { continue };
            let job =
                async move { (cid, id, verify(store.as_ref(), &cid, limits, progress).await) };
            running.push(job.boxed());
        }
        let Some((cid, id, verdict)) = running.next().await else { break };
        match verdict {
            Verdict::Verified(entry) => ledger.verified(&id, entry, now),
            Verdict::Corrupt { entry, why } => ledger.corrupt(&id, entry, now, why),
            Verdict::Missing => ledger.gone(&id, &cid),
            // The earlier check stands as long as its age allows.
            Verdict::Unknown(error) => drop(unread.insert((cid, id), error.to_string())),
        }
    }
    unread
}

fn object(
    desired: &Desired,
    ledger: &mut Ledger,
    states: &BTreeMap<StoreId, StoreState>,
    unread: &Unread,
    cid: Cid,
    now: Timestamp,
) -> Object {
    let mut object = Object::default();
    for (id, state) in states {
        let Some(shelf) = ledger.shelves.get(id) else { continue };
        let entry = shelf.entries.get(&cid);
        let check = ledger.check(&cid, id).map(|check| (&check.outcome, check.at, &check.version));
        let corrupt = matches!(check, Some((Outcome::Corrupt(_), ..)));
        let copy = match (state, entry) {
            (StoreState::Ready { .. }, Some(entry)) => {
                let why = unread.get(&(cid, id.clone())).map(String::as_str);
                copy(entry, check, why, desired.policy.max_age, now)
            }
            // Never listed: it may hold anything.
            (StoreState::Unreachable { .. }, entry)
                if (entry.is_some() || shelf.mark.is_none()) && !corrupt =>
            {
                Copy::Presumed
            }
            _ => continue,
        };
        object.copies.insert(id.clone(), copy);
        if let Some(entry) = entry.filter(|entry| entry.flaw.is_none() && !corrupt) {
            object.size = entry.size;
            if object.attributes == Attributes::default() {
                object.attributes = entry.attributes.clone();
            }
        }
    }
    let verified = object.copies.values().filter(|c| matches!(c, Copy::Verified { .. })).count();
    let wanted = desired.replicas_for(&cid, &object.attributes).desired();
    if let Some(known) = ledger.known.get_mut(&cid) {
        let Known { size, surplus_since } = known;
        let since = (verified > wanted).then(|| surplus_since.unwrap_or(now));
        *surplus_since = since;
        object.surplus_since = since;
        object.known = true;
        object.size = object.size.max(*size);
    }
    object
}

fn copy(
    entry: &Entry,
    check: Option<(&Outcome, Timestamp, &crate::Version)>,
    unread: Option<&str>,
    max_age: Duration,
    now: Timestamp,
) -> Copy {
    match check {
        Some((Outcome::Corrupt(why), ..)) => {
            Copy::Corrupt { entry: entry.clone(), why: why.clone() }
        }
        Some((Outcome::Verified, at, _)) if passed(at, max_age, now) => {
            let why = unread.unwrap_or("nobody came to read it again");
            Copy::Unverified { why: format!("last verified at {at}: {why}") }
        }
        Some((Outcome::Verified, at, version)) => Copy::Verified { version: version.clone(), at },
        None => Copy::Unverified { why: unread.unwrap_or("it has not been read yet").to_owned() },
    }
}
