//! The ownership marks that other tools leave in a zone.

use std::collections::BTreeMap;

use crate::{
    Name, Observed, RecordKey,
    zone::{OWNER_LABEL, is_mark},
};

/// Types that external-dns puts before the first label of its marks: `a-www.example.com`.
const TYPE_PREFIXES: [&str; 9] =
    ["a-", "aaaa-", "cname-", "txt-", "srv-", "mx-", "ns-", "ptr-", "naptr-"];

/// The names in a zone that other tools have marked as theirs.
pub(super) struct Marks {
    covered: BTreeMap<Name, RecordKey>,
}

impl Marks {
    pub(super) fn of(observed: &Observed) -> Self {
        let mut covered = BTreeMap::new();
        for (key, _) in observed.records().iter().filter(|(key, set)| is_mark(key, &set.values)) {
            for name in names_covered(&key.name) {
                covered.insert(name, key.clone());
            }
        }
        Self { covered }
    }

    /// The mark that covers `name`.
    pub(super) fn on(&self, name: &Name) -> Option<&RecordKey> {
        self.covered.get(name)
    }
}

fn names_covered(mark: &Name) -> Vec<Name> {
    let text = mark.as_str();
    let mut names = vec![mark.clone()];
    if let Some(owned) = text.strip_prefix(OWNER_LABEL) {
        names.extend(owned.parse());
        names.extend(owned.split_once('.').and_then(|(_kind, name)| name.parse().ok()));
    }
    names.extend(TYPE_PREFIXES.iter().filter_map(|prefix| text.strip_prefix(prefix)?.parse().ok()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_cover_the_names_that_other_tools_mean() {
        let covered = |mark: &str| {
            names_covered(&mark.parse().unwrap())
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert!(covered("www.example.com").contains(&"www.example.com.".to_owned()));
        assert!(covered("cname-www.example.com").contains(&"www.example.com.".to_owned()));
        assert!(covered("_owner.a.www.example.com").contains(&"www.example.com.".to_owned()));
    }
}
