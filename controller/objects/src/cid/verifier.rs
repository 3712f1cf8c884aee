//! A CID held against bytes.

use std::fmt::{self, Display};

use sha2::{Digest, Sha256};

use super::{Cid, DAG_PB, Hashed, Hasher, Profile, RAW, SHA2_256};
use crate::Error;

/// The bytes are not those that the CID names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The CID they should have had.
    pub expected: Cid,
    /// What was found instead.
    pub found: Hashed,
}

impl Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its {} bytes hash to {}", self.found.size, self.found.cid)
    }
}

/// Hashes bytes that arrive in pieces and says whether they are the object that a CID names.
pub struct Verifier {
    cid: Cid,
    how: How,
}

enum How {
    /// One block of plain bytes, of any size.
    Flat(Sha256, u64),
    /// The root of a file, rebuilt by the profile that the CID's version implies.
    File(Box<Hasher>),
}

impl Verifier {
    /// A verifier for `cid`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another hash than SHA2-256 or another codec than raw and dag-pb:
    /// such an object can be neither confirmed nor called corrupt here.
    pub fn new(cid: &Cid) -> Result<Self, Error> {
        if cid.hash_code() != SHA2_256 || cid.digest().len() != 32 {
            return Err(Error::Unsupported {
                cid: *cid,
                what: format!("multihash 0x{:x} ({} bytes)", cid.hash_code(), cid.digest().len()),
                want: "sha2-256 (0x12, 32 bytes)",
            });
        }
        let how = match cid.codec() {
            RAW => How::Flat(Sha256::new(), 0),
            // A dag-pb CID does not say how its file was cut. Version 0 predates raw leaves, and
            // version 1 is what IPIP-0499 pairs with them.
            DAG_PB if cid.is_v0() => How::File(Box::new(Hasher::new(Profile::V0_2015))),
            DAG_PB => How::File(Box::new(Hasher::new(Profile::V1_2025))),
            codec => {
                return Err(Error::Unsupported {
                    cid: *cid,
                    what: format!("codec 0x{codec:x}"),
                    want: "raw (0x55) or dag-pb (0x70)",
                });
            }
        };
        Ok(Self { cid: *cid, how })
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.how {
            How::Flat(hash, size) => {
                hash.update(bytes);
                *size += bytes.len() as u64;
            }
            How::File(hasher) => hasher.update(bytes),
        }
    }

    /// The verdict over all bytes taken.
    ///
    /// # Errors
    /// [`Mismatch`], with what the bytes really are.
    pub fn finish(self) -> Result<Hashed, Box<Mismatch>> {
        let found = match self.how {
            How::Flat(hash, size) => {
                let sha256 = hash.finalize().into();
                Hashed { cid: Cid::raw(sha256), sha256, size }
            }
            How::File(hasher) => hasher.finish(),
        };
        // A one-block file has a raw CID under the profile, and a dag-pb CID never names one.
        if found.cid == self.cid {
            Ok(found)
        } else {
            Err(Box::new(Mismatch { expected: self.cid, found }))
        }
    }
}
