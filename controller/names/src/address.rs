//! Addresses as people write them, and their names in the reverse tree.

use std::{
    fmt::{self, Display, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{Error, Fqdn};

/// Reads a host's address, with or without its prefix length.
///
/// Refused are addresses that no name may resolve to (unspecified, loopback, link-local, multicast,
/// broadcast, IPv4-mapped) and, when an IPv4 prefix is given, the network's own two addresses: both
/// are what one gets by writing the network where the host belongs.
pub fn host_address(written: &str) -> Result<IpAddr, Error> {
    let bad = |why| Error::BadAddress { got: written.to_owned(), why };
    // Not by the parser of networks, which reads 010.0.0.1 as 10.0.0.1 where others read 8.0.0.1.
    let (host, length) = match written.split_once('/') {
        Some((host, length)) => (host, Some(length)),
        None => (written, None),
    };
    let address = host
        .parse::<IpAddr>()
        .map_err(|_| bad("wanted is an IPv4 or IPv6 address, such as 10.0.0.11/24"))?;
    let network = length
        .map(|length| prefix_length(length).and_then(|length| IpNet::new(address, length).ok()))
        .map(|network| {
            network.ok_or_else(|| {
                bad("wanted is an IPv4 or IPv6 address with its prefix length, such as 10.0.0.11/24")
            })
        })
        .transpose()?;
    match unusable(address) {
        Some(why) => Err(bad(why)),
        None => match network {
            Some(IpNet::V4(net)) if net.prefix_len() <= 30 && net.addr() == net.network() => {
                Err(bad("it is the network itself; write the host's own address"))
            }
            Some(IpNet::V4(net)) if net.prefix_len() <= 30 && net.addr() == net.broadcast() => {
                Err(bad("it is the broadcast address of its network"))
            }
            _ => Ok(address),
        },
    }
}

/// The only spelling of a number: no sign, no leading zero.
fn prefix_length(written: &str) -> Option<u8> {
    written.parse().ok().filter(|length: &u8| length.to_string() == written)
}

fn unusable(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let mapped_or_broadcast = match address {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    if address.is_unspecified() {
        Some("it is the unspecified address")
    } else if address.is_loopback() {
        Some("it is a loopback address, which means another host to everybody who resolves it")
    } else if address.is_multicast() {
        Some("it is a multicast address")
    } else if link_local {
        Some("it is a link-local address, which means nothing without its link; leave it out")
    } else if mapped_or_broadcast {
        Some("it is a broadcast or an IPv4-mapped address")
    } else {
        None
    }
}

/// A MAC address (EUI-48) of one station, shown in lower case with colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl FromStr for Mac {
    type Err = Error;

    /// Six hexadecimal octets joined by `:` or `-`; neither a group address nor all zeros.
    fn from_str(written: &str) -> Result<Self, Error> {
        let bad = || Error::BadMac { got: written.to_owned() };
        let mut octets = [0; 6];
        let mut parts = written.split([':', '-']);
        for octet in &mut octets {
            let hex = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            let part = parts.next().filter(hex).ok_or_else(bad)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        let group = octets[0] & 1 == 1;
        if parts.next().is_some() || group || octets == [0; 6] {
            return Err(bad());
        }
        Ok(Self(octets))
    }
}

impl Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, octet) in self.0.into_iter().enumerate() {
            let colon = if position == 0 { "" } else { ":" };
            write!(f, "{colon}{octet:02x}")?;
        }
        Ok(())
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The name of an address in the reverse tree: `11.0.0.10.in-addr.arpa` (RFC 1035 §3.5), or 32
/// nibbles below `ip6.arpa` (RFC 3596 §2.5).
pub fn reverse_name(address: IpAddr) -> Fqdn {
    let mut name = String::new();
    // Writing to a String cannot fail.
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            let _ = write!(name, "{d}.{c}.{b}.{a}.in-addr.arpa");
        }
        IpAddr::V6(v6) => {
            for octet in v6.octets().into_iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", octet & 0xf, octet >> 4);
            }
            name.push_str("ip6.arpa");
        }
    }
    Fqdn::trusted(name)
}

/// The address that a name in the reverse tree stands for; the inverse of [`reverse_name`].
pub fn address_of_reverse_name(name: &Fqdn) -> Option<IpAddr> {
    let text = name.as_str();
    let address = if let Some(octets) = text.strip_suffix(".in-addr.arpa") {
        let forward: Vec<_> = octets.rsplit('.').collect();
        IpAddr::V4(forward.join(".").parse::<Ipv4Addr>().ok()?)
    } else {
        let nibbles: Vec<_> = text.strip_suffix(".ip6.arpa")?.rsplit('.').collect();
        let well_formed = nibbles.len() == 32 && nibbles.iter().all(|nibble| nibble.len() == 1);
        let bits = u128::from_str_radix(&nibbles.concat(), 16).ok().filter(|_| well_formed)?;
        IpAddr::V6(Ipv6Addr::from_bits(bits))
    };
    // Only the one canonical spelling: no leading zeros.
    (reverse_name(address) == *name).then_some(address)
}

/// The part of a /24 that a classless reverse zone serves (RFC 2317): its first label is
/// `first/prefix-length`, `first-prefix-length` or `first-last`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClasslessRange {
    first: u8,
    last: u8,
    /// The /24 zone above it.
    parent: String,
}

