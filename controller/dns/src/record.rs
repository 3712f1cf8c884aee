//! Records: types, values and record sets, all in presentation format (RFC 1035 section 5.1).

use std::{
    fmt::{self, Write},
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use hickory_proto::rr;
use serde::{Serialize, Serializer};

use crate::{Error, Name, Text};

/// The largest time to live, in seconds (RFC 2181 section 8).
pub const MAX_TTL: u32 = i32::MAX.unsigned_abs();

/// The type of a record, by its number (RFC 6895 section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(pub u16);

impl RecordType {
    /// An IPv4 address.
    pub const A: Self = Self(1);
    /// A name server.
    pub const NS: Self = Self(2);
    /// The canonical name of an alias.
    pub const CNAME: Self = Self(5);
    /// The start of authority of a zone.
    pub const SOA: Self = Self(6);
    /// The name of an address.
    pub const PTR: Self = Self(12);
    /// A mail exchanger.
    pub const MX: Self = Self(15);
    /// Text.
    pub const TXT: Self = Self(16);
    /// An IPv6 address.
    pub const AAAA: Self = Self(28);
    /// The place of a service.
    pub const SRV: Self = Self(33);

    /// Whether records of this type belong to the signing of the zone or to a delegation's chain of
    /// trust. The server or the signer keeps them; they are neither ours nor anybody's drift.
    pub fn is_dnssec(self) -> bool {
        // SIG KEY NXT DS RRSIG NSEC DNSKEY NSEC3 NSEC3PARAM CDS CDNSKEY ZONEMD, and BIND's
        // private record of its signing state.
        matches!(self.0, 24 | 25 | 30 | 43 | 46 | 47 | 48 | 50 | 51 | 59 | 60 | 63 | 65_534)
    }

    /// Whether a signed zone has records of this type beside a CNAME (RFC 4035 section 2.5).
    pub(crate) fn is_beside_cname(self) -> bool {
        const RRSIG: u16 = 46;
        const NSEC: u16 = 47;
        matches!(self.0, RRSIG | NSEC)
    }

    /// Whether this crate writes records of this type.
    pub fn is_writable(self) -> bool {
        matches!(
            self,
            Self::A
                | Self::AAAA
                | Self::CNAME
                | Self::PTR
                | Self::NS
                | Self::MX
                | Self::SRV
                | Self::TXT
        )
    }

    /// Whether it says where a name is: what a CNAME may take the place of, and the reverse.
    pub(crate) fn is_location(self) -> bool {
        matches!(self, Self::A | Self::AAAA | Self::CNAME)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match rr::RecordType::from(self.0) {
            rr::RecordType::Unknown(number) => write!(f, "TYPE{number}"),
            known => f.pad(known.into()),
        }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RecordType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let upper = text.to_ascii_uppercase();
        let number = upper.strip_prefix("TYPE").and_then(|number| number.parse().ok());
        number
            .or_else(|| rr::RecordType::from_str(&upper).ok().map(u16::from))
            .map(Self)
            .ok_or_else(|| Error::Type { text: text.to_owned() })
    }
}

impl Serialize for RecordType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The name and the type of a record set: the unit that DNS updates and caches know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RecordKey {
    /// The owner name.
    pub name: Name,
    /// The type.
    pub kind: RecordType,
}

impl RecordKey {
    /// The key of the records of type `kind` at `name`.
    pub fn new(name: Name, kind: RecordType) -> Self {
        Self { name, kind }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

/// The value of one record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rdata {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The canonical name of an alias.
    Cname(Name),
    /// The name of an address.
    Ptr(Name),
    /// A name server of a delegation.
    Ns(Name),
    /// A mail exchanger (RFC 1035 section 3.3.9).
    Mx {
        /// Lower is tried first.
        preference: u16,
        /// The host; the root means that there is no mail here (RFC 7505).
        exchange: Name,
    },
    /// The place of a service (RFC 2782).
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Share among equal priorities.
        weight: u16,
        /// The port.
        port: u16,
        /// The host; the root means that there is no such service here.
        target: Name,
    },
    /// Text.
    Txt(Text),
    /// A record that is only looked at, never written.
    Opaque {
        /// Its type.
        kind: RecordType,
        /// Its value in presentation format; RFC 3597's `\# …` where the type is not known.
        text: String,
    },
}

impl Rdata {
    /// A TXT value of any length; cut into strings of 255 bytes.
    pub fn txt(text: &str) -> Self {
        Self::Txt(Text::new(text.as_bytes()))
    }

    /// The type of the record.
    pub fn kind(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::AAAA,
            Self::Cname(_) => RecordType::CNAME,
            Self::Ptr(_) => RecordType::PTR,
            Self::Ns(_) => RecordType::NS,
            Self::Mx { .. } => RecordType::MX,
            Self::Srv { .. } => RecordType::SRV,
            Self::Txt(_) => RecordType::TXT,
            Self::Opaque { kind, .. } => *kind,
        }
    }

    /// Reads a value of type `kind` from presentation format, without quotes around names.
    /// A TXT value may be several quoted strings or one bare text.
    pub fn parse(kind: RecordType, text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let wrong = |why: String| Error::Value { kind, text: text.to_owned(), why };
        let name = |text: &str| text.parse::<Name>().map_err(|error| wrong(error.to_string()));
        let number = |text: &str| {
            text.parse::<u16>().map_err(|_| wrong(format!("{text:?} is not a number up to 65535")))
        };
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        Ok(match (kind, fields.as_slice()) {
            (RecordType::A, [address]) => {
                Self::A(address.parse().map_err(|_| wrong("it is not an IPv4 address".into()))?)
            }
            (RecordType::AAAA, [address]) => {
                Self::Aaaa(address.parse().map_err(|_| wrong("it is not an IPv6 address".into()))?)
            }
            (RecordType::CNAME, [target]) => Self::Cname(name(target)?),
            (RecordType::PTR, [target]) => Self::Ptr(name(target)?),
            (RecordType::NS, [target]) => Self::Ns(name(target)?),
            (RecordType::MX, [preference, exchange]) => {
                Self::Mx { preference: number(preference)?, exchange: name(exchange)? }
            }
            (RecordType::SRV, [priority, weight, port, target]) => Self::Srv {
                priority: number(priority)?,
                weight: number(weight)?,
                port: number(port)?,
                target: name(target)?,
            },
            (RecordType::TXT, _) => Self::Txt(Text::parse(text).map_err(|why| wrong(why.into()))?),
            _ if !kind.is_writable() => return Err(wrong("this type is never written".into())),
            (_, fields) => return Err(wrong(format!("it has {} fields", fields.len()))),
        })
    }

    /// The value as the DNS library encodes it; `None` for what is never written.
    pub(crate) fn to_wire(&self) -> Option<rr::RData> {
        use rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SRV, TXT};
        Some(match self {
            Self::A(address) => rr::RData::A(A(*address)),
            Self::Aaaa(address) => rr::RData::AAAA(AAAA(*address)),
            Self::Cname(name) => rr::RData::CNAME(CNAME(name.to_wire())),
            Self::Ptr(name) => rr::RData::PTR(PTR(name.to_wire())),
            Self::Ns(name) => rr::RData::NS(NS(name.to_wire())),
            Self::Mx { preference, exchange } => {
                rr::RData::MX(MX::new(*preference, exchange.to_wire()))
            }
            Self::Srv { priority, weight, port, target } => {
                rr::RData::SRV(SRV::new(*priority, *weight, *port, target.to_wire()))
            }
            Self::Txt(text) => rr::RData::TXT(TXT::from_bytes(text.strings().collect())),
            Self::Opaque { .. } => return None,
        })
    }

    /// Reads what the DNS library has decoded.
    pub(crate) fn from_wire(data: &rr::RData) -> Result<Self, &'static str> {
        Ok(match data {
            rr::RData::A(a) => Self::A(a.0),
            rr::RData::AAAA(a) => Self::Aaaa(a.0),
            rr::RData::CNAME(name) => Self::Cname(Name::from_wire(&name.0)?),
            rr::RData::PTR(name) => Self::Ptr(Name::from_wire(&name.0)?),
            rr::RData::NS(name) => Self::Ns(Name::from_wire(&name.0)?),
            rr::RData::MX(mx) => {
                Self::Mx { preference: mx.preference, exchange: Name::from_wire(&mx.exchange)? }
            }
            rr::RData::SRV(srv) => Self::Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: Name::from_wire(&srv.target)?,
            },
            rr::RData::TXT(txt) => Self::Txt(Text::from_strings(&txt.txt_data)),
            other => {
                // Not `to_string`: the library fails to print some records, and that would panic.
                let mut text = String::new();
                write!(text, "{other}").map_err(|_| "the library cannot print it")?;
                Self::Opaque { kind: RecordType(other.record_type().into()), text }
            }
        })
    }

    /// The length on the wire without compression, in bytes.
    pub(crate) fn wire_len(&self) -> usize {
        match self {
            Self::A(_) => 4,
            Self::Aaaa(_) => 16,
            Self::Cname(name) | Self::Ptr(name) | Self::Ns(name) => name.wire_len(),
            Self::Mx { exchange, .. } => 2 + exchange.wire_len(),
            Self::Srv { target, .. } => 6 + target.wire_len(),
            Self::Txt(text) => text.strings().map(|string| string.len() + 1).sum(),
            Self::Opaque { text, .. } => text.len(),
        }
    }
}

