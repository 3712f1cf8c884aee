//! In which stores an object should be.
//!
//! Stores are picked one by one: the one that shares the fewest failure domains with those picked so
//! far, most important level first; then one that has a copy already; then by weighted rendezvous
//! hashing, so that a new store takes over its share of the objects and moves no others.
//!
//! Levels are nested (each is counted within those before it). The penalty is then a laminar concave
//! function, for which picking greedily is optimal, and the result does not depend on how much of it
//! has been carried out: making a copy that was picked, or removing one that was not, changes nothing.

use std::cmp::Reverse;

use crate::schedule::draw;
use crate::{Cid, SpreadKey, StoreId, StoreSpec};

/// A store that may hold a copy.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) spec: &'a StoreSpec,
    pub(super) has: Has,
}

/// What a store has of an object, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Has {
    /// A copy, or perhaps one.
    Copy,
    /// A copy that can be repaired.
    Corrupt,
    Nothing,
}

/// All sites in the order in which they are picked; the first n are where n copies belong.
pub(super) fn rank<'a>(cid: &Cid, spread: &[SpreadKey], sites: &[Site<'a>]) -> Vec<Site<'a>> {
    let mut left = sites.to_vec();
    let mut picked: Vec<Site<'a>> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let best = (0..left.len()).min_by_key(|&at| preference(cid, spread, &left[at], &picked));
        picked.push(left.swap_remove(best.unwrap_or_default()));
    }
    picked
}

/// Smaller is better.
fn preference<'a>(
    cid: &Cid,
    spread: &[SpreadKey],
    site: &Site<'a>,
    picked: &[Site<'_>],
) -> (Vec<usize>, Has, Reverse<u64>, &'a StoreId) {
    let collisions = (1..=spread.len())
        .map(|depth| {
            let keys = &spread[..depth];
            let same = |other: &&Site<'_>| {
                keys.iter().all(|key| other.spec.domain.get(key) == site.spec.domain.get(key))
            };
            picked.iter().filter(same).count()
        })
        .collect();
    (collisions, site.has, Reverse(score(cid, site.spec)), &site.spec.id)
}

/// Weighted rendezvous hashing: the higher, the better. Non-negative floats order like their bits.
fn score(cid: &Cid, store: &StoreSpec) -> u64 {
    let draw = draw(cid, &store.id, b"place").max(f64::MIN_POSITIVE);
    (f64::from(store.weight) / -draw.ln()).to_bits()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn store(id: &str, region: &str, zone: &str, weight: u32) -> StoreSpec {
        let domain = [(SpreadKey::Region, region), (SpreadKey::Zone, zone)];
        StoreSpec {
            id: id.parse().expect("name"),
            domain: domain.map(|(key, value)| (key, value.to_owned())).into(),
            weight,
            writable: true,
        }
    }

    fn ranked(n: u8, spread: &[SpreadKey], stores: &[StoreSpec], have: &[&str]) -> Vec<String> {
        let has = |id: &StoreId| {
            if have.contains(&id.as_str()) { Has::Copy } else { Has::Nothing }
        };
        let sites: Vec<_> = stores.iter().map(|spec| Site { spec, has: has(&spec.id) }).collect();
        let ranked = rank(&Cid::raw([n; 32]), spread, &sites);
        ranked.iter().map(|site| site.spec.id.to_string()).collect()
    }

    #[test]
    fn survivors_are_counted_before_new_places_are_picked() {
        let stores = [store("a", "x", "1", 1), store("b", "x", "2", 1), store("c", "y", "1", 1)];
        for n in 0..50 {
            let both = ranked(n, &[SpreadKey::Region], &stores, &["a"]);
            assert_eq!(both[..2], ["a", "c"], "the second copy goes to the other region");
        }
    }

    #[test]
    fn a_zone_counts_within_its_region() {
        let stores = [
            store("a", "x", "1", 1),
            store("b", "x", "2", 1),
            store("c", "y", "1", 1),
            store("d", "x", "1", 1),
        ];
        let spread = [SpreadKey::Region, SpreadKey::Zone];
        for n in 0..50 {
            let three = ranked(n, &spread, &stores, &["a", "c"]);
            assert_eq!(three[2], "b", "zone 1 of region y does not count in region x");
        }
    }

    #[test]
    fn a_new_store_takes_its_share_and_moves_nothing_else() {
        let four: Vec<_> = ["a", "b", "c", "d"].map(|id| store(id, "x", "1", 100)).into();
        let mut five = four.clone();
        five.push(store("e", "x", "1", 100));
        let mut taken = 0;
        for n in 0..=255 {
            let (before, after) =
                (&ranked(n, &[], &four, &[])[..2], &ranked(n, &[], &five, &[])[..2]);
            let new: Vec<_> = after.iter().filter(|id| !before.contains(id)).collect();
            assert!(new.is_empty() || new == ["e"], "{before:?} became {after:?}");
            taken += new.len();
        }
        assert!((70..140).contains(&taken), "two fifths of 256 expected, {taken} moved");
    }

    #[test]
    fn weight_is_a_share() {
        let stores = [store("big", "x", "1", 300), store("small", "x", "1", 100)];
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        for n in 0..=255 {
            *first.entry(ranked(n, &[], &stores, &[])[0].clone()).or_default() += 1;
        }
        assert!((170..215).contains(&first["big"]), "three quarters of 256 expected: {first:?}");
    }
}
