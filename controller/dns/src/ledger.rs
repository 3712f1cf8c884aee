//! Which records of a zone are ours.
//!
//! DNS has no place for an owner's mark that would not multiply the records, so the marks are kept
//! outside, by the caller: for every record set that we wrote, the fingerprint of what we wrote.
//! A lost ledger costs nothing but the right to delete: what is wanted and equal is taken in again,
//! everything else becomes somebody else's.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, RecordKey, Zone};

/// The version of the serialised form.
const VERSION: u32 = 1;

/// The record sets of one zone that we wrote or took over, with what we last wrote.
///
/// Serialises to a stable JSON object: some 25 bytes and the relative name for each record set.
/// It has at most one entry for each record set that is wanted, or ours and still in the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    zone: Zone,
    entries: BTreeMap<RecordKey, Mark>,
}

/// What we know to have written, and what we are about to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The fingerprint last seen in the zone as ours.
    pub(crate) applied: Option<String>,
    /// The fingerprint of an update under way. It is stored before the update is sent, so that a
    /// crash in between leaves no record that nobody knows to be ours.
    pub(crate) intent: Option<String>,
}

impl Mark {
    /// Whether a set that was observed as `fingerprint` is what we wrote.
    pub(crate) fn wrote(&self, fingerprint: &str) -> bool {
        [&self.applied, &self.intent].into_iter().flatten().any(|mark| mark == fingerprint)
    }

    /// Whether the set is ours, even if somebody has changed its values since. An intent alone
    /// makes nothing ours: the update may have failed, and another may have made the record.
    pub(crate) fn owns(&self, fingerprint: &str) -> bool {
        self.applied.is_some() || self.wrote(fingerprint)
    }
}

impl Ledger {
    /// A ledger in which nothing is ours.
    pub fn new(zone: Zone) -> Self {
        Self { zone, entries: BTreeMap::new() }
    }

    /// The zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The number of record sets in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is ours.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn entries(&self) -> &BTreeMap<RecordKey, Mark> {
        &self.entries
    }

    pub(crate) fn keep(&mut self, key: RecordKey, mark: Mark) {
        self.entries.insert(key, mark);
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    zone: Zone,
    /// `RELATIVE-NAME TYPE` to `APPLIED` or `APPLIED>INTENT`, either side of which may be empty.
    records: BTreeMap<String, String>,
}

impl Serialize for Ledger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let records = self.entries.iter().map(|(key, mark)| {
            let relative = key.name.relative_to(&self.zone).unwrap_or(key.name.as_str());
            let applied = mark.applied.as_deref().unwrap_or_default();
            let intent = mark.intent.as_ref().map(|intent| format!(">{intent}"));
            (format!("{relative} {}", key.kind), format!("{applied}{}", intent.unwrap_or_default()))
        });
        Stored { version: VERSION, zone: self.zone.clone(), records: records.collect() }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ledger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        Self::from_stored(stored).map_err(serde::de::Error::custom)
    }
}

impl Ledger {
    fn from_stored(stored: Stored) -> Result<Self, String> {
        if stored.version != VERSION {
            return Err(format!("a ledger of version {} is not known here", stored.version));
        }
        let mut ledger = Self::new(stored.zone);
        for (key, value) in stored.records {
            let (relative, kind) =
                key.split_once(' ').ok_or_else(|| format!("{key:?} is not `NAME TYPE`"))?;
            let name = ledger.zone.absolute(relative).map_err(|e: Error| e.to_string())?;
            let kind = kind.parse().map_err(|e: Error| e.to_string())?;
            let (applied, intent) = value.split_once('>').unwrap_or((&value, ""));
            let fingerprint = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let mark = Mark { applied: fingerprint(applied), intent: fingerprint(intent) };
            ledger.keep(RecordKey::new(name, kind), mark);
        }
        Ok(ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rdata, RecordType, RrSet};

    fn ledger_of(count: u32) -> Ledger {
        let zone: Zone = "core.example.com".parse().unwrap();
        let mut ledger = Ledger::new(zone.clone());
        for n in 0..count {
            let name = zone.absolute(&format!("host{n}")).unwrap();
            let set = RrSet::new(300, [Rdata::A(n.into())]);
            let mark = Mark { applied: Some(set.fingerprint()), intent: None };
            ledger.keep(RecordKey::new(name, RecordType::A), mark);
        }
        ledger
    }

    #[test]
    fn a_ledger_survives_storage_and_is_stable() {
        let mut ledger = ledger_of(3);
        let apex = RecordKey::new(ledger.zone().name().clone(), RecordType::TXT);
        ledger.keep(apex, Mark { applied: None, intent: Some("abc".to_owned()) });
        let text = serde_json::to_string(&ledger).unwrap();
        assert!(text.contains(r#""@ TXT":">abc""#), "{text}");
        let back: Ledger = serde_json::from_str(&text).unwrap();
        assert_eq!(back, ledger);
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }

    #[test]
    fn twenty_thousand_records_fit_into_one_kubernetes_object() {
        let bytes = serde_json::to_vec(&ledger_of(20_000)).unwrap().len();
        assert!(bytes < 900 << 10, "{bytes}");
    }

    #[test]
    fn a_damaged_ledger_is_refused_and_not_taken_for_an_empty_one() {
        let load = |text: &str| serde_json::from_str::<Ledger>(text).map_err(|e| e.to_string());
        assert!(load("{}").is_err());
        assert!(
            load(r#"{"version":2,"zone":"a.","records":{}}"#).unwrap_err().contains("version 2")
        );
        assert!(load(r#"{"version":1,"zone":"a.","records":{"host1":"x"}}"#).is_err());
        assert!(load(r#"{"version":1,"zone":"a.","records":{"h..1 A":"x"}}"#).is_err());
    }

    #[test]
    fn an_intent_alone_owns_only_what_it_would_have_written() {
        let mark = Mark { applied: None, intent: Some("x".into()) };
        assert!(mark.owns("x") && !mark.owns("y"));
        let mark = Mark { applied: Some("x".into()), intent: None };
        assert!(mark.owns("y") && !mark.wrote("y"));
    }
}
