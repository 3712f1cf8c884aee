//! Which objects a policy is for, and what objects say about themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Cid;

/// What is written beside an object: its name, labels, content type, owner.
///
/// Kept in the store's own metadata, so it travels with each copy and stock clients show it. It is
/// not covered by the CID: never decide about safety by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attributes(pub BTreeMap<String, String>);

impl Attributes {
    const NAME: &'static str = "name";
    const LABEL: &'static str = "label.";

    /// Attributes that say nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a human name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.0.insert(Self::NAME.to_owned(), name.into());
        self
    }

    /// The same with a label.
    #[must_use]
    pub fn labelled(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.insert(format!("{}{key}", Self::LABEL), value.into());
        self
    }

    /// The same with any other key, such as `content-type` or `owner`.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    /// The human name.
    pub fn name(&self) -> Option<&str> {
        self.get(Self::NAME)
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.get(&format!("{}{key}", Self::LABEL))
    }

    /// The value of any key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

/// The objects that a policy is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// Every object named by a CID.
    All,
    /// These, also when no store has them (yet, or any more).
    Cids(BTreeSet<Cid>),
    /// Those with one of these names.
    Names(BTreeSet<String>),
    /// Those that carry all of these labels.
    Labels(BTreeMap<String, String>),
}

impl Select {
    /// Whether an object with these attributes is meant.
    pub fn matches(&self, cid: &Cid, attributes: &Attributes) -> bool {
        match self {
            Self::All => true,
            Self::Cids(cids) => cids.contains(cid),
            Self::Names(names) => attributes.name().is_some_and(|name| names.contains(name)),
            Self::Labels(labels) => {
                labels.iter().all(|(key, value)| attributes.label(key) == Some(value))
            }
        }
    }

    /// The CIDs that are meant even if they are nowhere.
    pub fn named_cids(&self) -> impl Iterator<Item = &Cid> {
        match self {
            Self::Cids(cids) => Some(cids.iter()),
            _ => None,
        }
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_select_meets_its_objects_only() {
        let cid = Cid::raw([1; 32]);
        let site = Attributes::new().named("site").labelled("tier", "web");
        let matches = |select: Select| select.matches(&cid, &site);
        assert!(matches(Select::All));
        assert!(matches(Select::Cids([cid].into())));
        assert!(!matches(Select::Cids([Cid::raw([2; 32])].into())));
        assert!(matches(Select::Names(["site".to_owned()].into())));
        assert!(!matches(Select::Names(["sites".to_owned()].into())));
        assert!(matches(Select::Labels([("tier".to_owned(), "web".to_owned())].into())));
        assert!(!matches(Select::Labels([("tier".to_owned(), "db".to_owned())].into())));
        assert_eq!(Select::Cids([cid].into()).named_cids().count(), 1);
        assert_eq!(Select::All.named_cids().count(), 0);
    }
}
