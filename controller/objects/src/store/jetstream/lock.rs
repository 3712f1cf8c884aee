//! Locks, kept in the bucket itself, so that each store needs nothing but itself.
//!
//! A lock is a note under `.cim/lock/<cid>` that is written only over nothing, or over a lock that has
//! ended. Whoever drops a copy locks it and the copies it relies on; two controllers that rely on
//! each other's victims therefore exclude each other.

use std::time::Duration;

use jiff::Timestamp;

use super::JetStreamStore;
use super::meta::{Meta, Stored};
use crate::store::Lock;
use crate::{Cid, Error, meta_key};

impl JetStreamStore {
    pub(super) async fn take_lock(
        &self,
        cid: &Cid,
        holder: &str,
        ttl: Duration,
    ) -> Result<Lock, Error> {
        let now = Timestamp::now();
        let name = format!("{}{cid}", meta_key::LOCK);
        let current = self.stored(&name).await?;
        if let Some(current) = current.as_ref().filter(|lock| ends(lock) > now) {
            return Err(self.held(cid, current));
        }
        let until = now.saturating_add(ttl).unwrap_or(Timestamp::MAX);
        let mut meta = self.note(name);
        meta.metadata.insert(meta_key::LOCK_HOLDER.to_owned(), holder.to_owned());
        meta.metadata.insert(meta_key::LOCK_UNTIL.to_owned(), until.to_string());
        let over = current.map_or(0, |stored| stored.sequence);
        if let Some(at) = self.write_meta(&meta, over).await? {
            return Ok(Lock { cid: *cid, at });
        }
        let winner = self.stored(&meta.name).await?;
        Err(winner.map_or_else(
            || Error::Conflict { store: self.id.clone(), cid: *cid },
            |winner| self.held(cid, &winner),
        ))
    }

    /// Removes exactly the message of this lock, which another one may have replaced since.
    pub(super) async fn release_lock(&self, lock: &Lock) -> Result<(), Error> {
        let name = format!("{}{}", meta_key::LOCK, lock.cid);
        match self.stored(&name).await? {
            Some(stored) if stored.sequence == lock.at => self.remove_message(lock.at).await,
            _ => Ok(()),
        }
    }

    fn held(&self, cid: &Cid, lock: &Stored) -> Error {
        let holder = lock.meta.as_ref().ok().and_then(|m| m.metadata.get(meta_key::LOCK_HOLDER));
        let holder = holder.map_or("somebody", String::as_str);
        Error::Locked {
            store: self.id.clone(),
            cid: *cid,
            by: format!("{holder} until {}", ends(lock)),
        }
    }
}

/// When a lock ends. One that cannot be read has ended: it protects nothing that it could name.
fn ends(lock: &Stored) -> Timestamp {
    let until = |meta: &Meta| meta.metadata.get(meta_key::LOCK_UNTIL)?.parse().ok();
    lock.meta.as_ref().ok().and_then(until).unwrap_or(Timestamp::MIN)
}
