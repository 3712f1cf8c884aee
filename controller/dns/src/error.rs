//! Everything that can go wrong, with the place, the reason and what to do about it.

use std::{fmt, io, time::Duration};

use crate::{Name, RecordKey, RecordType, ServerAddress, Zone};

/// An error of this crate.
///
/// Input errors (from `Name` to `WrongZone`) name the text that was refused; server errors name the
/// server. Secrets are never part of an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is no domain name (RFC 1035 section 2.3.1, RFC 2181 section 11).
    #[error("{text:?} is not a domain name: {why}")]
    Name {
        /// What was given.
        text: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// A text is no record type.
    #[error("{text:?} is not a DNS record type; expected a name like A, AAAA, TXT, or TYPE65280")]
    Type {
        /// What was given.
        text: String,
    },
    /// A text is no value of the given type.
    #[error("{text:?} is not the value of a record of type {kind}: {why}")]
    Value {
        /// The record type.
        kind: RecordType,
        /// What was given.
        text: String,
        /// Which rule it breaks.
        why: String,
    },
    /// A TSIG key cannot be used.
    #[error("TSIG key {name:?}: {why}")]
    Key {
        /// The key's name as given; never its secret.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A text is no address of a server.
    #[error(
        "{text:?} is not the address of a DNS server: {why}; expected HOST, HOST:PORT or [IPV6]:PORT"
    )]
    Server {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A text is no ignore pattern.
    #[error(
        "{text:?} is not an ignore pattern: {why}; expected a name glob like `_acme-challenge.**`, and perhaps a type after a blank"
    )]
    Pattern {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A record does not belong to the zone.
    #[error("{name} is not in the zone {zone}")]
    NotInZone {
        /// The record's name.
        name: Name,
        /// The zone.
        zone: Zone,
    },
    /// A record which this crate never writes.
    #[error("{key} is not ours to write: {why}")]
    Protected {
        /// The record.
        key: RecordKey,
        /// Why it is left alone.
        why: &'static str,
    },
    /// A CNAME shares its name with other records, or there are two of them (RFC 1034 section
    /// 3.6.2).
    #[error("{key} is refused: {name} has {other} already, and a CNAME must be the only record of its name", name = key.name)]
    CnameNotAlone {
        /// The record that came second and was refused.
        key: RecordKey,
        /// The type that is there.
        other: RecordType,
    },
    /// A record set does not fit into one message.
    #[error(
        "{key} is too large: at most {} values and {} bytes fit into one update",
        crate::Desired::MAX_VALUES,
        crate::Desired::MAX_BYTES
    )]
    TooLarge {
        /// The record set.
        key: RecordKey,
    },
    /// A time to live is out of range (RFC 2181 section 8).
    #[error("{key}: a TTL of {ttl} s is out of range; the largest is {max} s", max = crate::MAX_TTL)]
    Ttl {
        /// The record.
        key: RecordKey,
        /// What was given, in seconds.
        ttl: u32,
    },
    /// Desired state, observation and ledger are not of one zone.
    #[error("the {what} is of the zone {found}, but the plan is for {expected}")]
    WrongZone {
        /// `ledger` or `observation`.
        what: &'static str,
        /// Its zone.
        found: Zone,
        /// The zone of the plan.
        expected: Zone,
    },
    /// No TCP connection to the server.
    #[error(
        "cannot connect to the DNS server {server}: {source}; check the address, the port and that the server runs"
    )]
    Connect {
        /// The server.
        server: ServerAddress,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// The connection failed after it was made.
    #[error("the connection to the DNS server {server} broke during {what}: {source}")]
    Io {
        /// The server.
        server: ServerAddress,
        /// What was being done.
        what: &'static str,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// A deadline passed.
    #[error("the DNS server {server} did not finish {what} within {} ms", after.as_millis())]
    Timeout {
        /// The server.
        server: ServerAddress,
        /// What was being done.
        what: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// A message is not DNS, or not the answer to what was asked.
    #[error("the DNS server {server} sent a wrong answer to {what}: {why}")]
    Malformed {
        /// The server.
        server: ServerAddress,
        /// What was being done.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A message of ours cannot be encoded.
    #[error("cannot encode the {what}: {why}")]
    Encode {
        /// What was being done.
        what: &'static str,
        /// The reason.
        why: String,
    },
    /// The signature of a message was refused, by the server or by us.
    #[error("TSIG with the key {key} at the DNS server {server}: {failure}")]
    Tsig {
        /// The server.
        server: ServerAddress,
        /// The key's name.
        key: Name,
        /// In which way.
        failure: TsigFailure,
    },
    /// The server refused a request.
    #[error("the DNS server {server} refused {what} for {zone} with {rcode}{hint}")]
    Refused {
        /// The server.
        server: ServerAddress,
        /// What was being done.
        what: &'static str,
        /// The zone.
        zone: Zone,
        /// Its answer.
        rcode: Rcode,
        /// What to do, with its own punctuation; may be empty.
        hint: &'static str,
    },
    /// The server does not serve the zone.
    #[error(
        "the DNS server {server} is not authoritative for {name}; is the zone configured and loaded there?"
    )]
    NotAuthoritative {
        /// The server.
        server: ServerAddress,
        /// What was asked for.
        name: Name,
    },
    /// A zone transfer did not come to its end. What has arrived is worthless: nothing can be told
    /// from records that are not in it.
    #[error("the transfer of {zone} from {server} is incomplete after {records} records: {why}")]
    Incomplete {
        /// The server.
        server: ServerAddress,
        /// The zone.
        zone: Zone,
        /// How many records had arrived.
        records: usize,
        /// Why it ended.
        why: String,
    },
}

impl Error {
    /// The kind of error in one CamelCase word, for the reason of a condition and metric labels.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Name { .. }
            | Self::Type { .. }
            | Self::Value { .. }
            | Self::Server { .. }
            | Self::Pattern { .. }
            | Self::NotInZone { .. }
            | Self::Protected { .. }
            | Self::CnameNotAlone { .. }
            | Self::TooLarge { .. }
            | Self::Ttl { .. }
            | Self::WrongZone { .. }
            | Self::Encode { .. } => "InvalidInput",
            Self::Key { .. } => "InvalidTsigKey",
            Self::Connect { .. } | Self::Io { .. } | Self::Timeout { .. } => "ServerUnreachable",
            Self::Malformed { .. } => "MalformedAnswer",
            Self::Tsig { .. } => "TsigFailed",
            Self::Refused { .. } => "ServerRefused",
            Self::NotAuthoritative { .. } => "NotAuthoritative",
            Self::Incomplete { .. } => "TransferIncomplete",
        }
    }
}

