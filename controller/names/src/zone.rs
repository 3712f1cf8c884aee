//! The managed zones, and which of them a name belongs to.

use std::collections::BTreeMap;

use crate::{Error, Fqdn, address::ClasslessRange, inventory::Zone, reverse_name};

/// The zones in which records may be written, with the time to live of their records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Zones {
    ttls: BTreeMap<Fqdn, u32>,
    classless: Vec<(Fqdn, ClasslessRange)>,
}

impl Zones {
    pub(crate) fn add(&mut self, zone: &Zone) -> Result<(), Error> {
        let name = Fqdn::parse(&zone.name)?;
        if self.ttls.contains_key(&name) {
            return Err(Error::DuplicateZone { zone: name });
        }
        if let Some(range) = ClasslessRange::of(&name) {
            self.classless.push((name.clone(), range));
        }
        self.ttls.insert(name, zone.ttl);
        Ok(())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Fqdn> {
        self.ttls.keys()
    }

    /// The zone of a name, and its time to live: the longest suffix on a label boundary.
    pub(crate) fn of(&self, name: &Fqdn) -> Option<(&Fqdn, u32)> {
        let mut suffix = name.as_str();
        loop {
            if let Some((zone, ttl)) = self.ttls.get_key_value(suffix) {
                return Some((zone, *ttl));
            }
            suffix = suffix.split_once('.')?.1;
        }
    }

    /// The name of an address's PTR record: within a classless zone that covers it (RFC 2317), else
    /// the ordinary one.
    pub(crate) fn ptr_name(&self, address: std::net::IpAddr) -> Fqdn {
        self.classless
            .iter()
            .find_map(|(zone, range)| zone.prefixed(&range.label_of(address)?).ok())
            .unwrap_or_else(|| reverse_name(address))
    }
}
