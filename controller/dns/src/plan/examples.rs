//! The rules of a plan, one example each. The laws that hold for all zones are in `laws`.

use std::collections::BTreeMap;

use super::*;
use crate::{Ignore, Policy, Rdata, Release, RrSet, Zone, ledger::Mark};

/// Record sets, from lines of `NAME TTL TYPE VALUE[, VALUE]`, names relative to the zone.
fn sets(lines: &[&str]) -> BTreeMap<RecordKey, RrSet> {
    let set = |line: &&str| {
        let [name, ttl, kind, values] = line.splitn(4, ' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let kind: RecordType = kind.parse().unwrap();
        let opaque = |text: &str| Rdata::Opaque { kind, text: text.to_owned() };
        let value = |text: &str| Rdata::parse(kind, text).unwrap_or_else(|_| opaque(text));
        let set = RrSet::new(ttl.parse().unwrap(), values.split(", ").map(value));
        (RecordKey::new(zone().absolute(name).unwrap(), kind), set)
    };
    lines.iter().map(set).collect()
}

fn zone() -> Zone {
    "example.com".parse().unwrap()
}

struct Scene {
    wanted: Vec<&'static str>,
    found: Vec<&'static str>,
    /// What we wrote last.
    wrote: Vec<&'static str>,
    rules: Rules,
}

fn scene(wanted: &[&'static str], found: &[&'static str], wrote: &[&'static str]) -> Scene {
    let (wanted, found, wrote) = (wanted.to_vec(), found.to_vec(), wrote.to_vec());
    Scene { wanted, found, wrote, rules: Rules::default() }
}

impl Scene {
    fn with(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(&mut self.rules);
        self
    }

    fn plan(&self) -> Planned {
        let mut desired = Desired::new(zone());
        for (key, set) in sets(&self.wanted) {
            for value in set.values {
                desired.add(key.name.clone(), set.ttl, value).unwrap();
            }
        }
        let mut ledger = Ledger::new(zone());
        for (key, set) in sets(&self.wrote) {
            ledger.keep(key, Mark { applied: Some(set.fingerprint()), intent: None });
        }
        plan(&desired, &Observed::new(zone(), 1, sets(&self.found)), &ledger, &self.rules).unwrap()
    }

    /// The changes, as people read them, without the zone's name.
    fn changes(&self) -> Vec<String> {
        let changes = self.plan().plan.changes;
        changes.iter().map(|change| change.to_string().replace(".example.com.", "")).collect()
    }

    fn findings(&self) -> Vec<String> {
        let findings = self.plan().plan.findings;
        findings
            .iter()
            .map(|f| format!("{} {}", f.class, f.subject.replace(".example.com.", "")))
            .collect()
    }

    fn conflicts(&self) -> Vec<ConflictReason> {
        self.plan().conflicts.into_iter().map(|conflict| conflict.reason).collect()
    }

    /// The names of the ledger that results, with `>` where there is only an intent.
    fn ledger(&self) -> Vec<String> {
        let ledger = self.plan().ledger;
        let entry = |(key, mark): (&RecordKey, &Mark)| {
            let intent = if mark.applied.is_none() { ">" } else { "" };
            format!("{intent}{} {}", key.name.relative_to(&zone()).unwrap(), key.kind)
        };
        ledger.entries().iter().map(entry).collect()
    }
}

const A1: &str = "a 300 A 10.0.0.1";
const A2: &str = "a 300 A 10.0.0.2";
const CNAME: &str = "a 300 CNAME b.example.com";
const APEX: [&str; 3] = ["@ 300 SOA x", "@ 300 NS ns1.example.com", "a 300 RRSIG x"];
/// What external-dns writes beside a record of its own.
const MARK: &str = "a-a 0 TXT heritage=external-dns,external-dns/owner=x";

#[test]
fn missing_is_created_and_intended() {
    let scene = scene(&[A1], &[], &[]);
    assert_eq!(scene.changes(), ["+ a A 300 10.0.0.1"]);
    assert_eq!(scene.findings(), ["missing a A"]);
    assert_eq!(scene.ledger(), [">a A"]);
}

#[test]
fn ours_but_different_is_repaired_in_values_and_ttl() {
    assert_eq!(scene(&[A1], &[A2], &[A1]).changes(), ["~ a A 300 10.0.0.2 -> 300 10.0.0.1"]);
    let ttl = scene(&[A1], &["a 60 A 10.0.0.1"], &[A1]);
    assert_eq!(ttl.changes(), ["~ a A 60 10.0.0.1 -> 300 10.0.0.1"]);
    assert_eq!(ttl.ledger(), ["a A"]);
}

#[test]
fn foreign_is_reported_and_not_touched() {
    let unknown = scene(&[], &[A1], &[]);
    assert_eq!(unknown.changes(), [""; 0]);
    assert_eq!(unknown.findings(), ["unexpected a A"]);
    let different = scene(&[A1], &[A2], &[]);
    assert_eq!(different.changes(), [""; 0]);
    assert_eq!(different.findings(), ["unexpected a A"]);
    assert_eq!(different.conflicts(), [ConflictReason::Foreign]);
    assert_eq!(different.ledger(), [""; 0]);
}

#[test]
fn foreign_and_equal_becomes_ours_without_a_write() {
    let scene = scene(&[A1], &[A1], &[]);
    assert_eq!((scene.changes(), scene.findings()), (vec![], vec![]));
    assert_eq!(scene.ledger(), ["a A"]);
}

#[test]
fn an_adopted_name_is_overwritten() {
    let adopt = |rules: &mut Rules| {
        rules.adopt.insert("a.example.com".parse().unwrap());
    };
    let values = scene(&[A1], &[A2], &[]).with(adopt);
    assert_eq!(values.changes(), ["~ a A 300 10.0.0.2 -> 300 10.0.0.1"]);
    let kind = scene(&[A1], &[CNAME], &[]).with(adopt);
    assert_eq!(kind.changes(), ["- a CNAME 300 b; + a A 300 10.0.0.1"]);
    // A CNAME takes the place of an address, not of what else people keep at a name.
    let text = scene(&[CNAME], &["a 300 TXT v=spf1"], &[]).with(adopt);
    assert_eq!(text.changes(), [""; 0]);
    assert_eq!(text.conflicts(), [ConflictReason::Occupied { by: vec![RecordType::TXT] }]);
    let other_name = scene(&["b 300 A 10.0.0.1"], &["b 300 A 10.0.0.2"], &[]).with(adopt);
    assert_eq!(other_name.changes(), [""; 0]);
}

#[test]
fn ours_and_no_longer_wanted_is_deleted_only_if_unaltered() {
    let keep = "keep 300 A 10.0.0.9";
    let unaltered = scene(&[keep], &[keep, A1], &[keep, A1]);
    assert_eq!(unaltered.changes(), ["- a A 300 10.0.0.1"]);
    assert_eq!(unaltered.ledger(), ["a A", "keep A"]);
    let altered = scene(&[keep], &[keep, A2], &[keep, A1]);
    assert_eq!(altered.changes(), [""; 0]);
    assert_eq!(altered.findings(), ["unexpected a A"]);
    assert_eq!(altered.ledger(), ["keep A"]);
    let gone = scene(&[keep], &[keep], &[keep, A1]);
    assert_eq!((gone.changes(), gone.ledger()), (vec![], vec!["keep A".to_owned()]));
}

#[test]
fn the_policy_limits_what_is_done_and_not_what_is_reported() {
    let with = |policy| {
        let (wanted, found) = (["b 300 A 10.0.0.1", "c 300 A 10.0.0.1"], ["c 300 A 10.0.0.2", A1]);
        scene(&wanted, &found, &[wanted[1], A1]).with(|rules| rules.policy = policy)
    };
    let (create, change, delete) = ("+ b", "~ c", "- a");
    let verbs = |policy| {
        with(policy).changes().iter().map(|change| change[..3].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(verbs(Policy::Sync), [create, change, delete]);
    assert_eq!(verbs(Policy::UpsertOnly), [create, change]);
    assert_eq!(verbs(Policy::CreateOnly), [create]);
    for policy in [Policy::Sync, Policy::UpsertOnly, Policy::CreateOnly] {
        assert_eq!(with(policy).findings(), ["missing b A", "changed c A", "unexpected a A"]);
        assert_eq!(with(policy).ledger(), ["a A", ">b A", "c A"]);
    }
}

#[test]
fn a_change_of_type_is_one_change() {
    let there = scene(&[CNAME], &[A1, "a 300 AAAA fd00::1"], &[A1, "a 300 AAAA fd00::1"]);
    let change = "- a A 300 10.0.0.1; - a AAAA 300 fd00::1; + a CNAME 300 b";
    assert_eq!(there.changes(), [change]);
    assert_eq!(there.ledger(), ["a A", ">a CNAME", "a AAAA"]);
    let back = scene(&[A1], &[CNAME], &[CNAME]);
    assert_eq!(back.changes(), ["- a CNAME 300 b; + a A 300 10.0.0.1"]);
    // It is no deletion, so no policy but CreateOnly and no threshold stands against it.
    let upsert = back.with(|rules| rules.policy = Policy::UpsertOnly);
    assert_eq!(upsert.changes().len(), 1);
    let create = upsert.with(|rules| rules.policy = Policy::CreateOnly);
    assert_eq!(create.changes(), [""; 0]);
    // Altered by somebody in the meantime: still ours, and remembered until it is done.
    let altered = scene(&[CNAME], &[A2], &[A1]);
    assert_eq!(altered.changes(), ["- a A 300 10.0.0.2; + a CNAME 300 b"]);
    assert_eq!(altered.ledger(), ["a A", ">a CNAME"]);
}

#[test]
fn nothing_is_done_at_a_name_where_a_cname_has_no_room() {
    let text = "a 300 TXT v=spf1";
    let blocked = scene(&[CNAME], &[A1, text], &[A1]);
    assert_eq!(blocked.changes(), [""; 0]);
    assert_eq!(blocked.findings(), ["missing a CNAME", "unexpected a A", "unexpected a TXT"]);
    assert_eq!(blocked.conflicts(), [ConflictReason::Occupied { by: vec![RecordType::TXT] }]);
    assert_eq!(blocked.ledger(), ["a A"]);
    // The records of a signed zone stand beside a CNAME, a chain of trust does not.
    let signed = scene(&[CNAME], &[A1, "a 300 RRSIG x", "a 300 NSEC x"], &[A1]);
    assert_eq!(signed.changes().len(), 1);
    assert!(scene(&[CNAME], &[A1, "a 300 DS x"], &[A1]).changes().is_empty());
    let other = scene(&[A1, "a 300 TXT x"], &[CNAME], &[]);
    assert_eq!(other.changes(), [""; 0]);
    assert_eq!(other.conflicts().len(), 2);
}

#[test]
fn apex_dnssec_and_marks_are_neither_touched_nor_reported() {
    let mut found = APEX.to_vec();
    found.extend([MARK, "_owner.a.x 300 TXT y"]);
    let scene = scene(&[], &found, &[]);
    assert_eq!((scene.changes(), scene.findings()), (vec![], vec![]));
    assert_eq!(scene.plan().counts, Counts::default());
}

#[test]
fn what_another_tool_has_marked_is_never_ours() {
    let adopt = |rules: &mut Rules| {
        rules.adopt.insert("a.example.com".parse().unwrap());
    };
    let different = scene(&[A1], &[A2, MARK], &[]).with(adopt);
    assert_eq!(different.changes(), [""; 0]);
    assert!(matches!(different.conflicts()[..], [ConflictReason::Marked { .. }]));
    let equal = scene(&[A1], &[A1, MARK], &[]).with(adopt);
    assert_eq!(equal.ledger(), [""; 0]);
    // Not even where it has put its mark into a set of ours.
    let ours = scene(&["a 300 TXT x"], &["a 300 TXT x, heritage=external-dns"], &["a 300 TXT x"]);
    assert_eq!(ours.changes(), [""; 0]);
}

#[test]
fn ignored_records_are_left_alone_and_a_wanted_one_is_a_conflict() {
    let ignore = |rules: &mut Rules| rules.ignore = vec!["a.**".parse::<Ignore>().unwrap()];
    let unknown = scene(&[], &[A1], &[]).with(ignore);
    assert_eq!(unknown.findings(), [""; 0]);
    let wanted = scene(&[A1], &[], &[A1]).with(ignore);
    assert_eq!(wanted.changes(), [""; 0]);
    assert_eq!(wanted.findings(), ["unverified a A"]);
    assert_eq!(wanted.conflicts(), [ConflictReason::Ignored]);
    let ours = scene(&["b 300 A 10.0.0.1"], &[A1], &[A1]).with(ignore);
    assert_eq!(ours.changes(), ["+ b A 300 10.0.0.1"]);
}

/// Twenty hosts that are ours and in the zone, of which `wanted` are still wanted.
fn twenty(wanted: usize) -> Scene {
    let line = |n: usize| -> &'static str { format!("h{n} 300 A 10.0.0.{n}").leak() };
    let all: Vec<&'static str> = (0..20).map(line).collect();
    scene(&all[..wanted], &all, &all)
}

#[test]
fn many_deletions_are_held_until_exactly_these_are_confirmed() {
    assert!(twenty(14).plan().held.is_none());
    let planned = twenty(13).plan();
    let held = planned.held.unwrap();
    assert_eq!(held.reason, HoldReason::TooMany { deletions: 7, owned: 20 });
    assert_eq!((planned.plan.changes.len(), held.plan.changes.len()), (0, 7));
    assert_eq!(planned.plan.count(cim_plan::DriftClass::Unexpected), 7);
    assert_eq!(planned.ledger.len(), 20);

    let confirm = |scene: Scene| {
        scene.with(|rules| rules.release = Release::Confirmed(held.hash.clone())).plan()
    };
    assert_eq!(confirm(twenty(13)).plan.changes.len(), 7);
    assert!(confirm(twenty(12)).held.is_some());
    // What is wanted is repaired meanwhile.
    let mut broken = twenty(13);
    broken.found.remove(0);
    assert_eq!(broken.changes(), ["+ h0 A 300 10.0.0.0"]);
    assert!(broken.plan().held.is_some());
}

#[test]
fn an_empty_wish_deletes_nothing_without_confirmation() {
    let scene = scene(&[], &[A1], &[A1]);
    let held = scene.plan().held.unwrap();
    assert_eq!(held.reason, HoldReason::NothingDesired);
    assert_eq!(scene.changes(), [""; 0]);
    let confirmed = scene.with(|rules| rules.release = Release::Confirmed(held.hash));
    assert_eq!(confirmed.changes(), ["- a A 300 10.0.0.1"]);
    let destroyed = twenty(0).with(|rules| rules.release = Release::Everything);
    assert_eq!(destroyed.changes().len(), 20);
}

#[test]
fn all_that_happens_to_a_name_is_one_change_and_deletions_come_last() {
    let text = "m 300 TXT old";
    let (first, last) = ("b 300 A 10.0.0.1", "z 300 A 10.0.0.1");
    let scene = scene(&["m 300 A 10.0.0.1", last], &[first, text], &[first, text]);
    let changes =
        ["- m TXT 300 \"old\"; + m A 300 10.0.0.1", "+ z A 300 10.0.0.1", "- b A 300 10.0.0.1"];
    assert_eq!(scene.changes(), changes);
}

#[test]
fn zones_are_not_mixed_up() {
    let other: Zone = "example.org".parse().unwrap();
    let observed = Observed::new(zone(), 1, <_>::default());
    let desired = Desired::new(zone());
    let error = plan(&desired, &observed, &Ledger::new(other), &Rules::default()).unwrap_err();
    assert!(error.to_string().contains("ledger is of the zone example.org."), "{error}");
}
