//! One name: what happens to its records.

use std::collections::BTreeMap;

use cim_plan::{DriftClass, Finding};

use super::{Conflict, ConflictReason, Counts, marks::Marks};
use crate::{
    Edit, Name, Policy, Rdata, RecordKey, RecordType, RrSet, Rules, Zone,
    ledger::Mark,
    zone::{is_mark, protected},
};

/// All that is known of one name.
pub(super) struct Case<'a> {
    name: &'a Name,
    wanted: BTreeMap<RecordType, &'a RrSet>,
    found: BTreeMap<RecordType, &'a RrSet>,
    ours: BTreeMap<RecordType, &'a Mark>,
}

/// What happens to one name.
pub(super) struct Verdict {
    pub(super) name: Name,
    pub(super) vacant: bool,
    /// What is created and changed, and what must go to make room for it.
    pub(super) edits: Vec<Edit>,
    /// What is only deleted.
    pub(super) deletions: Vec<Edit>,
    pub(super) findings: Vec<Finding>,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) ledger: Vec<(RecordType, Mark)>,
    pub(super) counts: Counts,
}

impl<'a> Case<'a> {
    pub(super) fn new(name: &'a Name) -> Self {
        let (wanted, found, ours) = <_>::default();
        Self { name, wanted, found, ours }
    }

    pub(super) fn want(&mut self, kind: RecordType, set: &'a RrSet) {
        self.wanted.insert(kind, set);
    }

    pub(super) fn find(&mut self, kind: RecordType, set: &'a RrSet) {
        self.found.insert(kind, set);
    }

    pub(super) fn own(&mut self, kind: RecordType, mark: &'a Mark) {
        self.ours.insert(kind, mark);
    }

    pub(super) fn decide(self, zone: &Zone, rules: &Rules, marks: &Marks) -> Verdict {
        let judge = Judge { case: &self, zone, rules, marks };
        let mut verdict = Verdict {
            name: self.name.clone(),
            vacant: self.found.is_empty(),
            edits: Vec::new(),
            deletions: Vec::new(),
            findings: Vec::new(),
            conflicts: Vec::new(),
            ledger: Vec::new(),
            counts: Counts::default(),
        };
        for (kind, want) in &self.wanted {
            judge.wanted(*kind, want, &mut verdict);
        }
        for (kind, have) in self.found.iter().filter(|(kind, _)| !self.wanted.contains_key(kind)) {
            judge.leftover(*kind, have, &mut verdict);
        }
        judge.make_room(&mut verdict);
        judge.write_ledger(&mut verdict);
        verdict
    }
}

struct Judge<'a> {
    case: &'a Case<'a>,
    zone: &'a Zone,
    rules: &'a Rules,
    marks: &'a Marks,
}

