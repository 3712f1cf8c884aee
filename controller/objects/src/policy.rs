//! What is wanted: how many copies, how far apart, how often checked.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Attributes, Cid, Error, Select};

/// The name of an object store, unique among the stores of one call: a DNS label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreId(String);

impl StoreId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StoreId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let fits = text.len() <= 63
            && text.chars().all(inner)
            && edge(text.chars().next())
            && edge(text.chars().next_back());
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::setting(
                "the name of an object store",
                format!("{:?}", text.chars().take(80).collect::<String>()),
                "use 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit",
            ))
        }
    }
}

impl TryFrom<String> for StoreId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<StoreId> for String {
    fn from(id: StoreId) -> Self {
        id.0
    }
}

impl Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A level of failure: what may be lost at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpreadKey {
    /// A geographic region.
    Region,
    /// A zone, site or rack.
    Zone,
    /// A cluster of servers under one administration.
    Cluster,
    /// A hosting provider.
    Provider,
}

/// Where a store stands, per level. Stores that name nothing at a level share that level.
pub type FailureDomain = BTreeMap<SpreadKey, String>;

/// A store as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSpec {
    /// Its name.
    pub id: StoreId,
    /// Where it stands.
    pub domain: FailureDomain,
    /// Its share of new copies, relative to the other stores; 0 takes no new ones.
    pub weight: u32,
    /// Whether copies may be written, repaired and dropped here.
    pub writable: bool,
}

/// How many copies: 1 ≤ min ≤ desired ≤ max.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Replicas {
    min: u32,
    desired: u32,
    max: u32,
}

impl Replicas {
    /// Checks the order of the three.
    pub fn new(min: u32, desired: u32, max: u32) -> Result<Self, Error> {
        if (1..=desired).contains(&min) && desired <= max {
            Ok(Self { min, desired, max })
        } else {
            Err(Error::setting(
                "replicas",
                format!("min {min}, desired {desired}, max {max}"),
                "1 ≤ min ≤ desired ≤ max is needed",
            ))
        }
    }

    /// Fewer verified copies than this put an object at risk.
    pub const fn min(self) -> usize {
        self.min as usize
    }

    /// The number of verified copies to keep.
    pub const fn desired(self) -> usize {
        self.desired as usize
    }

    /// More copies than this are trimmed at once.
    pub const fn max(self) -> usize {
        self.max as usize
    }

    /// What satisfies both: two policies over one object must not undo each other's work.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        Self {
            min: self.min.max(other.min),
            desired: self.desired.max(other.desired),
            max: self.max.max(other.max),
        }
    }
}

/// The rules for the objects of one selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How many copies.
    pub replicas: Replicas,
    /// Levels over which copies are spread, most important first. Each level is counted within the
    /// ones before it: zone `a` of one region is not zone `a` of another.
    pub spread: Vec<SpreadKey>,
    /// How old a verification may be for its copy to count. Re-verification begins at half of it.
    pub max_age: Duration,
    /// How long an unreachable store's copies are waited for before they are replaced elsewhere.
    /// Not waited for when only one copy is left.
    pub grace: Duration,
    /// How long copies above `desired` (but not above `max`) are kept.
    pub trim_after: Duration,
    /// How old the verifications in a proof of safe deletion may be.
    pub proof_max_age: Duration,
    /// How long a replaced corrupt copy is kept for people to look at.
    pub trash: Duration,
}

impl Policy {
    /// The defaults around `replicas`: no spread; 30 days, 15 minutes, 1 hour, 10 minutes, 1 day.
    pub fn new(replicas: Replicas) -> Self {
        Self {
            replicas,
            spread: Vec::new(),
            max_age: days(30),
            grace: Duration::from_mins(15),
            trim_after: Duration::from_hours(1),
            proof_max_age: Duration::from_mins(10),
            trash: days(1),
        }
    }
}

const fn days(n: u64) -> Duration {
    Duration::from_hours(24 * n)
}

/// Everything that [`crate::plan()`] holds the world against.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The rules.
    pub policy: Policy,
    /// The objects they are for.
    pub select: Select,
    /// The stores that may hold copies. Copies elsewhere neither count nor are touched.
    pub stores: Vec<StoreSpec>,
    /// Other policies over the same stores. Where selections overlap, the larger of each number
    /// holds, so that no policy trims what another one asked for.
    pub others: Vec<(Select, Replicas)>,
}

impl Desired {
    /// The numbers that hold for one object, over all policies that select it.
    pub fn replicas_for(&self, cid: &Cid, attributes: &Attributes) -> Replicas {
        self.others
            .iter()
            .filter(|(select, _)| select.matches(cid, attributes))
            .fold(self.policy.replicas, |all, (_, replicas)| all.both(*replicas))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_in_the_wrong_order_are_refused_by_name() {
        assert!(Replicas::new(2, 3, 5).is_ok());
        for (min, desired, max) in [(0, 1, 1), (3, 2, 5), (1, 3, 2)] {
            let error = Replicas::new(min, desired, max).expect_err("refused").to_string();
            assert!(error.contains(&format!("desired {desired}")), "{error}");
        }
    }

    #[test]
    fn store_names_are_labels() {
        for good in ["a", "node-1", "0"] {
            assert_eq!(good.parse::<StoreId>().expect("good").as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a b", &"x".repeat(64)] {
            assert!(bad.parse::<StoreId>().is_err(), "{bad}");
        }
    }
}
