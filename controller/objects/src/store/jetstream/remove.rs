//! Moving copies aside and removing them: everything in this store that can lose bytes.

use jiff::Timestamp;

use super::JetStreamStore;
use super::meta::Meta;
use crate::store::{Entry, Stray, StrayKind};
use crate::{Error, SafeDropProof, meta_key};

/// Where the corrupt bytes `nuid` of an object are kept.
fn quarantine_name(cid: &crate::Cid, nuid: &str) -> String {
    format!("{}{cid}/{nuid}", meta_key::QUARANTINE)
}

impl JetStreamStore {
    /// Gives a corrupt copy a second name before the first one is taken from it, so that a crash in
    /// between leaves bytes with two names rather than none.
    pub(super) async fn quarantine(&self, old: &Entry) -> Result<(), Error> {
        if old.version.parts == 0 {
            return Ok(());
        }
        let name = quarantine_name(&old.cid, &old.version.id);
        let over = self.stored(&name).await?.map_or(0, |stored| stored.sequence);
        let current = self.stored(&old.cid.to_string()).await?;
        let readable =
            current.and_then(|stored| stored.meta.ok()).filter(|m| m.nuid == old.version.id);
        let mut meta = readable
            .unwrap_or_else(|| Meta { nuid: old.version.id.clone(), ..self.note(String::new()) });
        meta.name = name;
        meta.metadata.insert(meta_key::QUARANTINED.to_owned(), Timestamp::now().to_string());
        match self.write_meta(&meta, over).await? {
            Some(_) => Ok(()),
            None => Err(Error::Conflict { store: self.id.clone(), cid: old.cid }),
        }
    }

    /// Takes the second name back when the first one could not be taken.
    pub(super) async fn unquarantine(&self, old: &Entry) -> Result<(), Error> {
        self.remove_name(&quarantine_name(&old.cid, &old.version.id)).await
    }

    pub(super) async fn delete_copy(
        &self,
        entry: &Entry,
        proof: SafeDropProof,
    ) -> Result<(), Error> {
        let mut marker = self.note(entry.cid.to_string());
        marker.nuid.clone_from(&entry.version.id);
        marker.deleted = true;
        marker.digest = None;
        proof.spend(&self.id, &entry.cid, Some(&entry.version))?;
        // The sequence makes this a deletion of exactly the copy that the proof is for.
        match self.write_meta(&marker, entry.version.head).await? {
            Some(_) if entry.version.parts == 0 => Ok(()),
            Some(_) => self.purge_chunks(&entry.version.id).await,
            None => Err(Error::Conflict { store: self.id.clone(), cid: entry.cid }),
        }
    }

    pub(super) async fn expunge_stray(
        &self,
        stray: &Stray,
        proof: SafeDropProof,
    ) -> Result<(), Error> {
        let (StrayKind::Quarantined { cid } | StrayKind::Unfinished { cid }) = &stray.kind else {
            return Err(self.error("remove a stray", &"it is not ours to remove"));
        };
        // A repair that was interrupted between its two names left the bytes in use.
        let current = self.stored(&cid.to_string()).await?;
        let in_use =
            current.is_some_and(|now| !now.is_deleted() && now.nuid() == Some(stray.id.as_str()));
        proof.spend(&self.id, cid, None)?;
        if !in_use {
            self.purge_chunks(&stray.id).await?;
        }
        self.remove_name(&quarantine_name(cid, &stray.id)).await
    }

    /// Removes the metadata message under a name of ours, leaving no marker.
    async fn remove_name(&self, name: &str) -> Result<(), Error> {
        match self.stored(name).await? {
            Some(stored) => self.remove_message(stored.sequence).await,
            None => Ok(()),
        }
    }

    pub(super) async fn remove_message(&self, sequence: u64) -> Result<(), Error> {
        let stream = self.stream().await?;
        self.within("remove metadata", stream.delete_message(sequence)).await.map(drop)
    }
}
