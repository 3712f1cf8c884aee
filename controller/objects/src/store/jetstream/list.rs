//! Everything in a bucket, without reading the bytes.
//!
//! Three reads, joined by NUID: how many chunks each NUID has, the last chunk of each (headers only),
//! and all metadata. Chunks come first: a copy written in between then shows as one whose chunks are
//! missing, which a closer look clears up, and never as chunks without a name.

use std::collections::{HashMap, HashSet};

use futures::TryStreamExt;
use jiff::Timestamp;

use super::meta::{Meta, Stored};
use super::pull::What;
use super::{JetStreamStore, READ_MESSAGES};
use crate::store::{Item, Stray, StrayKind};
use crate::{Cid, Error, meta_key};

/// The chunks under one NUID.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks {
    pub(super) count: u64,
    /// Sequence of the last one.
    pub(super) last: u64,
    /// When that was stored.
    pub(super) since: Timestamp,
    /// The object that our own chunks name.
    pub(super) of: Option<Cid>,
}

impl JetStreamStore {
    /// The chunks under one NUID as they are now.
    pub(super) async fn parts_of(&self, nuid: &str) -> Result<Option<Chunks>, Error> {
        let subject = self.bucket.name.chunk_subject(nuid);
        let mut pull = self.pull(subject, What::Headers, READ_MESSAGES).await?;
        let mut found = None;
        while let Some(part) = pull.next().await? {
            let chunks: &mut Chunks = found.get_or_insert_default();
            chunks.count += 1;
            chunks.last = part.sequence;
        }
        Ok(found)
    }

    pub(super) async fn list_all(&self, each: &mut (dyn FnMut(Item) + Send)) -> Result<(), Error> {
        let mut chunks = self.all_chunks().await?;
        let mut named = HashSet::new();
        let metas = self.bucket.name.all_metas();
        let mut pull = self.pull(metas, What::Last, READ_MESSAGES).await?;
        while let Some(part) = pull.next().await? {
            let Some(name) = self.bucket.name.name_in(&part.subject) else { continue };
            let stored = Stored { meta: Meta::decode(&part.payload), sequence: part.sequence };
            if stored.is_deleted() || name.starts_with(meta_key::LOCK) {
                continue;
            }
            let of = stored.nuid().and_then(|nuid| chunks.get(nuid));
            named.extend(stored.nuid().map(ToOwned::to_owned));
            each(item(&name, stored, of, part.published));
        }
        chunks.retain(|nuid, _| !named.contains(nuid));
        for (nuid, chunks) in chunks {
            each(Item::Stray(unnamed(nuid, &chunks)));
        }
        Ok(())
    }

    async fn all_chunks(&self) -> Result<HashMap<String, Chunks>, Error> {
        let all = self.bucket.name.chunk_subject(">");
        let stream = self.stream().await?;
        let mut found: HashMap<String, Chunks> = HashMap::new();
        let mut counts =
            self.within("count the chunks", stream.info_with_subjects(all.as_str())).await?;
        while let Some((subject, count)) =
            self.within("count the chunks", counts.try_next()).await?
        {
            if let Some(nuid) = self.bucket.name.nuid_in(&subject) {
                found.entry(nuid.to_owned()).or_default().count = count as u64;
            }
        }
        let mut pull = self.pull(all, What::LastHeaders, READ_MESSAGES).await?;
        while let Some(part) = pull.next().await? {
            let Some(nuid) = self.bucket.name.nuid_in(&part.subject) else { continue };
            let chunks = found.entry(nuid.to_owned()).or_default();
            chunks.last = part.sequence;
            chunks.since = part.published;
            let header = part.headers.get(meta_key::CHUNK_OF);
            chunks.of = header.and_then(|cid| cid.as_str().parse().ok());
        }
        Ok(found)
    }
}

fn item(name: &str, stored: Stored, chunks: Option<&Chunks>, published: Timestamp) -> Item {
    let kind = if let Some(of) = name.strip_prefix(meta_key::QUARANTINE) {
        of.split('/')
            .next()
            .and_then(|cid| cid.parse().ok())
            .map(|cid| StrayKind::Quarantined { cid })
    } else {
        // Only the canonical spelling is a copy: under another one nobody would look for it.
        match name.parse::<Cid>() {
            Ok(cid) if cid.to_string() == name => {
                return Item::Copy(stored.into_entry(cid, chunks));
            }
            _ => None,
        }
    };
    Item::Stray(Stray {
        kind: kind.unwrap_or_else(|| StrayKind::Foreign { name: name.to_owned() }),
        id: stored.nuid().unwrap_or_default().to_owned(),
        parts: chunks.map_or(0, |chunks| chunks.count),
        since: published,
    })
}

fn unnamed(id: String, chunks: &Chunks) -> Stray {
    let kind = chunks.of.map_or(StrayKind::Orphan, |cid| StrayKind::Unfinished { cid });
    Stray { kind, id, parts: chunks.count, since: chunks.since }
}
