//! The laws of a plan, over a model of a server that does what RFC 2136 says with the very records
//! that are sent.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use cim_plan::testkit::assert_converges;
use hickory_proto::rr::{self, DNSClass, Record};
use proptest::{prelude::*, sample::Index};

use super::*;
use crate::{
    Ignore, Name, Policy, Rdata, Release, RrSet, Zone, ledger::Mark, update, zone::is_mark,
};

type Records = BTreeMap<RecordKey, RrSet>;

/// A zone on a server, and the ledger as it is stored.
#[derive(Clone, Debug)]
struct World {
    records: Records,
    /// Planning stores it before applying, as every caller must.
    ledger: RefCell<Ledger>,
}

impl World {
    fn plan(&self, desired: &Desired, rules: &Rules) -> Planned {
        let observed = Observed::new(zone(), 1, self.records.clone());
        let planned = plan(desired, &observed, &self.ledger.borrow(), rules).unwrap();
        *self.ledger.borrow_mut() = planned.ledger.clone();
        planned
    }

    /// One UPDATE message with one change (RFC 2136 section 3).
    fn apply(&mut self, change: &Change) -> bool {
        if !update::prerequisites(change)
            .iter()
            .fold(Required::default(), Required::with)
            .hold(&self.records)
        {
            return false;
        }
        for record in update::updates(change) {
            self.update(&record);
        }
        true
    }

    /// RFC 2136 section 3.4.2.
    fn update(&mut self, record: &Record) {
        let key = key_of(record);
        if record.dns_class == DNSClass::ANY {
            let any = RecordType(rr::RecordType::ANY.into());
            let goes = |k: &RecordKey| k.name == key.name && [k.kind, any].contains(&key.kind);
            self.records.retain(|k, _| !goes(k));
            return;
        }
        let at_name = |kind: fn(RecordType) -> bool| {
            self.records.keys().any(|k| k.name == key.name && kind(k.kind))
        };
        let ignored = if key.kind == RecordType::CNAME {
            at_name(|kind| kind != RecordType::CNAME)
        } else {
            at_name(|kind| kind == RecordType::CNAME)
        };
        if ignored {
            return;
        }
        let set = self.records.entry(key).or_insert_with(|| RrSet::new(record.ttl, []));
        set.ttl = record.ttl;
        set.values.insert(Rdata::from_wire(&record.data).unwrap());
    }
}

/// The prerequisites of a message (RFC 2136 section 3.2).
#[derive(Default)]
struct Required {
    absent: Vec<RecordKey>,
    equal: BTreeMap<RecordKey, BTreeSet<Rdata>>,
}

impl Required {
    fn with(mut self, record: &Record) -> Self {
        let key = key_of(record);
        assert_eq!(record.ttl, 0, "RFC 2136 section 3.2.5 wants a TTL of zero");
        match record.dns_class {
            DNSClass::NONE => self.absent.push(key),
            DNSClass::IN => {
                let value = Rdata::from_wire(&record.data).unwrap();
                self.equal.entry(key).or_default().insert(value);
            }
            class => panic!("no prerequisite of ours has the class {class}"),
        }
        self
    }

    fn hold(&self, records: &Records) -> bool {
        let any = RecordType(rr::RecordType::ANY.into());
        self.absent.iter().all(|absent| {
            !records.keys().any(|k| k.name == absent.name && [k.kind, any].contains(&absent.kind))
        }) && self
            .equal
            .iter()
            .all(|(key, values)| records.get(key).is_some_and(|set| set.values == *values))
    }
}

fn key_of(record: &Record) -> RecordKey {
    RecordKey::new(Name::from_wire(&record.name).unwrap(), RecordType(record.record_type().into()))
}

fn zone() -> Zone {
    "example.com".parse().unwrap()
}

/// Few names and values, so that wishes, records and marks meet often.
fn any_key() -> impl Strategy<Value = RecordKey> {
    let kinds = [RecordType::A, RecordType::CNAME, RecordType::TXT, RecordType::AAAA];
    let names = ["@", "a", "b", "b.a", "*", "a-b", "_owner.a.b"];
    (prop::sample::select(names.to_vec()), prop::sample::select(kinds.to_vec()))
        .prop_map(|(name, kind)| RecordKey::new(zone().absolute(name).unwrap(), kind))
}

