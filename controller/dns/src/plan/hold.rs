//! Deletions that a person should look at first.

use std::fmt;

use cim_plan::Plan;

use crate::{Change, Release};

/// From this number of our records on, the share counts; below it, every small change would.
const MIN_RECORDS: usize = 10;
/// The largest share of our records that is deleted without asking, in percent.
const MAX_PERCENT: usize = 30;

/// Deletions that were kept out of the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Why.
    pub reason: HoldReason,
    /// The deletions.
    pub plan: Plan<Change>,
    /// Their hash; passed in [`Release::Confirmed`] it lets these go on, and no others.
    pub hash: String,
}

/// Why deletions were kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldReason {
    /// Nothing is wanted any more: more likely the source is broken than the zone to be emptied.
    NothingDesired,
    /// A large share of our records would go.
    TooMany {
        /// How many would go.
        deletions: usize,
        /// Out of how many.
        owned: usize,
    },
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingDesired => f.write_str("nothing is wanted in the zone any more"),
            Self::TooMany { deletions, owned } => write!(
                f,
                "{deletions} of {owned} record sets would be deleted, more than {MAX_PERCENT} %"
            ),
        }
    }
}

/// Whether `deletions` are held back. `owned` counts our record sets in the zone, `nothing_desired`
/// tells that there is nothing wanted although we have written something.
pub(super) fn decide(
    deletions: &[Change],
    owned: usize,
    nothing_desired: bool,
    release: &Release,
) -> Option<Held> {
    let count: usize = deletions.iter().map(|change| change.edits.len()).sum();
    let reason = if count == 0 || *release == Release::Everything {
        return None;
    } else if nothing_desired {
        HoldReason::NothingDesired
    } else if owned >= MIN_RECORDS && count * 100 > owned * MAX_PERCENT {
        HoldReason::TooMany { deletions: count, owned }
    } else {
        return None;
    };
    let plan = Plan::new(deletions.to_vec(), Vec::new());
    let hash = plan.hash();
    (*release != Release::Confirmed(hash.clone())).then_some(Held { reason, plan, hash })
}