/// In which way a signature was refused (RFC 8945 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TsigFailure {
    /// The server does not know the key, or knows it with another algorithm. Knot from 3.4 on answers
    /// this with an unsigned NOTAUTH, as it does for a zone that it does not serve; see
    /// [`Error::Refused`].
    #[error("the server has no key of this name and algorithm (BADKEY)")]
    BadKey,
    /// The secrets differ.
    #[error("the server has another secret for this key (BADSIG)")]
    BadSignature,
    /// The clocks differ.
    #[error("the clocks differ by {}; set both by NTP (BADTIME)", Skew(*.ahead))]
    BadTime {
        /// By how many seconds the server's clock is ahead of ours, where it says so.
        ahead: Option<i64>,
    },
    /// The server answers with another TSIG error.
    #[error("the server answers TSIG error {0}")]
    Other(u16),
    /// The answer to a signed request is not signed.
    #[error("an answer of the server is not signed")]
    Unsigned,
    /// The answer is signed with another key than the request.
    #[error("an answer of the server is signed with another key or algorithm")]
    WrongKey,
    /// The signature of the answer is wrong.
    #[error(
        "the signature of an answer of the server is wrong: it was altered on its way, or the secret is another one"
    )]
    Forged,
    /// The answer was signed too long ago, or in the future.
    #[error("an answer of the server was signed at another time than now: the clocks differ by {}", Skew(Some(*.ahead)))]
    Stale {
        /// By how many seconds the server's clock is ahead of ours.
        ahead: i64,
    },
}

impl TsigFailure {
    /// Whether the server said so, and therefore has done nothing.
    pub(crate) const fn by_server(self) -> bool {
        matches!(self, Self::BadKey | Self::BadSignature | Self::BadTime { .. } | Self::Other(_))
    }
}

struct Skew(Option<i64>);

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(seconds) if seconds < 0 => {
                write!(f, "{} s (the server is behind)", seconds.unsigned_abs())
            }
            Some(seconds) => write!(f, "{seconds} s (the server is ahead)"),
            None => f.write_str("more than 300 s"),
        }
    }
}

/// A response code (RFC 6895 section 2.3), printed by its mnemonic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rcode(pub u16);

impl Rcode {
    /// No error.
    pub const NOERROR: Self = Self(0);
    /// The server cannot tell why.
    pub const SERVFAIL: Self = Self(2);
    /// The name does not exist.
    pub const NXDOMAIN: Self = Self(3);
    /// The server does not do this.
    pub const NOTIMP: Self = Self(4);
    /// A policy of the server forbids it.
    pub const REFUSED: Self = Self(5);
    /// A name exists that should not.
    pub const YXDOMAIN: Self = Self(6);
    /// A record set exists that should not.
    pub const YXRRSET: Self = Self(7);
    /// A record set does not exist, or has other values.
    pub const NXRRSET: Self = Self(8);
    /// Not authoritative, or not authorised when TSIG is involved.
    pub const NOTAUTH: Self = Self(9);

    /// Whether it says that a prerequisite of an update does not hold (RFC 2136 section 2.4):
    /// somebody else has changed the record since it was observed.
    pub const fn is_prerequisite(self) -> bool {
        matches!(self, Self::NXDOMAIN | Self::YXDOMAIN | Self::YXRRSET | Self::NXRRSET)
    }
}

impl fmt::Debug for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 11] = [
            "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN",
            "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE",
        ];
        match NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "RCODE{}", self.0),
        }
    }
}
