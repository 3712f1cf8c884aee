//! The next actions for one object.

use std::collections::BTreeMap;

use super::census::Census;
use super::change::Change;
use super::placement::{Has, Site, rank};
use crate::observed::{Copy, StoreState};
use crate::schedule::{draw, passed};
use crate::{Desired, Observed, StoreId, StoreSpec};

/// Bytes left in the limited stores, minus what this plan is about to write there.
pub(super) type Room = BTreeMap<StoreId, u64>;

/// What to do about one object, and what could not be done.
#[derive(Default)]
pub(crate) struct Decision {
    /// Copies and repairs.
    pub(crate) additions: Vec<Change>,
    /// Trims, after the additions.
    pub(crate) trims: Vec<Change>,
    /// Copies wanted and placed nowhere.
    pub(crate) unplaced: usize,
    /// Why each store that has no copy takes none.
    pub(crate) refusals: Vec<(StoreId, String)>,
    /// Copies that are only there until another one is made elsewhere.
    pub(crate) misplaced: usize,
    /// Copies above `max`, or above `desired` for long enough.
    pub(crate) surplus: Vec<StoreId>,
}

/// Decides for one object. Reserves the room that it takes.
pub(super) fn decide(
    desired: &Desired,
    observed: &Observed,
    census: &Census<'_>,
    room: &mut Room,
) -> Decision {
    let mut decision = Decision::default();
    if census.verified.is_empty() {
        // Without a good source nothing can be made; and what is there may be all that is left.
        return decision;
    }
    let sites = sites(desired, observed, census, room, &mut decision);
    let having = |what: Has| sites.iter().filter(move |site| site.has == what);
    let survivors = having(Has::Copy).count();
    let order = rank(census.cid, &desired.policy.spread, &sites);
    let wanted = census.replicas.desired();
    let missing = wanted.saturating_sub(survivors);
    let (best, rest) = order.split_at(wanted.min(order.len()));
    add(census, best, missing, room, &mut decision);
    decision.misplaced = decision.additions.len().saturating_sub(missing);
    decision.unplaced = missing.saturating_sub(decision.additions.len());
    let keep: Vec<StoreId> = best.iter().map(|site| site.spec.id.clone()).collect();
    remove(desired, observed, census, &keep, rest, survivors, &mut decision);
    decision
}

/// Makes the copies that belong where none is, and repairs the corrupt ones that belong there.
fn add(
    census: &Census<'_>,
    best: &[Site<'_>],
    missing: usize,
    room: &mut Room,
    decision: &mut Decision,
) {
    let corrupt = |id: &StoreId| census.corrupt.iter().find(|(corrupt, ..)| corrupt == id);
    let repairs = best.iter().filter(|site| site.has == Has::Corrupt);
    decision.additions.extend(repairs.filter_map(|site| corrupt(&site.spec.id)).map(
        |(to, entry, _)| Change::Repair {
            cid: *census.cid,
            bytes: census.object.size,
            from: sources(census, to),
            to: to.clone(),
            bad: entry.version.clone(),
        },
    ));
    // Where copies belong cannot be told while some stores cannot be looked at.
    let most =
        if census.blind { missing.saturating_sub(decision.additions.len()) } else { usize::MAX };
    for site in best.iter().filter(|site| site.has == Has::Nothing).take(most) {
        let to = &site.spec.id;
        if let Some(left) = room.get_mut(to) {
            *left = left.saturating_sub(census.object.size);
        }
        decision.additions.push(Change::Copy {
            cid: *census.cid,
            bytes: census.object.size,
            from: sources(census, to),
            to: to.clone(),
        });
    }
}

/// The stores that have a copy or can take one. The others say why not.
fn sites<'a>(
    desired: &'a Desired,
    observed: &Observed,
    census: &Census<'_>,
    room: &Room,
    decision: &mut Decision,
) -> Vec<Site<'a>> {
    let mut sites = Vec::new();
    for spec in &desired.stores {
        let id = &spec.id;
        let copies = [&census.verified, &census.unverified, &census.presumed];
        if copies.iter().any(|copies| copies.contains(id)) {
            sites.push(Site { spec, has: Has::Copy });
        } else if census.corrupt.iter().any(|(corrupt, ..)| corrupt == id) {
            if spec.writable {
                sites.push(Site { spec, has: Has::Corrupt });
            } else {
                let why = "its copy is corrupt and it is not writable".to_owned();
                decision.refusals.push((id.clone(), why));
            }
        } else {
            match refusal(spec, observed, census.object.size, room) {
                None => sites.push(Site { spec, has: Has::Nothing }),
                Some(why) => decision.refusals.push((id.clone(), why)),
            }
        }
    }
    sites
}

fn refusal(spec: &StoreSpec, observed: &Observed, size: u64, room: &Room) -> Option<String> {
    match observed.stores.get(&spec.id) {
        Some(StoreState::Ready { .. } | StoreState::Absent) => {}
        Some(StoreState::Unreachable { why, .. }) => return Some(format!("unreachable: {why}")),
        None => return Some("it was not looked at".to_owned()),
    }
    if !spec.writable {
        return Some("it is not writable".to_owned());
    }
    if spec.weight == 0 {
        return Some("its weight is 0".to_owned());
    }
    let left = *room.get(&spec.id)?;
    (left < size).then(|| format!("it is full: {left} bytes are left and {size} are needed"))
}

/// Verified copies, each destination preferring another one, so that the load is spread.
fn sources(census: &Census<'_>, to: &StoreId) -> Vec<StoreId> {
    let mut from = census.verified.clone();
    from.sort_by(|a, b| {
        let draw = |id: &StoreId| draw(census.cid, id, to.as_str().as_bytes());
        draw(a).total_cmp(&draw(b)).then_with(|| a.cmp(b))
    });
    from
}

/// Marks the copies that are too many, and removes those that may go. `keep` is where copies belong;
/// `rest` are the other sites, the better ones first; `survivors` counts the copies before this plan.
fn remove(
    desired: &Desired,
    observed: &Observed,
    census: &Census<'_>,
    keep: &[StoreId],
    rest: &[Site<'_>],
    survivors: usize,
    decision: &mut Decision,
) {
    let due = census
        .object
        .surplus_since
        .is_some_and(|since| passed(since, desired.policy.trim_after, observed.at));
    let limit = if due { census.replicas.desired() } else { census.replicas.max() };
    let present = survivors - census.presumed.len() + decision.additions.len();
    let excess = present.saturating_sub(limit);
    let there =
        |site: &&Site<'_>| site.has == Has::Copy && !census.presumed.contains(&site.spec.id);
    let spare = rest.iter().rev().filter(there).take(excess);
    // A corrupt copy where none belongs is not worth repairing.
    let corrupt = rest.iter().filter(|site| site.has == Has::Corrupt);
    for site in spare.chain(corrupt) {
        let id = &site.spec.id;
        if site.has == Has::Copy {
            decision.surplus.push(id.clone());
        }
        // What a store that cannot be looked at holds is unknown, so nothing may go anywhere.
        if census.blind || !site.spec.writable {
            continue;
        }
        let version = match census.object.copies.get(id) {
            Some(Copy::Verified { version, .. }) => version,
            Some(Copy::Corrupt { entry, .. }) => &entry.version,
            _ => continue,
        };
        decision.trims.push(Change::Trim {
            cid: *census.cid,
            bytes: census.object.size,
            store: id.clone(),
            version: version.clone(),
            keep: keep.to_vec(),
            need: census.replicas.desired(),
        });
    }
}