impl Judge<'_> {
    fn key(&self, kind: RecordType) -> RecordKey {
        RecordKey::new(self.case.name.clone(), kind)
    }

    fn ignored(&self, kind: RecordType) -> bool {
        let key = self.key(kind);
        self.rules.ignore.iter().any(|pattern| pattern.matches(&key))
    }

    /// Whether this found set is ours, even if somebody has changed it.
    fn owned(&self, kind: RecordType, have: &RrSet) -> bool {
        self.case.ours.get(&kind).is_some_and(|mark| mark.owns(&have.fingerprint()))
    }

    /// Whether this found set is exactly what we wrote.
    fn unaltered(&self, kind: RecordType, have: &RrSet) -> bool {
        self.case.ours.get(&kind).is_some_and(|mark| mark.wrote(&have.fingerprint()))
    }

    fn adopted(&self) -> bool {
        self.rules.adopt.contains(self.case.name) && self.marks.on(self.case.name).is_none()
    }

    fn wanted(&self, kind: RecordType, want: &RrSet, verdict: &mut Verdict) {
        let key = self.key(kind);
        let have = self.case.found.get(&kind).copied();
        verdict.counts.desired += 1;
        if have == Some(want) {
            verdict.counts.in_sync += 1;
        } else if self.ignored(kind) {
            let why = "a pattern says to ignore it";
            verdict.findings.push(Finding::unverified(key.to_string(), want.to_string(), why));
            verdict.conflicts.push(Conflict { key, reason: ConflictReason::Ignored });
        } else if let Some(have) = have {
            self.differs(key, want, have, verdict);
        } else {
            verdict.findings.push(Finding::missing(key.to_string(), want.to_string()));
            verdict.edits.push(Edit { kind, before: None, after: Some(want.clone()) });
        }
    }

    fn differs(&self, key: RecordKey, want: &RrSet, have: &RrSet, verdict: &mut Verdict) {
        let kind = key.kind;
        if let Some(reason) = self.in_the_way(&key, have) {
            verdict.findings.push(Finding {
                class: DriftClass::Unexpected,
                subject: key.to_string(),
                expected: Some(want.to_string()),
                found: Some(have.to_string()),
            });
            verdict.conflicts.push(Conflict { key, reason });
            return;
        }
        let finding = Finding::changed(key.to_string(), want.to_string(), have.to_string());
        verdict.findings.push(finding);
        if self.rules.policy != Policy::CreateOnly {
            let (before, after) = (Some(have.clone()), Some(want.clone()));
            verdict.edits.push(Edit { kind, before, after });
        }
    }

    /// Why a found set may not be overwritten.
    fn in_the_way(&self, key: &RecordKey, have: &RrSet) -> Option<ConflictReason> {
        if is_mark(key, &have.values) {
            return Some(ConflictReason::Marked { by: key.clone() });
        }
        if self.owned(key.kind, have) {
            return None;
        }
        if let Some(by) = self.marks.on(self.case.name) {
            return Some(ConflictReason::Marked { by: by.clone() });
        }
        (!self.adopted() || !is_typed(have)).then_some(ConflictReason::Foreign)
    }

    fn leftover(&self, kind: RecordType, have: &RrSet, verdict: &mut Verdict) {
        let key = self.key(kind);
        if protected(self.zone, &key).is_some() || self.ignored(kind) || is_mark(&key, &have.values)
        {
            return;
        }
        verdict.findings.push(Finding::unexpected(key.to_string(), have.to_string()));
        if self.rules.policy == Policy::Sync && self.unaltered(kind, have) {
            verdict.deletions.push(Edit { kind, before: Some(have.clone()), after: None });
        }
    }

    /// A CNAME must be the only record of its name (RFC 1034 section 3.6.2), and servers ignore
    /// silently what breaks that. What stands in the way goes in the same message, where we may
    /// take it away; else nothing is done at this name, not even half of it.
    fn make_room(&self, verdict: &mut Verdict) {
        if verdict.edits.is_empty() {
            return;
        }
        let sets_cname = verdict.edits.iter().any(|edit| edit.kind == RecordType::CNAME);
        let found = self.case.found.iter().map(|(kind, have)| (*kind, *have));
        let others: Vec<(RecordType, &RrSet)> = found
            .filter(|(kind, _)| {
                !kind.is_beside_cname() && (*kind == RecordType::CNAME) != sets_cname
            })
            .collect();
        let (movable, fixed): (Vec<_>, Vec<_>) =
            others.iter().partition(|(kind, have)| self.displaceable(*kind, have));
        verdict.deletions.retain(|edit| others.iter().all(|(kind, _)| *kind != edit.kind));
        if fixed.is_empty() {
            let remove = |(kind, have): &(RecordType, &RrSet)| Edit {
                kind: *kind,
                before: Some((*have).clone()),
                after: None,
            };
            verdict.edits.splice(0..0, movable.iter().map(remove));
            return;
        }
        let by: Vec<RecordType> = fixed.iter().map(|(kind, _)| *kind).collect();
        for edit in std::mem::take(&mut verdict.edits) {
            let reason = ConflictReason::Occupied { by: by.clone() };
            verdict.conflicts.push(Conflict { key: self.key(edit.kind), reason });
        }
    }

    /// Whether a found set may go to make room for a wanted one of another type.
    fn displaceable(&self, kind: RecordType, have: &RrSet) -> bool {
        self.rules.policy != Policy::CreateOnly
            && !self.ignored(kind)
            && !is_mark(&self.key(kind), &have.values)
            && is_typed(have)
            && (self.owned(kind, have) || (self.adopted() && kind.is_location()))
    }

    fn write_ledger(&self, verdict: &mut Verdict) {
        let kinds = self.case.wanted.keys().chain(self.case.found.keys());
        for kind in kinds.collect::<std::collections::BTreeSet<_>>() {
            let have = self.case.found.get(kind).copied();
            let edit = verdict.edits.iter().find(|edit| edit.kind == *kind);
            let mark = Mark {
                applied: self.applied(*kind, have, edit.is_some()),
                intent: edit.and_then(|edit| edit.after.as_ref()).map(RrSet::fingerprint),
            };
            self.count(*kind, have, mark.applied.is_some(), verdict);
            if mark != Mark::default() {
                verdict.ledger.push((*kind, mark));
            }
        }
    }

    /// What the ledger says from now on that we wrote.
    fn applied(&self, kind: RecordType, have: Option<&RrSet>, edited: bool) -> Option<String> {
        let mark = self.case.ours.get(&kind).copied();
        let before = mark.and_then(|mark| mark.applied.clone());
        let want = self.case.wanted.get(&kind).copied();
        let Some(have) = have else { return before };
        let fingerprint = have.fingerprint();
        match mark {
            Some(mark) if mark.wrote(&fingerprint) => Some(fingerprint),
            // Somebody has changed what was ours: it stays ours while it is wanted (it will be
            // repaired), or while it makes room for what is. Else it is theirs from now on.
            Some(mark) if mark.owns(&fingerprint) && want.is_some_and(|want| want != have) => {
                before
            }
            Some(mark) if mark.owns(&fingerprint) && want.is_none() && edited => before,
            // Equal to what is wanted: it becomes ours, unless another tool says that it is its own.
            Some(mark) if mark.owns(&fingerprint) && want.is_some() => Some(fingerprint),
            _ => {
                let free = self.marks.on(self.case.name).is_none() && !self.ignored(kind);
                (want == Some(have) && free).then_some(fingerprint)
            }
        }
    }

    fn count(&self, kind: RecordType, have: Option<&RrSet>, ours: bool, verdict: &mut Verdict) {
        let key = self.key(kind);
        let Some(have) = have else { return };
        if protected(self.zone, &key).is_some() || self.ignored(kind) || is_mark(&key, &have.values)
        {
            return;
        }
        if ours {
            verdict.counts.owned += 1;
        } else {
            verdict.counts.foreign += 1;
        }
    }
}

/// Whether all values can be sent back as prerequisite of a change.
fn is_typed(set: &RrSet) -> bool {
    !set.values.iter().any(|value| matches!(value, Rdata::Opaque { .. }))
}