impl ClasslessRange {
    /// The range of a zone, when its name has that form and a power-of-two block below a /24.
    pub(crate) fn of(zone: &Fqdn) -> Option<Self> {
        let (label, parent) = zone.as_str().split_once('.')?;
        let octets = parent.strip_suffix(".in-addr.arpa")?;
        let three = octets.split('.').count() == 3
            && octets.split('.').all(|octet| octet.parse::<u8>().is_ok());
        let (first, end) = label.split_once(['/', '-'])?;
        let (first, end) = (first.parse::<u8>().ok()?, end.parse::<u8>().ok()?);
        let by_length = || {
            let mask = (25..=31).contains(&end).then(|| u8::MAX >> (end - 24))?;
            (first & mask == 0).then_some(first | mask)
        };
        // `0-31` could be both; an aligned block is what its writer meant, two addresses hardly.
        let size = u16::from(end).checked_sub(first.into()).map(|span| span + 1);
        let is_block = |size: u16| size.is_power_of_two() && u16::from(first).is_multiple_of(size);
        let last = match size {
            Some(size) if label.contains('-') && size > 1 && is_block(size) => end,
            _ => by_length()?,
        };
        three.then(|| Self { first, last, parent: parent.to_owned() })
    }

    /// The first label of an address's PTR name in this zone, when the zone covers it.
    pub(crate) fn label_of(&self, address: IpAddr) -> Option<String> {
        let reverse = reverse_name(address);
        let (host, network) = reverse.as_str().split_once('.')?;
        let within = (self.first..=self.last).contains(&host.parse::<u8>().ok()?);
        (within && network == self.parent).then(|| host.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_addresses_come_with_or_without_their_prefix() {
        for written in ["10.0.0.11/24", "10.0.0.11", "10.0.0.0/31", "fd00::11/64", "fd00::"] {
            let want = written.split('/').next().unwrap().parse::<IpAddr>().unwrap();
            assert_eq!(host_address(written).unwrap(), want);
        }
    }

    #[test]
    fn what_no_name_may_resolve_to_is_refused() {
        for (written, why) in [
            ("10.0.0.0/24", "network itself"),
            ("10.0.0.255/24", "broadcast address of its network"),
            ("10.0.0.1/33", "prefix length"),
            ("10.0.0.1/024", "prefix length"),
            ("010.0.0.1/24", "wanted is an IPv4"),
            ("010.0.0.1", "wanted is an IPv4"),
            ("10.0.0.256", "IPv4 or IPv6"),
            ("host1", "IPv4 or IPv6"),
            ("010.0.0.1", "IPv4 or IPv6"),
            ("0.0.0.0", "unspecified"),
            ("::1/128", "loopback"),
            ("fe80::1/64", "link-local"),
            ("169.254.1.1", "link-local"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("::ffff:10.0.0.1", "IPv4-mapped"),
        ] {
            let refused = host_address(written).unwrap_err().to_string();
            assert!(refused.contains(why), "{written}: {refused}");
        }
    }

    #[test]
    fn mac_addresses_have_one_spelling() {
        let mac: Mac = "52-54-00-AB-cd-ef".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:ef");
        for bad in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:ef:00",
            "53:54:00:ab:cd:ef",
            "00:00:00:00:00:00",
            "5:54:00:ab:cd:ef",
            "52:54:00:ab:cd:+f",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn reverse_names_are_those_of_the_rfcs() {
        let reverse = |address: &str| reverse_name(address.parse().unwrap()).to_string();
        assert_eq!(reverse("10.0.0.11"), "11.0.0.10.in-addr.arpa");
        assert_eq!(
            reverse("4321:0:1:2:3:4:567:89ab"), // the example of RFC 3596
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa"
        );
        for name in ["01.0.0.10.in-addr.arpa", "1.0.10.in-addr.arpa", "a.ip6.arpa", "x.example.com"]
        {
            assert_eq!(address_of_reverse_name(&Fqdn::parse(name).unwrap()), None, "{name}");
        }
    }

    #[test]
    fn classless_zones_are_known_in_their_three_spellings() {
        let label = |zone: &str, address: &str| {
            ClasslessRange::of(&Fqdn::parse(zone).unwrap())?.label_of(address.parse().unwrap())
        };
        for zone in [
            "64/26.2.0.192.in-addr.arpa",
            "64-26.2.0.192.in-addr.arpa",
            "64-127.2.0.192.in-addr.arpa",
        ] {
            assert_eq!(label(zone, "192.0.2.64").as_deref(), Some("64"), "{zone}");
            assert_eq!(label(zone, "192.0.2.127").as_deref(), Some("127"), "{zone}");
            assert_eq!(label(zone, "192.0.2.128"), None, "{zone}");
            assert_eq!(label(zone, "192.0.3.64"), None, "{zone}");
        }
        assert_eq!(label("0-31.2.0.192.in-addr.arpa", "192.0.2.31").as_deref(), Some("31"));
        assert_eq!(label("0-26.2.0.192.in-addr.arpa", "192.0.2.63").as_deref(), Some("63"));
        assert_eq!(label("1/26.2.0.192.in-addr.arpa", "192.0.2.1"), None, "not a block");
        assert_eq!(label("2.0.192.in-addr.arpa", "192.0.2.1"), None);
    }
}
