//! The plan against a model of the stores: convergence from any world, and what may never happen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cim_plan::testkit::assert_converges;
use cim_plan::{DriftClass, Plan};
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::observed::{Copy, Object};
use crate::{
    Attributes, Cid, Entry, Policy, Replicas, Select, SpreadKey, StoreId, StoreSpec, Stray,
    StrayKind, Version,
};

const NOW: i64 = 1_000_000;

/// What is really in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Real {
    Good,
    /// Good, and not read yet.
    Unread,
    Bad,
}

#[derive(Clone, Debug)]
struct World {
    desired: Desired,
    /// Per store: whether it answers, whether it exists.
    stores: BTreeMap<StoreId, (bool, bool)>,
    copies: BTreeMap<(Cid, StoreId), Real>,
    objects: Vec<Cid>,
    surplus_since: Option<Timestamp>,
    strays: BTreeMap<StoreId, Vec<Stray>>,
}

impl World {
    fn good(&self, cid: &Cid) -> usize {
        self.copies.iter().filter(|((of, _), real)| of == cid && **real != Real::Bad).count()
    }

    fn observed(&self) -> Observed {
        let at = time(NOW);
        let stores = self
            .stores
            .iter()
            .map(|(id, (reachable, exists))| {
                let state = match (reachable, exists) {
                    (false, _) => {
                        StoreState::Unreachable { why: "gone".to_owned(), since: time(NOW - 60) }
                    }
                    (true, false) => StoreState::Absent,
                    (true, true) => StoreState::Ready { used: 0, free: None },
                };
                (id.clone(), state)
            })
            .collect();
        let objects = self.objects.iter().map(|cid| (*cid, self.object(cid))).collect();
        Observed { at, stores, objects, strays: self.strays.clone() }
    }

    fn object(&self, cid: &Cid) -> Object {
        let copies = self
            .copies
            .iter()
            .filter(|((of, _), _)| of == cid)
            .map(|((_, store), real)| {
                let copy = match (self.stores[store].0, real) {
                    (false, _) => Copy::Presumed,
                    (true, Real::Good) => Copy::Verified { version: version(), at: time(NOW) },
                    (true, Real::Unread) => Copy::Unverified { why: "not read".to_owned() },
                    (true, Real::Bad) => Copy::Corrupt { entry: entry(cid), why: "bad".to_owned() },
                };
                (store.clone(), copy)
            })
            .collect();
        Object {
            size: 10,
            attributes: Attributes::new(),
            copies,
            surplus_since: self.surplus_since,
            known: true,
        }
    }

    fn plan(&self) -> Plan<Change> {
        plan(&self.desired, &self.observed())
    }

    /// What the real stores would do, checking what may never happen.
    fn apply(&mut self, change: &Change) {
        let before = change.cid().map(|cid| self.good(cid));
        match change {
            Change::CreateStore { store } => {
                self.stores.insert(store.clone(), (true, true)).map(drop)
            }
            Change::Copy { cid, from, to, .. } => {
                self.assert_writable(to);
                assert!(!self.copies.contains_key(&(*cid, to.clone())), "copied over a copy");
                self.assert_sources(cid, from);
                self.copies.insert((*cid, to.clone()), Real::Good).map(drop)
            }
            Change::Repair { cid, from, to, .. } => {
                self.assert_writable(to);
                assert_eq!(self.copies[&(*cid, to.clone())], Real::Bad, "repaired a good copy");
                self.assert_sources(cid, from);
                self.copies.insert((*cid, to.clone()), Real::Good).map(drop)
            }
            Change::Trim { cid, store, keep, need, .. } => {
                self.assert_writable(store);
                assert!(self.stores.values().all(|(reachable, _)| *reachable), "trimmed blindly");
                // As the proof does, which reads what was not read. A refusal changes nothing.
                let good = |id: &&StoreId| {
                    self.copies.get(&(*cid, (*id).clone())).is_some_and(|real| *real != Real::Bad)
                };
                if keep.iter().filter(|id| *id != store).filter(good).count() < *need {
                    return;
                }
                self.copies.remove(&(*cid, store.clone())).map(drop)
            }
            Change::Expunge { store, stray, .. } => {
                let left = self.strays.get_mut(store).expect("a stray");
                left.retain(|other| other != stray);
                Some(())
            }
        };
        if let (Some(cid), Some(before)) = (change.cid(), before) {
            let after = self.good(cid);
            assert!(
                after >= before.min(self.desired.policy.replicas.desired()),
                "{change}: {before} → {after}"
            );
        }
    }

