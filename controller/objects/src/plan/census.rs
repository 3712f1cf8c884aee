//! The copies of one object, counted.

use std::time::Duration;

use crate::observed::{Copy, Object, StoreState};
use crate::schedule::passed;
use crate::{Cid, Desired, Entry, Observed, Replicas, StoreId};

/// How urgent an object is; smaller is sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// One verified copy, or none.
    Last,
    /// Fewer than `min`.
    BelowMin,
    /// Fewer than `desired`, or a corrupt copy.
    BelowDesired,
    /// As many as wanted, in the wrong places or too many.
    Placement,
}

/// One object's copies by what they are.
pub(crate) struct Census<'a> {
    pub(crate) cid: &'a Cid,
    pub(crate) object: &'a Object,
    pub(crate) replicas: Replicas,
    pub(crate) verified: Vec<StoreId>,
    pub(crate) unverified: Vec<StoreId>,
    pub(crate) corrupt: Vec<(StoreId, &'a Entry, &'a str)>,
    /// In unreachable stores, and still waited for.
    pub(crate) presumed: Vec<StoreId>,
    /// Whether any declared store could not be looked at.
    pub(crate) blind: bool,
}

impl<'a> Census<'a> {
    pub(crate) fn new(
        desired: &Desired,
        observed: &'a Observed,
        cid: &'a Cid,
        object: &'a Object,
    ) -> Self {
        let mut census = Self {
            cid,
            object,
            replicas: desired.replicas_for(cid, &object.attributes),
            verified: Vec::new(),
            unverified: Vec::new(),
            corrupt: Vec::new(),
            presumed: Vec::new(),
            blind: unreachable(desired, observed) > 0,
        };
        for (id, copy) in &object.copies {
            match copy {
                Copy::Verified { .. } => census.verified.push(id.clone()),
                Copy::Unverified { .. } => census.unverified.push(id.clone()),
                Copy::Corrupt { entry, why } => census.corrupt.push((id.clone(), entry, why)),
                Copy::Presumed => census.presumed.push(id.clone()),
            }
        }
        let grace = census.grace(desired, observed);
        census.presumed.retain(|id| match observed.stores.get(id) {
            Some(StoreState::Unreachable { since, .. }) => !passed(*since, grace, observed.at),
            _ => false,
        });
        census
    }

    /// How long the copies of unreachable stores are waited for.
    fn grace(&self, desired: &Desired, observed: &Observed) -> Duration {
        let at_hand = self.verified.len() + self.unverified.len();
        if at_hand <= 1 {
            return Duration::ZERO;
        }
        // When most stores vanish together, it is more likely that we are cut off than that they
        // failed; copying everything among the rest would help nobody.
        if unreachable(desired, observed) * 2 > desired.stores.len() {
            return Duration::MAX;
        }
        desired.policy.grace
    }

    /// Whether there is no verified copy and nowhere left to look for one.
    pub(crate) fn is_lost(&self) -> bool {
        self.verified.is_empty() && self.unverified.is_empty() && !self.blind
    }

    pub(crate) fn urgency(&self) -> Urgency {
        let (have, replicas) = (self.verified.len(), self.replicas);
        if have <= 1 && replicas.desired() > 1 || have == 0 {
            Urgency::Last
        } else if have < replicas.min() {
            Urgency::BelowMin
        } else if have < replicas.desired() || !self.corrupt.is_empty() {
            Urgency::BelowDesired
        } else {
            Urgency::Placement
        }
    }
}

pub(crate) fn unreachable(desired: &Desired, observed: &Observed) -> usize {
    let reachable =
        |id| matches!(observed.stores.get(id), Some(StoreState::Ready { .. } | StoreState::Absent));
    desired.stores.iter().filter(|spec| !reachable(&spec.id)).count()
}
