//! A store in memory that fails on demand, for tests of this crate and of its callers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    ByteStream, Entry, Item, Lock, Mark, Over, Presence, Put, Store, Stray, StrayKind, Version,
};
use crate::{Attributes, Cid, Error, Hasher, Profile, SafeDropProof, StoreId, Verifier};

/// A store in memory.
pub struct MemoryStore {
    id: StoreId,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    exists: bool,
    reachable: bool,
    unreadable: bool,
    max_bytes: Option<u64>,
    sequence: u64,
    /// Writes that still succeed before the store becomes unreachable.
    writes_left: Option<u64>,
    copies: BTreeMap<Cid, (Entry, Bytes)>,
    strays: Vec<Stray>,
    locks: BTreeMap<Cid, (u64, String, Instant)>,
    /// How often a whole copy was read.
    reads: u64,
    listings: u64,
}

impl MemoryStore {
    /// An empty store that exists.
    pub fn new(id: StoreId) -> Self {
        let inner = Inner { exists: true, reachable: true, ..Inner::default() };
        Self { id, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if the store answers.
    fn open(&self, action: &'static str) -> Result<MutexGuard<'_, Inner>, Error> {
        let inner = self.inner();
        if inner.reachable {
            Ok(inner)
        } else {
            Err(Error::store(&self.id, action, &"connection refused"))
        }
    }

    /// The state, if the store answers and takes another write.
    fn write(&self, action: &'static str) -> Result<MutexGuard<'_, Inner>, Error> {
        let mut inner = self.open(action)?;
        match &mut inner.writes_left {
            Some(0) => {
                inner.reachable = false;
                return Err(Error::store(&self.id, action, &"connection reset"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        inner.sequence += 1;
        Ok(inner)
    }

    /// Makes it answer, or not.
    pub fn set_reachable(&self, reachable: bool) {
        self.inner().reachable = reachable;
    }

    /// Makes it list its copies and not give their bytes, or give them again.
    pub fn set_readable(&self, readable: bool) {
        self.inner().unreadable = !readable;
    }

    /// Makes it fail after so many more writes.
    pub fn fail_after(&self, writes: u64) {
        self.inner().writes_left = Some(writes);
    }

    /// Makes it answer all writes again.
    pub fn heal(&self) {
        let mut inner = self.inner();
        (inner.reachable, inner.writes_left) = (true, None);
    }

    /// Limits it.
    pub fn set_max_bytes(&self, max: u64) {
        self.inner().max_bytes = Some(max);
    }

    /// Removes it with all that it holds, as an administrator would.
    pub fn destroy(&self) {
        let mut inner = self.inner();
        *inner = Inner { reachable: true, sequence: inner.sequence + 1, ..Inner::default() };
    }

    /// Damages a copy through the interface, so that its version changes.
    pub fn overwrite(&self, cid: &Cid, bytes: impl Into<Bytes>) {
        let mut inner = self.inner();
        inner.sequence += 1;
        let sequence = inner.sequence;
        if let Some((entry, stored)) = inner.copies.get_mut(cid) {
            entry.version.tail = sequence;
            *stored = bytes.into();
        }
    }

    /// Damages a copy below the interface: nothing but reading it shows that.
    pub fn rot(&self, cid: &Cid) {
        if let Some((_, stored)) = self.inner().copies.get_mut(cid) {
            let mut bytes = stored.to_vec();
            match bytes.first_mut() {
                Some(byte) => *byte ^= 1,
                None => bytes.push(0),
            }
            *stored = bytes.into();
        }
    }

    /// Loses a copy.
    pub fn lose(&self, cid: &Cid) {
        let mut inner = self.inner();
        inner.sequence += 1;
        inner.copies.remove(cid);
    }

    /// Adds a copy as another client would, whatever its bytes are.
    pub fn add_copy(&self, cid: Cid, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        let mut inner = self.inner();
        inner.sequence += 1;
        let at = inner.sequence;
        let entry = Entry {
            cid,
            size: bytes.len() as u64,
            version: Version { id: format!("v{at}"), head: at, tail: at, parts: 1 },
            attributes: Attributes::new(),
            sha256: None,
            flaw: None,
        };
        inner.copies.insert(cid, (entry, bytes));
    }

    /// Adds something that is not a copy.
    pub fn add_stray(&self, stray: Stray) {
        let mut inner = self.inner();
        inner.sequence += 1;
        inner.strays.push(stray);
    }

    /// Whether its copy, if it has one, is really the object; asked of no interface.
    pub fn is_good(&self, cid: &Cid) -> bool {
        let Some(bytes) = self.inner().copies.get(cid).map(|(_, bytes)| bytes.clone()) else {
            return false;
        };
        Verifier::new(cid).is_ok_and(|mut verifier| {
            verifier.update(&bytes);
            verifier.finish().is_ok()
        })
    }

    /// Whether it has a copy, good or bad.
    pub fn has(&self, cid: &Cid) -> bool {
        self.inner().copies.contains_key(cid)
    }

    /// How many corrupt copies are kept aside.
    pub fn quarantined(&self) -> usize {
        let aside = |stray: &&Stray| matches!(stray.kind, StrayKind::Quarantined { .. });
        self.inner().strays.iter().filter(aside).count()
    }

    /// How many whole copies were read, and how many listings were made.
    pub fn effort(&self) -> (u64, u64) {
        let inner = self.inner();
        (inner.reads, inner.listings)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn id(&self) -> &StoreId {
        &self.id
    }

    async fn presence(&self) -> Result<Presence, Error> {
        let inner = self.open("look at the store")?;
        if !inner.exists {
            return Ok(Presence::Absent);
        }
        let used = inner.copies.values().map(|(_, bytes)| bytes.len() as u64).sum();
        let mark = Mark(inner.sequence.to_string());
        let free = inner.max_bytes.map(|max| max.saturating_sub(used));
        Ok(Presence::Here { mark, used, free })
    }

    async fn create(&self) -> Result<(), Error> {
        self.write("create the store")?.exists = true;
        Ok(())
    }

    async fn list(&self, each: &mut (dyn FnMut(Item) + Send)) -> Result<(), Error> {
        let mut inner = self.open("list")?;
        inner.listings += 1;
        inner.copies.values().for_each(|(entry, _)| each(Item::Copy(entry.clone())));
        inner.strays.iter().for_each(|stray| each(Item::Stray(stray.clone())));
        Ok(())
    }

    async fn head(&self, cid: &Cid) -> Result<Option<Entry>, Error> {
        Ok(self.open("read metadata")?.copies.get(cid).map(|(entry, _)| entry.clone()))
    }

    async fn get(&self, entry: &Entry) -> Result<ByteStream, Error> {
        let mut inner = self.open("read")?;
        if inner.unreadable {
            return Err(Error::store(&self.id, "read", &"input/output error"));
        }
        inner.reads += 1;
        let bytes = inner.copies.get(&entry.cid).map(|(_, bytes)| bytes.clone());
        let bytes =
            bytes.ok_or_else(|| Error::Absent { store: self.id.clone(), cid: entry.cid })?;
        let pieces: Vec<_> =
            bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Ok(Box::pin(stream::iter(pieces)))
    }

    async fn put(&self, put: &Put, mut bytes: ByteStream) -> Result<Entry, Error> {
        let mut stored = Vec::new();
        while let Some(piece) = bytes.next().await {
            stored.extend_from_slice(&piece?);
        }
        let hashed = if let Some(cid) = &put.cid {
            let mut verifier = Verifier::new(cid)?;
            verifier.update(&stored);
            verifier.finish()?
        } else {
            let mut hasher = Hasher::new(Profile::V1_2025);
            hasher.update(&stored);
            hasher.finish()
        };
        let mut inner = self.write("write")?;
        let there = inner.copies.get(&hashed.cid).map(|(entry, _)| entry.clone());
        match (&put.over, there) {
            (Over::Nothing, Some(there)) => return Ok(there),
            (Over::Corrupt(old), there) => {
                if there.as_ref().map(|entry| &entry.version) != Some(&old.version) {
                    return Err(Error::Conflict { store: self.id.clone(), cid: hashed.cid });
                }
                inner.strays.push(Stray {
                    kind: StrayKind::Quarantined { cid: old.cid },
                    id: old.version.id.clone(),
                    parts: 1,
                    since: Timestamp::UNIX_EPOCH,
                });
            }
            (Over::Nothing, None) => {}
        }
        let sequence = inner.sequence;
        let entry = Entry {
            cid: hashed.cid,
            size: hashed.size,
            version: Version {
                id: format!("v{sequence}"),
                head: sequence,
                tail: sequence,
                parts: 1,
            },
            attributes: put.attributes.clone(),
            sha256: Some(hashed.sha256),
            flaw: None,
        };
        inner.copies.insert(hashed.cid, (entry.clone(), stored.into()));
        Ok(entry)
    }

    async fn lock(&self, cid: &Cid, holder: &str, ttl: Duration) -> Result<Lock, Error> {
        let mut inner = self.write("lock")?;
        if let Some((_, holder, until)) = inner.locks.get(cid)
            && *until > Instant::now()
        {
            return Err(Error::Locked { store: self.id.clone(), cid: *cid, by: holder.clone() });
        }
        let at = inner.sequence;
        inner.locks.insert(*cid, (at, holder.to_owned(), Instant::now() + ttl));
        Ok(Lock { cid: *cid, at })
    }

    async fn unlock(&self, lock: Lock) -> Result<(), Error> {
        let mut inner = self.write("unlock")?;
        if inner.locks.get(&lock.cid).is_some_and(|(at, ..)| *at == lock.at) {
            inner.locks.remove(&lock.cid);
        }
        Ok(())
    }

    async fn delete(&self, entry: &Entry, proof: SafeDropProof) -> Result<(), Error> {
        let mut inner = self.write("delete")?;
        proof.spend(&self.id, &entry.cid, Some(&entry.version))?;
        match inner.copies.get(&entry.cid) {
            Some((now, _)) if now.version == entry.version => {
                inner.copies.remove(&entry.cid);
                Ok(())
            }
            _ => Err(Error::Conflict { store: self.id.clone(), cid: entry.cid }),
        }
    }

    async fn expunge(&self, stray: &Stray, proof: SafeDropProof) -> Result<(), Error> {
        let mut inner = self.write("expunge")?;
        let (StrayKind::Quarantined { cid } | StrayKind::Unfinished { cid }) = &stray.kind else {
            return Err(Error::store(&self.id, "expunge", &"it is not ours to remove"));
        };
        proof.spend(&self.id, cid, None)?;
        inner.strays.retain(|other| other.id != stray.id);
        Ok(())
    }
}
