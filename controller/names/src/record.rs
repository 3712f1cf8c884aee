//! DNS records as plain data. The DNS crate has its own types; the border between both converts.

use std::{
    collections::BTreeSet,
    fmt::{self, Display},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

use crate::{Fqdn, Source};

/// The types of record that the hierarchy gives rise to, or that may stand beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordType {
    /// IPv4 address (RFC 1035).
    A,
    /// IPv6 address (RFC 3596).
    Aaaa,
    /// Alias (RFC 1035); only ever an [extra record](crate::ExtraRecord).
    Cname,
    /// Name of an address (RFC 1035).
    Ptr,
    /// Location of a service (RFC 2782).
    Srv,
    /// Text (RFC 1035); only ever an [extra record](crate::ExtraRecord).
    Txt,
}

impl Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Ptr => "PTR",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
        })
    }
}

/// What one record says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RecordValue {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The name that this one stands for.
    Cname(Fqdn),
    /// The name of the address.
    Ptr(Fqdn),
    /// Where the service is.
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Share among equal priorities; 0 where there is nothing to choose by.
        weight: u16,
        /// 1 to 65535.
        port: u16,
        /// A name with address records, never an alias.
        target: Fqdn,
    },
    /// Text of any length; who writes it cuts it into strings of 255 octets.
    Txt(String),
}

impl RecordValue {
    /// The type of the record.
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::Aaaa,
            Self::Cname(_) => RecordType::Cname,
            Self::Ptr(_) => RecordType::Ptr,
            Self::Srv { .. } => RecordType::Srv,
            Self::Txt(_) => RecordType::Txt,
        }
    }
}

impl From<IpAddr> for RecordValue {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::A(v4),
            IpAddr::V6(v6) => Self::Aaaa(v6),
        }
    }
}

impl Display for RecordValue {
    /// As in a zone file, names with their final dot; text is quoted as Rust does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(v4) => write!(f, "{v4}"),
            Self::Aaaa(v6) => write!(f, "{v6}"),
            Self::Cname(name) | Self::Ptr(name) => write!(f, "{name}."),
            Self::Srv { priority, weight, port, target } => {
                write!(f, "{priority} {weight} {port} {target}.")
            }
            Self::Txt(text) => write!(f, "{text:?}"),
        }
    }
}

/// All records of one name and type: they are published, and compared, together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordSet {
    /// The managed zone that it belongs to.
    pub zone: Fqdn,
    /// Time to live in seconds.
    pub ttl: u32,
    /// At least one.
    pub values: BTreeSet<RecordValue>,
    /// The resources because of which it exists; at least one.
    pub sources: BTreeSet<Source>,
}
