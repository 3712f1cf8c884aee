use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The shortest way from `start` back to itself; among equals the first in order. A cycle is thus
/// told to each of its members from its own point of view, whatever the order of the inventory.
pub(crate) fn shortest_cycle<K: Ord + Clone>(
    edges: &BTreeMap<&K, BTreeSet<&K>>,
    start: &K,
) -> Option<Vec<K>> {
    let mut reached_from: BTreeMap<&K, &K> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(here) = queue.pop_front() {
        for next in edges.get(here).into_iter().flatten().copied() {
            if next == start {
                let back = std::iter::successors(Some(here), |key| reached_from.get(key).copied());
                let mut path: Vec<K> = std::iter::once(start).chain(back).cloned().collect();
                path.reverse();
                return Some(path);
            }
            if !reached_from.contains_key(next) {
                reached_from.insert(next, here);
                queue.push_back(next);
            }
        }
    }
    None
}
