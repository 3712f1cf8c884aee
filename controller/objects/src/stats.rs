//! Counts for status and metrics: bounded, whatever the number of objects.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::observed::Copy;
use crate::plan::{Census, Decision};
use crate::{Cid, StoreId};

/// The copies of all selected objects, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Objects selected.
    pub objects: u64,
    /// Those with at least as many verified copies as desired, none corrupt, all where they belong.
    pub satisfied: u64,
    /// Their bytes, each object once.
    pub bytes: u64,
    /// Bytes of the objects with fewer verified copies than `min`.
    pub bytes_at_risk: u64,
    /// Copies wanted.
    pub desired: u64,
    /// Copies found, whatever their state.
    pub copies: u64,
    /// Copies that were rehashed and are good.
    pub verified: u64,
    /// Copies that were rehashed and are not the object.
    pub corrupt: u64,
    /// Copies that are there and were not read, or too long ago.
    pub unverified: u64,
    /// Copies that an unreachable store may hold.
    pub unknown: u64,
    /// Copies wanted and neither there nor perhaps there.
    pub missing: u64,
    /// Copies above the limit.
    pub surplus: u64,
    /// Copies that are to move.
    pub misplaced: u64,
    /// Objects without a good copy anywhere.
    pub lost: u64,
    /// Copies for which no store was found.
    pub unschedulable: u64,
    /// For unschedulable copies: why each store takes none.
    pub refusals: BTreeMap<StoreId, String>,
    /// When the oldest verification that counts was made.
    pub oldest_verification: Option<Timestamp>,
    /// The objects most at risk, worst first; as many as were asked for.
    pub worst: Vec<AtRisk>,
    #[serde(skip)]
    keep: usize,
}

/// An object that is not satisfied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AtRisk {
    /// The object.
    pub cid: Cid,
    /// Its human name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its bytes.
    pub bytes: u64,
    /// Where it is verified.
    pub verified: Vec<StoreId>,
    /// Where it is corrupt.
    pub corrupt: Vec<StoreId>,
    /// How many copies it should have.
    pub desired: usize,
    /// Whether no good copy is left.
    pub lost: bool,
}

impl Stats {
    pub(crate) fn new(worst: usize) -> Self {
        Self { keep: worst, ..Self::default() }
    }

    /// Adds one object. Objects come in the order of urgency, worst first.
    pub(crate) fn count(&mut self, census: &Census<'_>, decision: &Decision) {
        let Decision { refusals, unplaced, misplaced, surplus, .. } = decision;
        let wanted = census.replicas.desired();
        let verified = census.verified.len();
        let maybe = census.unverified.len() + census.presumed.len();
        let unknown = census.object.copies.values().filter(|c| **c == Copy::Presumed).count();
        let lost = census.is_lost();
        self.objects += 1;
        self.bytes += census.object.size;
        self.desired += wanted as u64;
        self.copies += (verified + census.unverified.len() + census.corrupt.len()) as u64;
        self.verified += verified as u64;
        self.unverified += census.unverified.len() as u64;
        self.corrupt += census.corrupt.len() as u64;
        self.unknown += unknown as u64;
        self.missing += wanted.saturating_sub(verified + maybe + census.corrupt.len()) as u64;
        self.surplus += surplus.len() as u64;
        self.misplaced += *misplaced as u64;
        self.lost += u64::from(lost);
        if verified < census.replicas.min() {
            self.bytes_at_risk += census.object.size;
        }
        if *unplaced > 0 {
            self.unschedulable += *unplaced as u64;
            for (store, why) in refusals {
                self.refusals.entry(store.clone()).or_insert_with(|| why.clone());
            }
        }
        let ages = census.object.copies.values().filter_map(|copy| match copy {
            Copy::Verified { at, .. } => Some(*at),
            _ => None,
        });
        self.oldest_verification = ages.chain(self.oldest_verification).min();
        if verified >= wanted && census.corrupt.is_empty() && *misplaced == 0 && surplus.is_empty()
        {
            self.satisfied += 1;
        } else if self.worst.len() < self.keep {
            self.worst.push(AtRisk {
                cid: *census.cid,
                name: census.object.attributes.name().map(ToOwned::to_owned),
                bytes: census.object.size,
                verified: census.verified.clone(),
                corrupt: census.corrupt.iter().map(|(id, ..)| id.clone()).collect(),
                desired: wanted,
                lost,
            });
        }
    }
}
