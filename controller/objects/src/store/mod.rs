//! Where copies live, behind one interface.
//!
//! A store may fail in any call, and a failure means "unknown": only `Ok` says something about
//! copies. The one way to remove a copy is [`Store::delete`], which takes a [`SafeDropProof`].

pub mod jetstream;
#[cfg(feature = "testkit")]
pub mod memory;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Attributes, Cid, Error, SafeDropProof, StoreId};

/// The bytes of an object, in order, in pieces of at most a few MiB.
pub type ByteStream = BoxStream<'static, Result<Bytes, Error>>;

/// The stores of one call, by name.
pub type Stores = BTreeMap<StoreId, Arc<dyn Store>>;

/// Identifies stored bytes without reading them: equal versions mean that nobody has written to,
/// replaced or removed any part of the copy through the store's interface. Bits that rot below the
/// interface change no version; only reading finds those.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The store's own name of the bytes (the NUID of a NATS object).
    pub id: String,
    /// Sequence of the metadata.
    pub head: u64,
    /// Sequence of the last part of the bytes; 0 without parts.
    pub tail: u64,
    /// How many parts there are.
    pub parts: u64,
}

/// A copy as a store lists it: a claim, not yet a verified copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The object it claims to be.
    pub cid: Cid,
    /// The bytes it claims to have.
    pub size: u64,
    /// Which bytes.
    pub version: Version,
    /// What is written beside it.
    pub attributes: Attributes,
    /// The SHA2-256 that it declares, which stock clients check when they read it.
    pub sha256: Option<[u8; 32]>,
    /// A contradiction that shows without reading the bytes: a missing part, unreadable metadata.
    pub flaw: Option<String>,
}

/// Something in a store that is not a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stray {
    /// What it is.
    pub kind: StrayKind,
    /// The store's own name of its bytes.
    pub id: String,
    /// How many parts it has.
    pub parts: u64,
    /// When it was last written, by the store's clock.
    pub since: Timestamp,
}

/// The sorts of [`Stray`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StrayKind {
    /// A corrupt copy that was replaced and is kept for a while.
    Quarantined {
        /// The object that it was a copy of.
        cid: Cid,
    },
    /// What a copy of ours left when it was interrupted.
    Unfinished {
        /// The object that was being copied.
        cid: Cid,
    },
    /// Bytes that no name refers to and that are not ours.
    Orphan,
    /// An object whose name is not a CID.
    Foreign {
        /// Its name.
        name: String,
    },
}

/// One thing in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A copy.
    Copy(Entry),
    /// Anything else.
    Stray(Stray),
}

/// A fingerprint of a whole store: while it is unchanged, so is the listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mark(pub String);

/// What a store says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It answers and does not exist (yet): it holds nothing, and can be created.
    Absent,
    /// It is there.
    Here {
        /// Fingerprint of its content.
        mark: Mark,
        /// Bytes it uses.
        used: u64,
        /// Bytes it can still take, where it is limited.
        free: Option<u64>,
    },
}

/// What to write.
#[derive(Clone, Debug)]
pub struct Put {
    /// The object that the bytes must be; none to name whatever they are.
    pub cid: Option<Cid>,
    /// What to write beside it.
    pub attributes: Attributes,
    /// What may be there already.
    pub over: Over,
}

/// What a write may replace.
#[derive(Clone, Debug)]
pub enum Over {
    /// Nothing: a copy that is already there stays, and is returned.
    Nothing,
    /// Exactly this copy, known to be corrupt. It is moved aside, not removed.
    Corrupt(Box<Entry>),
}

/// A right to drop or to rely on one copy, exclusive among all controllers, until it ends.
#[derive(Debug)]
pub struct Lock {
    /// The object.
    pub cid: Cid,
    /// Where the store keeps the lock.
    pub(crate) at: u64,
}

/// An object store. Every method ends within the store's own deadline, except that the streams
/// that [`Store::get`] gives and [`Store::put`] takes last as long as bytes keep coming.
#[async_trait]
pub trait Store: Send + Sync {
    /// Its name.
    fn id(&self) -> &StoreId;

    /// Whether it is there, with the fingerprint of its content. Cheap.
    async fn presence(&self) -> Result<Presence, Error>;

    /// Creates it; well if it exists already.
    async fn create(&self) -> Result<(), Error>;

    /// Gives everything in it to `each`. Only if `Ok` is returned was that everything.
    async fn list(&self, each: &mut (dyn FnMut(Item) + Send)) -> Result<(), Error>;

    /// The copy of one object as it is now.
    async fn head(&self, cid: &Cid) -> Result<Option<Entry>, Error>;

    /// The bytes of a copy as they are, checked against nothing: give them to a
    /// [`Verifier`](crate::Verifier).
    async fn get(&self, entry: &Entry) -> Result<ByteStream, Error>;

    /// Writes an object. Its name appears only after all bytes are stored and were found to be what
    /// [`Put::cid`] names; before that, and after any error, the store's copies are as they were.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the bytes are another object; [`Error::Conflict`] if the copy to be
    /// replaced is no longer the one that was seen; what `bytes` fails with.
    async fn put(&self, put: &Put, bytes: ByteStream) -> Result<Entry, Error>;

    /// Takes the exclusive right over one copy for `ttl`.
    ///
    /// # Errors
    /// [`Error::Locked`] while somebody else has it.
    async fn lock(&self, cid: &Cid, holder: &str, ttl: Duration) -> Result<Lock, Error>;

    /// Gives a lock back. One that is not given back ends by itself.
    async fn unlock(&self, lock: Lock) -> Result<(), Error>;

    /// Removes a copy.
    ///
    /// # Errors
    /// [`Error::Unsafe`] if the proof is for another copy or has expired; [`Error::Conflict`] if the
    /// copy is no longer the one that the proof is for.
    async fn delete(&self, entry: &Entry, proof: SafeDropProof) -> Result<(), Error>;

    /// Removes what is left of a quarantined or unfinished copy.
    ///
    /// # Errors
    /// As [`Store::delete`]; also for a stray of another kind, which is never ours to remove.
    async fn expunge(&self, stray: &Stray, proof: SafeDropProof) -> Result<(), Error>;
}
