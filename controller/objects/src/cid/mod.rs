//! Content identifiers: what an object is called, and how its bytes are held against its name.
//!
//! ```text
//! bytes ─▶ Hasher(profile) ─▶ Hashed{cid, sha256, size}      a name for new bytes
//! bytes ─▶ Verifier(cid)   ─▶ Hashed | Mismatch              a name held against old bytes
//! ```

mod dagpb;
mod hasher;
mod verifier;

use std::fmt::{self, Debug, Display};
use std::str::FromStr;

use cid::Version;
use multihash::Multihash;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;
pub use hasher::{Hashed, Hasher, Leaves, Profile};
pub use verifier::{Mismatch, Verifier};

/// Multicodec of a block of plain bytes.
pub(crate) const RAW: u64 = 0x55;
/// Multicodec of a dag-pb node.
pub(crate) const DAG_PB: u64 = 0x70;
/// Multihash code of SHA2-256.
pub(crate) const SHA2_256: u64 = 0x12;

/// The name of an object: a CID (multiformats/cid), version 0 or 1.
///
/// Two spellings of one CID (other multibases) are equal. `Display` is the canonical spelling, and
/// the name under which a store keeps the object: base58btc for version 0, lower-case base32 for
/// version 1. Digests of up to 32 bytes are held (SHA2-256, BLAKE3), which keeps millions small.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid(cid::CidGeneric<32>);

impl Cid {
    /// The CID of one block of plain bytes with this SHA2-256 digest: `bafkrei…`.
    pub fn raw(sha256: [u8; 32]) -> Self {
        Self::v1(RAW, sha256)
    }

    pub(crate) fn v1(codec: u64, sha256: [u8; 32]) -> Self {
        Self(cid::CidGeneric::new_v1(codec, sha2_256(sha256)))
    }

    /// Version 0 is defined only for SHA2-256 over dag-pb, which is all this can make.
    pub(crate) fn v0(sha256: [u8; 32]) -> Self {
        let v1 = cid::CidGeneric::new_v1(DAG_PB, sha2_256(sha256));
        Self(cid::CidGeneric::new_v0(*v1.hash()).unwrap_or(v1))
    }

    /// The multicodec of what the digest covers: 0x55 for plain bytes, 0x70 for a dag-pb node.
    pub fn codec(&self) -> u64 {
        self.0.codec()
    }

    /// The multihash code: 0x12 for SHA2-256.
    pub fn hash_code(&self) -> u64 {
        self.0.hash().code()
    }

    /// The digest, without its multihash prefix.
    pub fn digest(&self) -> &[u8] {
        self.0.hash().digest()
    }

    /// Whether this is a version 0 CID (`Qm…`).
    pub fn is_v0(&self) -> bool {
        self.0.version() == Version::V0
    }

    /// The binary form, as dag-pb links carry it.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }
}

/// 32 bytes always fit into 32, so the empty hash below is never seen.
fn sha2_256(digest: [u8; 32]) -> Multihash<32> {
    Multihash::wrap(SHA2_256, &digest).unwrap_or_default()
}

impl FromStr for Cid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // `ipfs://…` and `/ipfs/…` are paths into a DAG, not names of objects: refused.
        if text.contains('/') {
            return Err(Error::cid(text, "it is a path; give the CID alone"));
        }
        cid::CidGeneric::try_from(text)
            .map(Self)
            .map_err(|error| Error::cid(text, error.to_string()))
    }
}

impl Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Serialize for Cid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