    fn assert_writable(&self, id: &StoreId) {
        let spec = self.desired.stores.iter().find(|spec| spec.id == *id).expect("declared");
        assert!(spec.writable && self.stores[id] == (true, true), "{id} takes no writes");
    }

    fn assert_sources(&self, cid: &Cid, from: &[StoreId]) {
        assert!(!from.is_empty());
        for id in from {
            assert!(self.stores[id].0 && self.copies[&(*cid, id.clone())] == Real::Good);
        }
    }
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn version() -> Version {
    Version { id: "v".to_owned(), head: 1, tail: 1, parts: 1 }
}

fn entry(cid: &Cid) -> Entry {
    Entry {
        cid: *cid,
        size: 10,
        version: version(),
        attributes: Attributes::new(),
        sha256: None,
        flaw: None,
    }
}

fn id(n: usize) -> StoreId {
    format!("s{n}").parse().expect("a name")
}

fn spec(n: usize, region: u8, zone: u8, provider: u8, weight: u32, writable: bool) -> StoreSpec {
    let domain =
        [(SpreadKey::Region, region), (SpreadKey::Zone, zone), (SpreadKey::Provider, provider)];
    StoreSpec {
        id: id(n),
        domain: domain.map(|(key, value)| (key, value.to_string())).into(),
        weight,
        writable,
    }
}

fn a_store() -> impl Strategy<Value = (StoreSpec, bool, bool)> {
    let odds = |often: u32| prop::bool::weighted(f64::from(often) / 10.0);
    (
        0..3_u8,
        0..3_u8,
        0..2_u8,
        prop_oneof![9 => 1..300_u32, 1 => Just(0)],
        odds(9),
        odds(9),
        odds(9),
    )
        .prop_map(|(region, zone, provider, weight, writable, reachable, exists)| {
            (spec(0, region, zone, provider, weight, writable), reachable, exists)
        })
}

prop_compose! {
    fn a_world()(
        stores in prop::collection::vec(a_store(), 1..8),
        (min, more, most) in (1..3_u32, 0..3_u32, 0..3_u32),
        spread in prop::sample::subsequence(
            vec![SpreadKey::Region, SpreadKey::Zone, SpreadKey::Provider], 0..=3,
        ).prop_shuffle(),
        copies in prop::collection::vec(
            prop::collection::vec(
                prop_oneof![
                    3 => Just(None), 4 => Just(Some(Real::Good)),
                    1 => Just(Some(Real::Unread)), 2 => Just(Some(Real::Bad)),
                ],
                8,
            ),
            1..4,
        ),
        stray in any::<bool>(),
        surplus in prop::option::of(0..10_000_i64),
    ) -> World {
        let replicas = Replicas::new(min, min + more, min + more + most).expect("ordered");
        let mut specs = Vec::new();
        let mut states = BTreeMap::new();
        for (n, (spec, reachable, exists)) in stores.into_iter().enumerate() {
            states.insert(id(n), (reachable, exists));
            specs.push(StoreSpec { id: id(n), ..spec });
        }
        let objects: Vec<Cid> =
            (0..copies.len()).map(|n| Cid::raw([u8::try_from(n).expect("few"); 32])).collect();
        let held = objects.iter().zip(&copies).flat_map(|(cid, row)| {
            specs.iter().zip(row).filter_map(|(spec, real)| {
                let here = states[&spec.id].1;
                real.filter(|_| here).map(|real| ((*cid, spec.id.clone()), real))
            })
        }).collect();
        let strays = if stray && states[&id(0)] == (true, true) {
            [(id(0), vec![Stray {
                kind: StrayKind::Quarantined { cid: objects[0] },
                id: "old".to_owned(), parts: 1, since: time(0),
            }])].into()
        } else {
            BTreeMap::new()
        };
        World {
            desired: Desired {
                policy: Policy { spread, ..Policy::new(replicas) },
                select: Select::All,
                stores: specs,
                others: vec![],
            },
            stores: states,
            copies: held,
            objects,
            surplus_since: surplus.map(|ago| time(NOW - ago)),
            strays,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn it_converges_from_any_world_and_any_crash(world in a_world()) {
        assert_converges(&world, World::plan, World::apply);
    }

    #[test]
    fn nothing_is_removed_while_any_store_is_unknown(world in a_world()) {
        if world.stores.values().any(|(reachable, _)| !reachable) {
            prop_assert!(world.plan().changes.iter().all(|change| !change.is_removal()));
        }
    }

    #[test]
    fn a_lost_object_is_reported_and_not_touched(world in a_world()) {
        let plan = world.plan();
        for cid in &world.objects {
            if world.copies.iter().all(|((of, _), real)| of != cid || *real == Real::Bad) {
                prop_assert!(plan.changes.iter().all(|change| change.cid() != Some(cid)));
                let subject = format!("object {cid}");
                prop_assert!(plan.findings.iter().any(|finding| finding.subject == subject));
            }
        }
    }

    #[test]
    fn a_converged_world_is_as_well_spread_as_it_can_be(mut world in a_world()) {
        world.stores.values_mut().for_each(|state| *state = (true, true));
        world.desired.stores.iter_mut().for_each(|spec| (spec.writable, spec.weight) = (true, 1));
        world.copies.values_mut().for_each(|real| *real = Real::Good);
        let changes = world.plan().changes;
        for change in &changes {
            world.apply(change);
        }
        let Some(key) = world.desired.policy.spread.first() else { return Ok(()) };
        let domain = |id: &StoreId| {
            let spec = world.desired.stores.iter().find(|spec| spec.id == *id).expect("declared");
            spec.domain.get(key).cloned()
        };
        let all: BTreeSet<_> = world.desired.stores.iter().map(|spec| domain(&spec.id)).collect();
        for cid in &world.objects {
            let used: BTreeSet<_> =
                world.copies.keys().filter(|(of, _)| of == cid).map(|(_, id)| domain(id)).collect();
            let copies = world.good(cid);
            if copies > 0 {
                let wanted = world.desired.policy.replicas.desired().min(world.stores.len());
                prop_assert!(copies >= wanted);
                prop_assert!(used.len() >= all.len().min(wanted), "{used:?} of {all:?}");
            }
        }
    }
}

fn world(copies: &[(usize, Real)], stores: usize, replicas: (u32, u32, u32)) -> World {
    let cid = Cid::raw([7; 32]);
    let replicas = Replicas::new(replicas.0, replicas.1, replicas.2).expect("ordered");
    World {
        desired: Desired {
            policy: Policy::new(replicas),
            select: Select::All,
            stores: (0..stores).map(|n| spec(n, 0, 0, 0, 1, true)).collect(),
            others: vec![],
        },
        stores: (0..stores).map(|n| (id(n), (true, true))).collect(),
        copies: copies.iter().map(|(n, real)| ((cid, id(*n)), *real)).collect(),
        objects: vec![cid],
        surplus_since: None,
        strays: BTreeMap::new(),
    }
}

#[test]
fn a_corrupt_copy_is_one_changed_item_and_is_repaired_in_place() {
    let world = world(&[(0, Real::Good), (1, Real::Good), (2, Real::Bad)], 3, (2, 3, 5));
    let plan = world.plan();
    assert_eq!(plan.count(DriftClass::Changed), 1);
    assert_eq!(plan.findings.len(), 1, "{:?}", plan.findings);
    assert!(matches!(&plan.changes[..], [Change::Repair { to, .. }] if *to == id(2)));
}

#[test]
fn fewer_stores_than_copies_says_so_per_store() {
    let mut world = world(&[(0, Real::Good)], 3, (2, 3, 5));
    world.desired.stores[1].writable = false;
    world.desired.stores[2].weight = 0;
    let Assessment { plan, stats } = assess(&world.desired, &world.observed(), 5);
    assert!(plan.is_empty());
    assert_eq!((stats.unschedulable, stats.refusals.len()), (2, 2));
    let found = plan.findings[0].found.as_deref().expect("found");
    assert!(found.contains("s1 takes none: it is not writable"), "{found}");
    assert!(found.contains("s2 takes none: its weight is 0"), "{found}");
    assert_eq!((stats.worst[0].verified.as_slice(), stats.bytes_at_risk), (&[id(0)][..], 10));
}

#[test]
fn an_unreachable_copy_is_waited_for_and_then_replaced() {
    let mut world = world(&[(0, Real::Good), (1, Real::Good), (2, Real::Good)], 4, (1, 3, 5));
    world.stores.insert(id(2), (false, true));
    let plan = world.plan();
    assert!(plan.is_empty(), "within the grace: {plan}");
    assert_eq!((plan.count(DriftClass::Unverified), plan.findings.len()), (1, 1));
    world.desired.policy.grace = Duration::from_secs(30);
    assert!(matches!(&world.plan().changes[..], [Change::Copy { to, .. }] if *to == id(3)));
}

#[test]
fn the_last_copy_is_not_waited_with() {
    let mut world = world(&[(0, Real::Good), (1, Real::Good), (2, Real::Good)], 5, (1, 3, 5));
    world.stores.insert(id(1), (false, true));
    world.stores.insert(id(2), (false, true));
    assert_eq!(world.plan().changes.len(), 2, "one copy is in reach: two more are made at once");
}

#[test]
fn most_stores_gone_at_once_means_that_we_are_cut_off() {
    let good: Vec<_> = (0..7).map(|n| (n, Real::Good)).collect();
    let mut world = world(&good, 8, (1, 7, 7));
    world.stores.extend((2..7).map(|n| (id(n), (false, true))));
    world.desired.policy.grace = Duration::ZERO;
    assert!(world.plan().is_empty());
}

#[test]
fn surplus_within_max_is_kept_for_a_while() {
    let mut world = world(&[(0, Real::Good), (1, Real::Good), (2, Real::Good)], 3, (1, 2, 3));
    assert!(world.plan().is_empty() && world.plan().findings.is_empty());
    world.surplus_since = Some(time(NOW - 3600));
    let plan = world.plan();
    assert!(matches!(&plan.changes[..], [Change::Trim { need: 2, .. }]));
    assert_eq!(plan.count(DriftClass::Unexpected), 1);
}

#[test]
fn another_policy_over_the_same_object_keeps_its_copies() {
    let mut world = world(&[(0, Real::Good), (1, Real::Good), (2, Real::Good)], 3, (1, 1, 1));
    assert_eq!(world.plan().changes.len(), 2);
    world.desired.others = vec![(Select::All, Replicas::new(1, 3, 3).expect("ordered"))];
    assert!(world.plan().is_empty());
}

#[test]
fn the_object_nearest_to_loss_comes_first() {
    let mut world = world(&[(0, Real::Good), (1, Real::Good)], 4, (2, 3, 5));
    let alone = Cid::raw([9; 32]);
    world.objects.push(alone);
    world.copies.insert((alone, id(0)), Real::Good);
    let plan = world.plan();
    assert_eq!(plan.changes.iter().map(|change| change.cid()).next(), Some(Some(&alone)));
}

#[test]
fn room_that_is_promised_is_not_promised_twice() {
    let mut world = world(&[(0, Real::Good)], 2, (1, 2, 2));
    let other = Cid::raw([9; 32]);
    world.objects.push(other);
    world.copies.insert((other, id(0)), Real::Good);
    let mut observed = world.observed();
    observed.stores.insert(id(1), StoreState::Ready { used: 0, free: Some(15) });
    let Assessment { plan, stats } = assess(&world.desired, &observed, 1);
    assert_eq!((plan.changes.len(), stats.unschedulable), (1, 1));
    assert!(stats.refusals[&id(1)].contains("5 bytes are left and 10 are needed"));
}
