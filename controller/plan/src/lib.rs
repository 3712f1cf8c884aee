//! A plan as data, shared by every capability crate.
//!
//! A capability (`dns`, `nats`, `nixos`, `objects`) observes the outside world, and a pure function
//! compares it with what is wanted:
//!
//! ```text
//! plan(desired, observed) -> Plan<Change>
//!      Plan::findings   what differs, for status, metrics and people
//!      Plan::changes    what `apply` will do about it, in order
//! ```
//!
//! The two lists differ on purpose: a foreign record is a finding without a change, and one change
//! may settle several findings. Nothing but `apply(plan)` mutates the outside.
//! Two laws hold for every capability and are checked by [`testkit`]: after a full apply the plan is
//! empty, and applying any prefix of a plan and starting again converges.

mod finding;
#[cfg(feature = "testkit")]
pub mod testkit;

use std::fmt::{self, Display};

use serde::Serialize;
use sha2::{Digest, Sha256};

pub use finding::{DriftClass, Finding};

/// One thing that `apply` will do to the outside world.
///
/// `Display` is one line for people; `Serialize` is the identity that [`Plan::hash`] covers. Neither
/// may contain a secret: both reach status, events and logs.
pub trait Change: Display + Serialize {}

impl<T: Display + Serialize> Change for T {}

/// What differs from the desired state, and what would be done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use = "a plan does nothing until it is applied"]
pub struct Plan<C> {
    /// Effects in the order in which they must happen. Empty when nothing is to be done.
    pub changes: Vec<C>,
    /// Differences seen, sorted; includes those that nobody will correct (foreign things).
    pub findings: Vec<Finding>,
}

impl<C> Default for Plan<C> {
    fn default() -> Self {
        Self { changes: Vec::new(), findings: Vec::new() }
    }
}

impl<C> Plan<C> {
    /// A plan of `changes` in order, for `findings` in any order.
    pub fn new(changes: Vec<C>, mut findings: Vec<Finding>) -> Self {
        findings.sort();
        Self { changes, findings }
    }

    /// Whether `apply` would do nothing. There may still be findings.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The number of findings of one class, for the drift gauge.
    pub fn count(&self, class: DriftClass) -> usize {
        self.findings.iter().filter(|finding| finding.class == class).count()
    }
}

impl<C: Change> Plan<C> {
    /// A short stable name of this plan: the first 16 hexadecimal digits of the SHA-256 over its
    /// serialised changes. The annotation `cim.dev/confirm` carries it to release a held plan, so a
    /// plan that has changed in the meantime is not released by an old confirmation.
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        for change in &self.changes {
            // Writing JSON to memory fails only for non-string map keys; `Display` then stands in.
            let line = serde_json::to_string(change).unwrap_or_else(|_| change.to_string());
            hasher.update(line.as_bytes());
            hasher.update(b"\n");
        }
        let prefix =
            hasher.finalize().iter().take(8).fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        format!("{prefix:016x}")
    }
}

impl<C: Display> Display for Plan<C> {
    /// One line per change, as `status.plan` and `cimctl` show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_covers_the_order_and_the_content_of_the_changes() {
        let hash = |changes: &[&str]| {
            Plan::new(changes.iter().map(ToString::to_string).collect(), vec![]).hash()
        };
        assert_eq!(hash(&["a", "b"]), hash(&["a", "b"]));
        assert_ne!(hash(&["a", "b"]), hash(&["b", "a"]));
        assert_ne!(hash(&["ab"]), hash(&["a", "b"]));
        assert_eq!(hash(&[]).len(), 16);
    }

    #[test]
    fn findings_come_out_sorted_so_that_status_does_not_flap() {
        let finding = |subject: &str| Finding::missing(subject, "x");
        let plan = Plan::<String>::new(vec![], vec![finding("b"), finding("a")]);
        assert_eq!(plan.findings[0].subject, "a");
        assert_eq!(plan.count(DriftClass::Missing), 2);
        assert!(plan.is_empty());
    }
}