impl fmt::Display for Rdata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => address.fmt(f),
            Self::Aaaa(address) => address.fmt(f),
            Self::Cname(name) | Self::Ptr(name) | Self::Ns(name) => name.fmt(f),
            Self::Mx { preference, exchange } => write!(f, "{preference} {exchange}"),
            Self::Srv { priority, weight, port, target } => {
                write!(f, "{priority} {weight} {port} {target}")
            }
            Self::Txt(text) => text.fmt(f),
            Self::Opaque { text, .. } => f.write_str(text),
        }
    }
}

impl fmt::Debug for Rdata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Rdata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_rdata() -> impl Strategy<Value = Rdata> {
        let name = || "[a-z]{1,8}\\.[a-z]{1,8}".prop_map(|name| name.parse::<Name>().unwrap());
        prop_oneof![
            any::<Ipv4Addr>().prop_map(Rdata::A),
            any::<Ipv6Addr>().prop_map(Rdata::Aaaa),
            name().prop_map(Rdata::Cname),
            name().prop_map(Rdata::Ptr),
            name().prop_map(Rdata::Ns),
            (any::<u16>(), name())
                .prop_map(|(preference, exchange)| Rdata::Mx { preference, exchange }),
            (any::<u16>(), any::<u16>(), any::<u16>(), name()).prop_map(
                |(priority, weight, port, target)| Rdata::Srv { priority, weight, port, target }
            ),
            prop::collection::vec(any::<u8>(), 0..600)
                .prop_map(|bytes| Rdata::Txt(Text::new(&bytes))),
        ]
    }

    proptest! {
        #[test]
        fn values_survive_presentation_format_and_the_wire(value in any_rdata()) {
            prop_assert_eq!(&value, &Rdata::parse(value.kind(), &value.to_string()).unwrap());
            prop_assert_eq!(&value, &Rdata::from_wire(&value.to_wire().unwrap()).unwrap());
        }
    }

    #[test]
    fn bad_values_are_refused_with_the_reason() {
        let why = |kind, text| Rdata::parse(kind, text).unwrap_err().to_string();
        assert!(why(RecordType::A, "10.0.0.256").contains("IPv4"));
        assert!(why(RecordType::A, "10.0.0.1 10.0.0.2").contains("2 fields"));
        assert!(why(RecordType::AAAA, "10.0.0.1").contains("IPv6"));
        assert!(why(RecordType::SRV, "0 0 70000 a.b").contains("70000"));
        assert!(why(RecordType::SOA, "x").contains("never written"));
        assert!(why(RecordType::TXT, "\"open").contains("quote"));
    }

    #[test]
    fn types_are_known_by_name_or_number() {
        assert_eq!("aaaa".parse::<RecordType>().unwrap(), RecordType::AAAA);
        assert_eq!("TYPE1".parse::<RecordType>().unwrap().to_string(), "A");
        assert_eq!("TYPE65280".parse::<RecordType>().unwrap().to_string(), "TYPE65280");
        assert!("BLAH".parse::<RecordType>().is_err());
        assert!("DNSKEY".parse::<RecordType>().unwrap().is_dnssec());
    }
}
