//! Whole passes (observe, plan, apply) over stores in memory that fail, rot and lose.

#![allow(clippy::expect_used, reason = "a test's helper fails like the test itself")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cim_objects::store::memory::MemoryStore;
use cim_objects::{
    Applied, Assessment, Attributes, Change, Cid, Desired, Ledger, Limits, Observed, Policy,
    Rehash, Replicas, Select, StoreId, StoreSpec, Stores, Stray, StrayKind, apply, assess, observe,
    put_bytes,
};
use cim_plan::DriftClass;
use jiff::Timestamp;
use proptest::prelude::*;

fn id(n: usize) -> StoreId {
    format!("s{n}").parse().expect("a name")
}

/// A controller with its stores, and a clock that the tests turn.
struct Rig {
    memory: Vec<Arc<MemoryStore>>,
    stores: Stores,
    desired: Desired,
    ledger: Ledger,
    now: Timestamp,
    limits: Limits,
}

impl Rig {
    fn new(stores: usize, (min, desired, max): (u32, u32, u32)) -> Self {
        let memory: Vec<_> = (0..stores).map(|n| Arc::new(MemoryStore::new(id(n)))).collect();
        let spec = |n| StoreSpec { id: id(n), domain: BTreeMap::new(), weight: 1, writable: true };
        let replicas = Replicas::new(min, desired, max).expect("ordered");
        Self {
            stores: memory.iter().map(|s| (s_id(s), s.clone() as Arc<_>)).collect(),
            memory,
            desired: Desired {
                policy: Policy::new(replicas),
                select: Select::All,
                stores: (0..stores).map(spec).collect(),
                others: vec![],
            },
            ledger: Ledger::new(),
            now: Timestamp::from_second(1_000_000).expect("in range"),
            limits: Limits::default(),
        }
    }

    async fn put(&self, store: usize, bytes: &[u8]) -> Cid {
        let bytes = Bytes::copy_from_slice(bytes);
        let store = self.memory[store].as_ref();
        let put = put_bytes(store, &Attributes::new().named("x"), bytes, &self.limits).await;
        put.expect("stored").cid
    }

    async fn observe(&mut self) -> Observed {
        let (stores, desired, now) = (&self.stores, &self.desired, self.now);
        observe(stores, desired, &mut self.ledger, Rehash::Due, &self.limits, now, &|_| {}).await
    }

    async fn look(&mut self) -> Assessment {
        let observed = self.observe().await;
        assess(&self.desired, &observed, 5)
    }

    async fn act(&mut self, seen: &Assessment) -> Applied {
        let (stores, desired, now) = (&self.stores, &self.desired, self.now);
        let (ledger, limits) = (&mut self.ledger, &self.limits);
        apply(&seen.plan, stores, desired, ledger, limits, "me", now, &|_| {}).await
    }

    async fn pass(&mut self) -> (Assessment, Applied) {
        let seen = self.look().await;
        let applied = self.act(&seen).await;
        (seen, applied)
    }

    fn later(&mut self, by: Duration) {
        self.now = self.now.checked_add(by).expect("in range");
    }

    fn befall(&self, cids: &[Cid], faults: Vec<(usize, usize, Fault)>) {
        for (store, object, fault) in faults {
            let store = &self.memory[store % self.memory.len()];
            let cid = &cids[object % cids.len()];
            match fault {
                Fault::Overwrite => store.overwrite(cid, "something else"),
                Fault::Rot => store.rot(cid),
                Fault::Lose => store.lose(cid),
                Fault::Unreachable => store.set_reachable(false),
                Fault::FailAfter(writes) => store.fail_after(writes),
                Fault::Destroy => store.destroy(),
            }
        }
    }

    fn good(&self, cid: &Cid) -> usize {
        self.memory.iter().filter(|store| store.is_good(cid)).count()
    }

    fn effort(&self) -> (u64, u64) {
        let each = self.memory.iter().map(|store| store.effort());
        each.fold((0, 0), |(reads, lists), (r, l)| (reads + r, lists + l))
    }
}

fn s_id(store: &Arc<MemoryStore>) -> StoreId {
    cim_objects::Store::id(store.as_ref()).clone()
}

#[tokio::test]
async fn copies_are_made_and_an_unchanged_world_is_neither_listed_nor_read() {
    let mut rig = Rig::new(3, (2, 3, 5));
    let cid = rig.put(0, b"hello").await;
    let (seen, applied) = rig.pass().await;
    assert_eq!((seen.stats.verified, applied.done.len(), rig.good(&cid)), (1, 2, 3));
    let (seen, _) = rig.pass().await;
    assert!(seen.plan.is_empty() && seen.plan.findings.is_empty(), "{:?}", seen.plan);
    assert_eq!((seen.stats.satisfied, seen.stats.verified), (1, 3));
    let before = rig.effort();
    rig.later(Duration::from_hours(1));
    let (seen, _) = rig.pass().await;
    assert_eq!((seen.stats.satisfied, rig.effort()), (1, before));
}

