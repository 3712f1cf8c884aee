//! The ownership marks that other tools leave in a zone.

use std::collections::BTreeMap;

use crate::{Name, Observed, Rdata, RecordKey, RecordType, RrSet};

/// Types that external-dns puts before the first label of its marks: `a-www.example.com`.
const TYPE_PREFIXES: [&str; 9] =
    ["a-", "aaaa-", "cname-", "txt-", "srv-", "mx-", "ns-", "ptr-", "naptr-"];
/// The label of octoDNS's marks, `_owner.a.www.example.com`, and of fencing records.
const OWNER_LABEL: &str = "_owner.";

/// The names in a zone that other tools have marked as theirs.
pub(super) struct Marks {
    covered: BTreeMap<Name, RecordKey>,
}

impl Marks {
    pub(super) fn of(observed: &Observed) -> Self {
        let mut covered = BTreeMap::new();
        for (key, _) in observed.records().iter().filter(|(key, set)| is_mark(key, set)) {
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

/// Whether a record set is, or contains, the ownership mark of another tool: external-dns and those
/// that follow it write `heritage=…`, octoDNS a name that begins with `_owner`.
pub(super) fn is_mark(key: &RecordKey, set: &RrSet) -> bool {
    let heritage = |value: &Rdata| match value {
        // external-dns writes the quotes into the value with some servers.
        Rdata::Txt(text) => {
            let joined = text.joined();
            joined.strip_prefix(b"\"").unwrap_or(&joined).starts_with(b"heritage=")
        }
        _ => false,
    };
    key.kind == RecordType::TXT
        && (key.name.as_str().starts_with(OWNER_LABEL) || set.values.iter().any(heritage))
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

    #[test]
    fn a_mark_is_known_by_its_text_or_its_name() {
        let is = |name: &str, text: &str| {
            let key = RecordKey::new(name.parse().unwrap(), RecordType::TXT);
            is_mark(&key, &RrSet::new(0, [Rdata::txt(text)]))
        };
        assert!(is("a-www.example.com", "heritage=external-dns,external-dns/owner=default"));
        assert!(is("www.example.com", "\"heritage=external-dns\""));
        assert!(is("_owner.a.www.example.com", "anything"));
        assert!(!is("www.example.com", "v=spf1 -all"));
    }
}
