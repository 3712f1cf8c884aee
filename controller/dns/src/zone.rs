//! The records of a zone as they are wanted and as they are.

use std::collections::{BTreeMap, btree_map::Entry};

use crate::{Error, MAX_TTL, Name, Rdata, RecordKey, RecordType, RrSet, Zone};

/// What a zone should contain. Every record was checked when it was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    zone: Zone,
    records: BTreeMap<RecordKey, RrSet>,
}

impl Desired {
    /// The largest number of values of one record set. Servers may allow fewer: BIND allows 100.
    pub const MAX_VALUES: usize = 400;
    /// The largest size of the values of one record set, in bytes. The change of such a set, with
    /// the old values as prerequisite, fits into one message of 64 KiB.
    pub const MAX_BYTES: usize = 20 << 10;

    /// A zone in which nothing is wanted yet.
    pub fn new(zone: Zone) -> Self {
        Self { zone, records: BTreeMap::new() }
    }

    /// Adds one record. Values of one name and type make one record set; its TTL is the lowest
    /// that was asked for. After an error nothing was added, and the rest is as good as before.
    pub fn add(&mut self, name: Name, ttl: u32, value: Rdata) -> Result<(), Error> {
        let key = RecordKey::new(name, value.kind());
        if !self.zone.contains(&key.name) {
            return Err(Error::NotInZone { name: key.name, zone: self.zone.clone() });
        }
        if ttl > MAX_TTL {
            return Err(Error::Ttl { key, ttl });
        }
        if let Some(why) = protected(&self.zone, &key) {
            return Err(Error::Protected { key, why });
        }
        if !key.kind.is_writable() || matches!(value, Rdata::Opaque { .. }) {
            return Err(Error::Protected { key, why: "this type is only looked at" });
        }
        if is_mark(&key, [&value]) {
            return Err(Error::Protected { key, why: "it would mark records as another tool's" });
        }
        self.check_cname(&key, &value)?;
        self.check_size(&key, &value)?;
        match self.records.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(RrSet::new(ttl, [value]));
            }
            Entry::Occupied(mut entry) => {
                let set = entry.get_mut();
                set.ttl = set.ttl.min(ttl);
                set.values.insert(value);
            }
        }
        Ok(())
    }

    fn check_size(&self, key: &RecordKey, value: &Rdata) -> Result<(), Error> {
        let others = self.records.get(key).map(|set| &set.values).into_iter().flatten();
        let sizes: Vec<usize> =
            others.filter(|other| *other != value).map(Rdata::wire_len).collect();
        let bytes = sizes.iter().sum::<usize>() + value.wire_len();
        if sizes.len() < Self::MAX_VALUES && bytes <= Self::MAX_BYTES {
            return Ok(());
        }
        Err(Error::TooLarge { key: key.clone() })
    }

    fn check_cname(&self, key: &RecordKey, value: &Rdata) -> Result<(), Error> {
        if key.kind == RecordType::CNAME && key.name == *self.zone.name() {
            return Err(Error::CnameNotAlone { key: key.clone(), other: RecordType::SOA });
        }
        let first = RecordKey::new(key.name.clone(), RecordType(0));
        let at_name = self.records.range(first..).take_while(|(other, _)| other.name == key.name);
        for (other, set) in at_name {
            let involves_cname = [key.kind, other.kind].contains(&RecordType::CNAME);
            if involves_cname && !(other.kind == key.kind && set.values.contains(value)) {
                return Err(Error::CnameNotAlone { key: key.clone(), other: other.kind });
            }
        }
        Ok(())
    }

    /// The zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The wanted record sets, by name and type.
    pub fn records(&self) -> &BTreeMap<RecordKey, RrSet> {
        &self.records
    }
}

/// What a zone contained at one serial: all of it, since an incomplete transfer is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    zone: Zone,
    serial: u32,
    records: BTreeMap<RecordKey, RrSet>,
}

impl Observed {
    /// The zone as it was at `serial`.
    pub fn new(zone: Zone, serial: u32, records: BTreeMap<RecordKey, RrSet>) -> Self {
        Self { zone, serial, records }
    }

    /// The zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The serial of the zone's SOA record (RFC 1982 arithmetic).
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Every record set of the zone, also those that this crate leaves alone.
    pub fn records(&self) -> &BTreeMap<RecordKey, RrSet> {
        &self.records
    }
}

/// Why a record is never written, whoever asks for it; `None` for ordinary records.
pub(crate) fn protected(zone: &Zone, key: &RecordKey) -> Option<&'static str> {
    if key.kind == RecordType::SOA {
        return Some("the server keeps the SOA record");
    }
    if key.kind == RecordType::NS && key.name == *zone.name() {
        return Some("the name servers of the zone are set where the server is configured");
    }
    key.kind.is_dnssec().then_some("the signer of the zone keeps the records of DNSSEC")
}