#[tokio::test]
async fn a_copy_damaged_through_the_store_is_seen_and_repaired_at_once() {
    let mut rig = Rig::new(3, (2, 3, 5));
    let cid = rig.put(0, b"hello").await;
    rig.pass().await;
    rig.memory[1].overwrite(&cid, "jello");
    let (seen, applied) = rig.pass().await;
    assert_eq!((seen.stats.corrupt, seen.plan.count(DriftClass::Changed)), (1, 1));
    assert!(matches!(&applied.done[..], [Change::Repair { .. }]), "{applied:?}");
    assert_eq!((rig.good(&cid), rig.memory[1].quarantined()), (3, 1));
    assert_eq!(rig.look().await.stats.satisfied, 1);
}

#[tokio::test]
async fn rot_is_found_by_the_schedule() {
    let mut rig = Rig::new(3, (2, 3, 5));
    let cid = rig.put(0, b"hello").await;
    rig.pass().await;
    rig.memory[2].rot(&cid);
    assert_eq!(rig.look().await.stats.corrupt, 0, "nothing shows that");
    rig.later(Duration::from_hours(24 * 27));
    let (seen, _) = rig.pass().await;
    assert_eq!((seen.stats.corrupt, rig.good(&cid)), (1, 3));
}

#[tokio::test]
async fn when_every_copy_is_bad_nothing_is_touched() {
    let mut rig = Rig::new(3, (2, 3, 5));
    let cid = rig.put(0, b"hello").await;
    rig.pass().await;
    rig.memory[0].overwrite(&cid, "jello");
    rig.memory[1].overwrite(&cid, "bello");
    rig.memory[2].lose(&cid);
    let (seen, applied) = rig.pass().await;
    assert_eq!((seen.stats.lost, applied.done.len(), seen.stats.worst.len()), (1, 0, 1));
    let found =
        seen.plan.findings.iter().any(|f| f.found.as_ref().is_some_and(|f| f.contains("LOST")));
    assert!(found && rig.memory[0].has(&cid) && rig.memory[1].has(&cid));
    // Putting the object again is the way back.
    assert_eq!(rig.put(0, b"hello").await, cid);
    rig.pass().await;
    assert_eq!((rig.good(&cid), rig.look().await.stats.lost), (3, 0));
}

#[tokio::test]
async fn an_object_that_vanished_everywhere_is_lost_until_it_is_forgotten() {
    let mut rig = Rig::new(2, (1, 2, 2));
    let cid = rig.put(0, b"hello").await;
    rig.pass().await;
    rig.memory.iter().for_each(|store| store.lose(&cid));
    assert_eq!(rig.look().await.stats.lost, 1);
    rig.ledger.forget(&cid);
    assert_eq!(rig.look().await.stats.objects, 0);
}

#[tokio::test]
async fn an_unreachable_store_is_unknown_and_stops_removals() {
    let mut rig = Rig::new(4, (1, 2, 2));
    let cid = rig.put(0, b"hello").await;
    rig.put(1, b"hello").await;
    rig.put(2, b"hello").await;
    rig.memory[3].set_reachable(false);
    let (seen, applied) = rig.pass().await;
    assert_eq!((seen.plan.count(DriftClass::Unverified), seen.stats.surplus), (1, 1));
    assert_eq!((applied.done.len(), rig.good(&cid)), (0, 3));
    rig.memory[3].set_reachable(true);
    let (_, applied) = rig.pass().await;
    assert!(matches!(&applied.done[..], [Change::Trim { .. }]), "{applied:?}");
    assert_eq!(rig.good(&cid), 2);
}

#[tokio::test]
async fn a_source_that_has_rotted_is_not_spread_and_is_read_again() {
    let mut rig = Rig::new(3, (1, 3, 3));
    let cid = rig.put(0, b"hello").await;
    rig.put(1, b"hello").await;
    let seen = rig.look().await;
    rig.memory[0].rot(&cid);
    let (stores, now) = (&rig.stores, rig.now);
    let applied =
        apply(&seen.plan, stores, &rig.desired, &mut rig.ledger, &rig.limits, "me", now, &|_| {})
            .await;
    assert_eq!((applied.done.len(), rig.good(&cid)), (1, 2));
    rig.pass().await;
    rig.pass().await;
    // The copy may have come from the good source at once; the rot is then the schedule's to find.
    rig.later(Duration::from_hours(24 * 27));
    rig.pass().await;
    assert_eq!(rig.good(&cid), 3);
}

