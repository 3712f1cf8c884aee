//! Where a DNS server is, and how long we wait for it.

use std::{fmt, str::FromStr, time::Duration};

use serde::Serialize;

use crate::{Error, TsigKey};

/// The port of DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// The address of a DNS server: a host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ServerAddress {
    /// A host name, an IPv4 address or an IPv6 address without brackets.
    pub host: String,
    /// The port, for TCP and UDP.
    pub port: u16,
}

impl FromStr for ServerAddress {
    type Err = Error;

    /// `HOST`, `HOST:PORT`, `[IPV6]:PORT` or a bare IPv6 address; port 53 unless told.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why| Error::Server { text: text.to_owned(), why };
        let trimmed = text.trim();
        let (host, port) = if let Some(bracketed) = trimmed.strip_prefix('[') {
            let (host, rest) = bracketed.split_once(']').ok_or_else(|| wrong("] is missing"))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(wrong("between [ and ] is no IPv6 address"));
            }
            match (rest, rest.strip_prefix(':')) {
                ("", _) => (host, None),
                (_, Some(port)) => (host, Some(port)),
                _ => return Err(wrong("behind ] must come : and a port")),
            }
        } else if trimmed.matches(':').count() > 1 {
            if trimmed.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(wrong("it has several colons and is no IPv6 address"));
            }
            (trimmed, None)
        } else {
            trimmed.split_once(':').map_or((trimmed, None), |(host, port)| (host, Some(port)))
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(wrong(
                "the host is empty or has other characters than letters, digits, - . _",
            ));
        }
        let port = match port.map(str::parse::<u16>) {
            None => DNS_PORT,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return Err(wrong("the port is not a number from 1 to 65535")),
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Bounds on waiting and on what is taken in. The defaults suit zones of up to 500,000 records on a
/// server in reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// To look up the host and connect.
    pub connect: Duration,
    /// From a request, or a message of a transfer, to the next answer.
    pub answer: Duration,
    /// For a whole transfer.
    pub transfer: Duration,
    /// For a whole apply; what is not sent by then is left for the next one.
    pub apply: Duration,
    /// Bytes in one transfer.
    pub max_bytes: usize,
    /// Records in one transfer.
    pub max_records: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            answer: Duration::from_secs(10),
            transfer: Duration::from_mins(1),
            apply: Duration::from_mins(1),
            max_bytes: 64 << 20,
            max_records: 500_000,
        }
    }
}

/// The primary server of a zone: the one that accepts updates and gives the zone away.
#[derive(Clone, Debug)]
pub struct Primary {
    pub(crate) address: ServerAddress,
    pub(crate) key: Option<TsigKey>,
    pub(crate) limits: Limits,
}

impl Primary {
    /// The server at `address`, spoken to with `key`; without one, only where the server trusts
    /// our address.
    pub fn new(address: ServerAddress, key: Option<TsigKey>, limits: Limits) -> Self {
        Self { address, key, limits }
    }

    /// Where it is.
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_printed() {
        let text = |text: &str| text.parse::<ServerAddress>().map(|a| a.to_string());
        assert_eq!(text("10.0.0.53").unwrap(), "10.0.0.53:53");
        assert_eq!(text("ns1.example.com:5353").unwrap(), "ns1.example.com:5353");
        assert_eq!(text("[::1]:53").unwrap(), "[::1]:53");
        assert_eq!(text("fd00::53").unwrap(), "[fd00::53]:53");
        for wrong in ["", ":53", "a:0", "a:99999", "a b", "[::1", "[::1]53", "[a]:53", "1:2:3:z"] {
            assert!(text(wrong).is_err(), "{wrong}");
        }
    }
}