/// The first label of octoDNS's ownership marks, `_owner.a.www.example.com`.
pub(crate) const OWNER_LABEL: &str = "_owner.";

/// Whether some of these values are the ownership mark of another tool: external-dns and those that
/// follow it write `heritage=…`, octoDNS a name that begins with `_owner`.
pub(crate) fn is_mark<'a>(key: &RecordKey, values: impl IntoIterator<Item = &'a Rdata>) -> bool {
    let heritage = |value: &Rdata| match value {
        // external-dns writes the quotes into the value with some servers.
        Rdata::Txt(text) => {
            let joined = text.joined();
            joined.strip_prefix(b"\"").unwrap_or(&joined).starts_with(b"heritage=")
        }
        _ => false,
    };
    key.kind == RecordType::TXT
        && (key.name.as_str().starts_with(OWNER_LABEL) || values.into_iter().any(heritage))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired() -> Desired {
        Desired::new("example.com".parse().unwrap())
    }

    fn add(desired: &mut Desired, name: &str, kind: &str, value: &str) -> Result<(), Error> {
        let value = Rdata::parse(kind.parse().unwrap(), value).unwrap();
        desired.add(name.parse().unwrap(), 300, value)
    }

    #[test]
    fn values_of_one_name_and_type_become_one_set_with_the_lowest_ttl() {
        let mut zone = desired();
        let name: Name = "a.example.com".parse().unwrap();
        zone.add(name.clone(), 300, Rdata::A([10, 0, 0, 1].into())).unwrap();
        zone.add(name.clone(), 60, Rdata::A([10, 0, 0, 2].into())).unwrap();
        let set = &zone.records()[&RecordKey::new(name, RecordType::A)];
        assert_eq!((set.ttl, set.values.len()), (60, 2));
    }

    #[test]
    fn what_cannot_be_in_the_zone_is_refused_and_the_rest_stays() {
        let mut zone = desired();
        add(&mut zone, "www.example.com", "A", "10.0.0.1").unwrap();
        add(&mut zone, "alias.example.com", "CNAME", "www.example.com").unwrap();
        let before = zone.clone();
        for (name, kind, value) in [
            ("www.example.org", "A", "10.0.0.1"),
            ("badexample.com", "A", "10.0.0.1"),
            ("example.com", "NS", "ns.example.com"),
            ("example.com", "CNAME", "www.example.com"),
            ("www.example.com", "CNAME", "alias.example.com"),
            ("alias.example.com", "A", "10.0.0.1"),
            ("alias.example.com", "CNAME", "other.example.com"),
        ] {
            let error = add(&mut zone, name, kind, value).unwrap_err().to_string();
            assert!(error.contains(name.trim_end_matches('.')), "{error}");
        }
        let opaque = Rdata::Opaque { kind: RecordType(257), text: String::new() };
        assert!(zone.add("a.example.com".parse().unwrap(), 1, opaque).is_err());
        let value = Rdata::txt("x");
        assert!(zone.add("a.example.com".parse().unwrap(), u32::MAX, value).is_err());
        assert_eq!(zone, before);
        add(&mut zone, "alias.example.com", "CNAME", "www.example.com").unwrap();
    }

    #[test]
    fn a_set_has_a_largest_size() {
        let mut zone = desired();
        let mut add = |n: usize| {
            let octets = u32::try_from(n).unwrap().to_be_bytes();
            zone.add("a.example.com".parse().unwrap(), 1, Rdata::A(octets.into()))
        };
        (0..Desired::MAX_VALUES).for_each(|n| add(n).unwrap());
        assert!(matches!(add(Desired::MAX_VALUES), Err(Error::TooLarge { .. })));
        add(0).unwrap();
        let long = Rdata::txt(&"x".repeat(Desired::MAX_BYTES));
        assert!(zone.add("b.example.com".parse().unwrap(), 1, long).is_err());
    }

    #[test]
    fn a_mark_is_known_by_its_text_or_its_name_and_never_wanted() {
        let mut zone = desired();
        for (name, text, mark) in [
            ("a-www.example.com", "heritage=external-dns,external-dns/owner=default", true),
            ("www.example.com", "\"heritage=external-dns\"", true),
            ("_owner.a.www.example.com", "anything", true),
            ("www.example.com", "v=spf1 -all", false),
        ] {
            let key = RecordKey::new(name.parse().unwrap(), RecordType::TXT);
            assert_eq!(is_mark(&key, [&Rdata::txt(text)]), mark, "{name} {text}");
            assert_eq!(zone.add(key.name, 300, Rdata::txt(text)).is_err(), mark, "{name} {text}");
        }
    }
}