#[tokio::test]
async fn a_trim_rests_on_copies_that_are_read_again_if_they_were_not_lately() {
    let mut rig = Rig::new(3, (1, 2, 2));
    let cid = rig.put(0, b"hello").await;
    rig.put(1, b"hello").await;
    rig.put(2, b"hello").await;
    let seen = rig.look().await;
    let [Change::Trim { keep, .. }] = &seen.plan.changes[..] else { panic!("{:?}", seen.plan) };
    // Both copies that would stay rot after they were verified, and then time passes.
    for store in rig.memory.iter().filter(|store| keep.contains(&s_id(store))) {
        store.rot(&cid);
    }
    rig.later(Duration::from_mins(20));
    let (stores, now) = (&rig.stores, rig.now);
    let applied =
        apply(&seen.plan, stores, &rig.desired, &mut rig.ledger, &rig.limits, "me", now, &|_| {})
            .await;
    assert_eq!((applied.done.len(), rig.good(&cid)), (0, 1), "the last good copy stays");
    let error = applied.failed[0].1.to_string();
    assert!(error.contains("0 other copies are verified and locked, 2 are needed"), "{error}");
    rig.pass().await;
    assert_eq!(rig.good(&cid), 2, "one of the others is repaired, the spare one goes");
}

#[tokio::test]
async fn two_controllers_do_not_drop_each_others_reasons() {
    let mut rig = Rig::new(3, (1, 2, 2));
    let cid = rig.put(0, b"hello").await;
    rig.put(1, b"hello").await;
    rig.put(2, b"hello").await;
    let lock = rig.stores[&id(1)].lock(&cid, "another", Duration::from_mins(10)).await;
    let (_, applied) = rig.pass().await;
    assert_eq!((applied.done.len(), rig.good(&cid)), (0, 3));
    assert!(applied.failed[0].1.to_string().contains("another"), "{:?}", applied.failed);
    rig.stores[&id(1)].unlock(lock.expect("locked")).await.expect("unlocked");
    let (_, applied) = rig.pass().await;
    assert_eq!((applied.done.len(), rig.good(&cid)), (1, 2));
}

#[tokio::test]
async fn leftovers_go_once_they_are_old_and_the_object_is_whole() {
    let mut rig = Rig::new(3, (1, 3, 3));
    let cid = rig.put(0, b"hello").await;
    let stray = |kind| Stray { kind, id: "left".to_owned(), parts: 1, since: rig.now };
    rig.memory[0].add_stray(stray(StrayKind::Unfinished { cid }));
    rig.memory[1].add_stray(stray(StrayKind::Foreign { name: "notes.txt".to_owned() }));
    rig.memory[2].add_stray(stray(StrayKind::Orphan));
    let (seen, _) = rig.pass().await;
    assert_eq!(seen.plan.count(DriftClass::Unexpected), 1, "the foreign object is reported");
    rig.later(Duration::from_hours(2));
    let (seen, applied) = rig.pass().await;
    assert!(matches!(&applied.done[..], [Change::Expunge { .. }]), "{applied:?}");
    assert_eq!(seen.plan.count(DriftClass::Unexpected), 2, "and the orphan, once it is old");
    assert!(rig.look().await.plan.is_empty());
}

#[tokio::test]
async fn a_store_that_vanished_is_created_and_filled() {
    let mut rig = Rig::new(3, (1, 3, 3));
    let cid = rig.put(0, b"hello").await;
    rig.pass().await;
    rig.memory[2].destroy();
    let (seen, applied) = rig.pass().await;
    assert_eq!(seen.plan.count(DriftClass::Missing), 2, "{:?}", seen.plan.findings);
    assert_eq!((applied.done.len(), rig.good(&cid)), (2, 3));
}

#[tokio::test]
async fn a_copy_that_cannot_be_read_is_neither_good_nor_corrupt() {
    let mut rig = Rig::new(3, (1, 2, 3));
    let cid = rig.put(0, b"hello").await;
    rig.put(1, b"hello").await;
    rig.memory[1].set_readable(false);
    let (seen, applied) = rig.pass().await;
    assert_eq!((seen.stats.verified, seen.stats.unverified, seen.stats.corrupt), (1, 1, 0));
    let found = seen.plan.findings[0].found.as_deref().expect("found");
    assert!(found.contains("input/output error"), "{found}");
    assert!(applied.done.is_empty(), "it may be good: {applied:?}");
    rig.memory[1].set_readable(true);
    assert_eq!((rig.look().await.stats.verified, rig.good(&cid)), (2, 2));
    // Once verified, it counts until its time is over, also while it cannot be read again.
    rig.memory[1].set_readable(false);
    rig.later(Duration::from_hours(24 * 28));
    assert_eq!(rig.look().await.stats.verified, 2);
    rig.later(Duration::from_hours(24 * 3));
    assert_eq!(rig.look().await.stats.unverified, 1);
}