fn any_set(kind: RecordType) -> impl Strategy<Value = RrSet> {
    let value = move |n: u8| match kind {
        RecordType::A => Rdata::A(Ipv4Addr::new(10, 0, 0, n)),
        RecordType::AAAA => Rdata::Aaaa(Ipv4Addr::new(10, 0, 0, n).to_ipv6_mapped()),
        RecordType::CNAME => Rdata::Cname(format!("target{n}.example.com").parse().unwrap()),
        _ if n == 0 => Rdata::txt("heritage=external-dns,external-dns/owner=x"),
        _ => Rdata::txt(&n.to_string()),
    };
    let most = if kind == RecordType::CNAME { 2 } else { 4 };
    (prop::sample::select(vec![60_u32, 300]), prop::collection::btree_set(0_u8..4, 1..most))
        .prop_map(move |(ttl, values)| RrSet::new(ttl, values.into_iter().map(value)))
}

fn any_records(most: usize) -> impl Strategy<Value = Records> {
    let record = any_key().prop_flat_map(|key| (Just(key.clone()), any_set(key.kind)));
    prop::collection::vec(record, 0..most).prop_map(|records| {
        let mut world = Records::new();
        for (key, set) in records {
            let clash = world.keys().any(|k: &RecordKey| {
                k.name == key.name
                    && k.kind != key.kind
                    && [k.kind, key.kind].contains(&RecordType::CNAME)
            });
            if !clash {
                world.insert(key, set);
            }
        }
        world
    })
}

fn any_desired(most: usize) -> impl Strategy<Value = Desired> {
    any_records(most).prop_map(|records| {
        let mut desired = Desired::new(zone());
        for (key, set) in records {
            for value in set.values {
                // What cannot be wanted (a CNAME at the apex, a mark) is refused and not part of the wish.
                desired.add(key.name.clone(), set.ttl, value).ok();
            }
        }
        desired
    })
}

/// A zone with a ledger that knows some of its records, and some that somebody changed since.
fn any_world(most: usize) -> impl Strategy<Value = World> {
    let known = prop::collection::vec((any::<Index>(), 0_u8..4), 0..8);
    (any_records(most), known).prop_map(|(records, known)| {
        let mut ledger = Ledger::new(zone());
        let entries: Vec<(&RecordKey, &RrSet)> = records.iter().collect();
        for (index, how) in known.into_iter().filter(|_| !entries.is_empty()) {
            let (key, set) = entries[index.index(entries.len())];
            let here = Some(set.fingerprint());
            let other = Some("another".to_owned());
            let (applied, intent) = match how {
                0 => (here, None),
                1 => (other, None),
                2 => (None, here),
                _ => (None, other),
            };
            ledger.keep(key.clone(), Mark { applied, intent });
        }
        World { records, ledger: RefCell::new(ledger) }
    })
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let policies = vec![Policy::Sync, Policy::UpsertOnly, Policy::CreateOnly];
    let adopt = prop::collection::btree_set(any_key().prop_map(|key| key.name), 0..3);
    let ignore = prop::sample::select(vec![None, Some("b.** TXT"), Some("*.a.example.com")]);
    let release = prop::sample::select(vec![Release::Nothing, Release::Everything]);
    (prop::sample::select(policies), adopt, ignore, release).prop_map(
        |(policy, adopt, ignore, release)| Rules {
            policy,
            adopt,
            ignore: ignore.into_iter().map(|text: &str| text.parse::<Ignore>().unwrap()).collect(),
            release,
        },
    )
}

