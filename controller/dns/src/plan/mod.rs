//! From what is wanted, what is, and what is ours, to what will be done. Pure.
//!
//! ```text
//! desired ─┐
//! observed ┼─ grouped by name ─ case: decide per name ─ hold: keep back deletions ─ Planned
//! ledger  ─┘
//! ```

mod case;
#[cfg(test)]
mod examples;
mod hold;
#[cfg(test)]
mod laws;
mod marks;

use std::{collections::BTreeMap, fmt};

use cim_plan::Plan;

pub use self::hold::{Held, HoldReason};
use self::{
    case::{Case, Verdict},
    marks::Marks,
};
use crate::{Change, Desired, Error, Ledger, Observed, RecordKey, RecordType, Rules};

/// What was planned for a zone.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a plan does nothing until it is applied"]
pub struct Planned {
    /// What will be done now, and all that differs.
    pub plan: Plan<Change>,
    /// Deletions that wait for a person, if there are any.
    pub held: Option<Held>,
    /// Wanted records that cannot be set because of somebody else.
    pub conflicts: Vec<Conflict>,
    /// What is ours, with the updates of `plan` noted as intended. Store it **before** applying the
    /// plan (where it differs from the stored one), so that a crash in between leaves no record
    /// that nobody knows to be ours. Do not store it where nothing will be applied.
    pub ledger: Ledger,
    /// Counts for status and metrics.
    pub counts: Counts,
}

/// Numbers of record sets. Those that are never ours (apex NS and SOA, DNSSEC, the ownership marks
/// of other tools, ignored ones) are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Wanted.
    pub desired: usize,
    /// Wanted, and in the zone as wanted.
    pub in_sync: usize,
    /// In the zone and ours.
    pub owned: usize,
    /// In the zone and not ours.
    pub foreign: usize,
}

/// A wanted record set that cannot be set, and what is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The wanted record set.
    pub key: RecordKey,
    /// What is in the way.
    pub reason: ConflictReason,
}

/// What is in the way of a wanted record set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConflictReason {
    /// Somebody else's record of this name and type, with other values.
    Foreign,
    /// A mark of another tool says that the name is its own.
    Marked {
        /// The mark.
        by: RecordKey,
    },
    /// Somebody else's records of other types: a CNAME must be alone.
    Occupied {
        /// The types that are in the way.
        by: Vec<RecordType>,
    },
    /// A pattern says that the record is to be left alone.
    Ignored,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, reason } = self;
        match reason {
            ConflictReason::Foreign => write!(
                f,
                "{key} exists with other values and was not made by us; adopt the name or remove the record"
            ),
            ConflictReason::Marked { by } => write!(
                f,
                "{key} belongs to another tool, as {by} says; remove it there, with its mark"
            ),
            ConflictReason::Occupied { by } => {
                let types: Vec<String> = by.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "{key} has no room beside somebody else's {} (a CNAME must be alone); remove that first",
                    types.join(", ")
                )
            }
            ConflictReason::Ignored => {
                write!(f, "{key} is wanted, but a pattern says to ignore it; drop one of the two")
            }
        }
    }
}

/// Compares a zone with what is wanted in it.
///
/// - What is wanted and missing is created; wanted and ours but different is changed; ours, exactly
///   as we wrote it and no longer wanted is deleted, as far as [`Rules::policy`] goes.
/// - What is not ours is reported and not touched; where it equals what is wanted it becomes ours.
/// - Deletions of more than 30 % of ten or more records, and all of them when nothing is wanted any
///   more, are held back until [`Rules::release`] says so.
///
/// The error is [`Error::WrongZone`]: the three are not of one zone.
pub fn plan(
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
    rules: &Rules,
) -> Result<Planned, Error> {
    for (what, found) in [("observation", observed.zone()), ("ledger", ledger.zone())] {
        if found != desired.zone() {
            let (found, expected) = (found.clone(), desired.zone().clone());
            return Err(Error::WrongZone { what, found, expected });
        }
    }
    let marks = Marks::of(observed);
    let mut total = Total::new(ledger);
    for case in cases(desired, observed, ledger) {
        total.add(case.decide(observed.zone(), rules, &marks));
    }
    Ok(total.finish(desired, ledger, rules))
}

/// All that is known of each name.
fn cases<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    ledger: &'a Ledger,
) -> impl Iterator<Item = Case<'a>> {
    let mut cases = BTreeMap::new();
    let keys = desired.records().keys().chain(observed.records().keys());
    for name in keys.chain(ledger.entries().keys()).map(|key| &key.name) {
        cases.entry(name).or_insert_with(|| Case::new(name));
    }
    for (key, set) in desired.records() {
        cases.entry(&key.name).and_modify(|case| case.want(key.kind, set));
    }
    for (key, set) in observed.records() {
        cases.entry(&key.name).and_modify(|case| case.find(key.kind, set));
    }
    for (key, mark) in ledger.entries() {
        cases.entry(&key.name).and_modify(|case| case.own(key.kind, mark));
    }
    cases.into_values()
}

/// The verdicts over all names, put together.
struct Total {
    sets: Vec<Change>,
    deletions: Vec<Change>,
    planned: Planned,
}

impl Total {
    fn new(ledger: &Ledger) -> Self {
        let planned = Planned {
            plan: Plan::default(),
            held: None,
            conflicts: Vec::new(),
            ledger: Ledger::new(ledger.zone().clone()),
            counts: Counts::default(),
        };
        Self { sets: Vec::new(), deletions: Vec::new(), planned }
    }

    fn add(&mut self, verdict: Verdict) {
        let Verdict { name, vacant, edits, deletions, findings, conflicts, ledger, counts } =
            verdict;
        for (changes, edits) in [(&mut self.sets, edits), (&mut self.deletions, deletions)] {
            if !edits.is_empty() {
                changes.push(Change { name: name.clone(), edits, vacant });
            }
        }
        self.planned.plan.findings.extend(findings);
        self.planned.conflicts.extend(conflicts);
        for (kind, mark) in ledger {
            self.planned.ledger.keep(RecordKey::new(name.clone(), kind), mark);
        }
        let sum = &mut self.planned.counts;
        sum.desired += counts.desired;
        sum.in_sync += counts.in_sync;
        sum.owned += counts.owned;
        sum.foreign += counts.foreign;
    }

    fn finish(mut self, desired: &Desired, ledger: &Ledger, rules: &Rules) -> Planned {
        let empty = desired.records().is_empty() && !ledger.is_empty();
        let held = hold::decide(&self.deletions, self.planned.counts.owned, empty, &rules.release);
        let mut changes = self.sets;
        if held.is_none() {
            merge(&mut changes, self.deletions);
        }
        self.planned.plan = Plan::new(changes, self.planned.plan.findings);
        self.planned.held = held;
        self.planned
    }
}

/// Adds the deletions: to the change of their name where it has one, since all that happens to a
/// name goes in one message, and else at the end, so that new records come before old ones go.
fn merge(changes: &mut Vec<Change>, deletions: Vec<Change>) {
    // The changes so far are sorted by name, because the cases were.
    let sorted = changes.len();
    for deletion in deletions {
        match changes[..sorted].binary_search_by(|change| change.name.cmp(&deletion.name)) {
            Ok(at) => {
                changes[at].edits.splice(0..0, deletion.edits);
            }
            Err(_) => changes.push(deletion),
        }
    }
}