#[tokio::test]
async fn an_object_that_cannot_be_verified_is_reported_and_left_alone() {
    let mut rig = Rig::new(2, (1, 2, 2));
    // The name of another hash function (BLAKE3).
    let cid = "bafkr4ihcokpuq3a6f6arcylwzyzwpggntyl3t6lckqnzzgb4fsgxbs4jty".parse().expect("a CID");
    rig.desired.select = Select::Cids([cid].into());
    rig.memory[0].add_copy(cid, "whatever it is");
    let (seen, applied) = rig.pass().await;
    assert_eq!((seen.stats.unverified, seen.stats.lost, applied.done.len()), (1, 0, 0));
    let said: Vec<_> = seen.plan.findings.iter().filter_map(|f| f.found.as_deref()).collect();
    assert!(said.iter().any(|said| said.contains("multihash 0x1e")), "{said:?}");
    assert!(rig.memory[0].has(&cid));
}

#[tokio::test]
async fn the_ledger_survives_being_written_down() {
    let mut rig = Rig::new(3, (2, 3, 5));
    rig.put(0, b"hello").await;
    rig.pass().await;
    rig.pass().await;
    let json = serde_json::to_string(&rig.ledger).expect("json");
    rig.ledger = serde_json::from_str(&json).expect("json");
    let before = rig.effort();
    assert_eq!(rig.look().await.stats.satisfied, 1);
    assert_eq!(rig.effort(), before);
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Overwrite,
    Rot,
    Lose,
    Unreachable,
    FailAfter(u64),
    Destroy,
}

fn a_fault() -> impl Strategy<Value = (usize, usize, Fault)> {
    let fault = prop_oneof![
        Just(Fault::Overwrite),
        Just(Fault::Rot),
        Just(Fault::Lose),
        Just(Fault::Unreachable),
        (0..6_u64).prop_map(Fault::FailAfter),
        Just(Fault::Destroy),
    ];
    (0..5_usize, 0..3_usize, fault)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever befalls the stores before and after they were looked at, and while they are
    /// changed: no act of ours leaves an object
    /// with fewer good copies than it had, unless it still has as many as desired; and once the
    /// stores answer again, every object that has a good copy anywhere gets all of its copies.
    #[test]
    fn copies_never_get_fewer_by_our_act(
        stores in 2..5_usize,
        (min, more, most) in (1..3_u32, 0..3_u32, 0..2_u32),
        placed in prop::collection::vec((0..5_usize, 0..3_usize), 1..8),
        rounds in prop::collection::vec(
            (prop::collection::vec(a_fault(), 0..3), prop::collection::vec(a_fault(), 0..3)), 1..5,
        ),
        minutes in 0..60_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.expect("a runtime").block_on(async {
            let desired = (min + more) as usize;
            let mut rig = Rig::new(stores, (min, min + more, min + more + most));
            let mut cids = Vec::new();
            for (store, object) in placed {
                cids.push(rig.put(store % stores, format!("object {object}").as_bytes()).await);
            }
            // What rots right after it was read is nobody's to know; so every proof reads again.
            rig.desired.policy.proof_max_age = Duration::ZERO;
            for (before, between) in rounds {
                rig.befall(&cids, before);
                let seen = rig.look().await;
                rig.befall(&cids, between);
                let before: Vec<_> = cids.iter().map(|cid| rig.good(cid)).collect();
                rig.act(&seen).await;
                for (cid, before) in cids.iter().zip(before) {
                    let after = rig.good(cid);
                    prop_assert!(after >= before.min(desired), "{cid}: {before} became {after}");
                }
                rig.later(Duration::from_mins(minutes));
            }
            rig.memory.iter().for_each(|store| store.heal());
            let recoverable: Vec<_> = cids.iter().filter(|cid| rig.good(cid) > 0).collect();
            // Rot shows when a copy is due, leftovers of locks end after a while.
            for _ in 0..4 {
                rig.later(Duration::from_hours(24 * 31));
                tokio::time::advance(Duration::from_mins(11)).await;
                rig.pass().await;
            }
            let seen = rig.look().await;
            prop_assert!(seen.plan.is_empty(), "{}", seen.plan);
            for cid in recoverable {
                prop_assert!(rig.good(cid) >= desired.min(stores), "{cid}: {}", rig.good(cid));
            }
            Ok(())
        })?;
    }
}