/// The records that no plan may touch, whatever is wanted.
fn untouchable(world: &World, rules: &Rules) -> Records {
    let ledger = world.ledger.borrow();
    let foreign = world.records.iter().filter(|(key, set)| {
        let owned = ledger.entries().get(key).is_some_and(|mark| mark.owns(&set.fingerprint()));
        let ignored = rules.ignore.iter().any(|pattern| pattern.matches(key));
        is_mark(key, &set.values) || ignored || (!owned && !rules.adopt.contains(&key.name))
    });
    foreign.map(|(key, set)| (key.clone(), set.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_prefix_of_a_plan_converges(
        world in any_world(12), desired in any_desired(12), rules in any_rules()
    ) {
        assert_converges(
            &world,
            |world| world.plan(&desired, &rules).plan,
            |world, change| assert!(world.apply(change), "a prerequisite fails: {change}"),
        );
    }

    #[test]
    fn any_subset_of_a_plan_and_one_more_pass_end_where_the_whole_plan_does(
        world in any_world(12), desired in any_desired(12), rules in any_rules(),
        lucky in prop::collection::vec(any::<bool>(), 16),
    ) {
        let (mut whole, mut world) = (world.clone(), world);
        let changes = whole.plan(&desired, &rules).plan.changes;
        for change in &changes {
            prop_assert!(whole.apply(change), "{change}");
        }
        // The ledger is stored before anything is sent.
        let _ = world.plan(&desired, &rules);
        for change in changes.iter().zip(&lucky).filter(|(_, lucky)| **lucky).map(|(c, _)| c) {
            world.apply(change);
        }
        let changes = world.plan(&desired, &rules).plan.changes;
        for change in changes {
            prop_assert!(world.apply(&change), "{change}");
        }
        let (first, second) = (whole.plan(&desired, &rules), world.plan(&desired, &rules));
        prop_assert!(second.plan.is_empty(), "{}", second.plan);
        // Half of the deletions may be few enough where all of them were held, and the reverse.
        if first.held.is_none() && second.held.is_none() {
            prop_assert_eq!(&world.records, &whole.records);
            prop_assert_eq!(&second.ledger, &first.ledger);
            prop_assert!(second.ledger.entries().values().all(|mark| mark.intent.is_none()));
        }
    }

    #[test]
    fn what_is_not_ours_survives_any_sequence(
        world in any_world(12), wishes in prop::collection::vec(any_desired(10), 1..5), rules in any_rules()
    ) {
        let mut world = world;
        // Equal to a wish it becomes ours by right, so those names are left out of the claim.
        let wished = |key: &RecordKey, set: &RrSet| {
            wishes.iter().any(|wish| wish.records().get(key) == Some(set))
        };
        let mut foreign = untouchable(&world, &rules);
        foreign.retain(|key, set| is_mark(key, &set.values) || !wished(key, set));
        for wish in &wishes {
            let changes = world.plan(wish, &rules).plan.changes;
            for change in changes {
                world.apply(&change);
            }
            for (key, set) in &foreign {
                prop_assert_eq!(world.records.get(key), Some(set), "{} was touched", key);
            }
        }
    }

    #[test]
    fn without_a_ledger_nothing_is_deleted(
        records in any_records(14), desired in any_desired(6), rules in any_rules()
    ) {
        let rules = Rules { adopt: BTreeSet::new(), ..rules };
        let world = World { records, ledger: RefCell::new(Ledger::new(zone())) };
        let planned = world.plan(&desired, &rules);
        prop_assert!(planned.held.is_none());
        for edit in planned.plan.changes.iter().flat_map(|change| &change.edits) {
            prop_assert_eq!(&edit.before, &None);
        }
    }

    #[test]
    fn a_record_that_changed_since_is_never_overwritten(
        world in any_world(12), later in any_world(12), desired in any_desired(12), rules in any_rules()
    ) {
        let changes = world.plan(&desired, &rules).plan.changes;
        for change in &changes {
            let mut meddled = World { records: later.records.clone(), ..world.clone() };
            let same = change.edits.iter().all(|edit| {
                let key = RecordKey::new(change.name.clone(), edit.kind);
                let values = |set: Option<&RrSet>| set.map(|set| set.values.clone());
                values(meddled.records.get(&key)) == values(edit.before.as_ref())
            });
            let before = meddled.records.clone();
            let applied = meddled.apply(change);
            prop_assert!(same || !applied, "{change} overwrote {before:?}");
            prop_assert!(applied || meddled.records == before);
            // Whatever was accepted is there: a swap that the server would half ignore is refused.
            for edit in change.edits.iter().filter(|_| applied) {
                let key = RecordKey::new(change.name.clone(), edit.kind);
                prop_assert_eq!(meddled.records.get(&key), edit.after.as_ref());
            }
        }
    }

    #[test]
    fn the_ledger_survives_storage_and_an_idle_pass_changes_nothing(
        world in any_world(12), desired in any_desired(12), rules in any_rules()
    ) {
        let mut world = world;
        let changes = world.plan(&desired, &rules).plan.changes;
        for change in changes {
            world.apply(&change);
        }
        let first = world.plan(&desired, &rules);
        let stored = serde_json::to_string(&first.ledger).unwrap();
        *world.ledger.borrow_mut() = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(world.plan(&desired, &rules), first);
    }
}
