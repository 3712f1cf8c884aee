//! Content that is too large for a message: put into an object store, and its CID sent instead.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cim_objects::{Attributes, Cid, Limits, Store, Verifier, put_bytes};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::{Envelope, Error, Payload, Subject};

/// Where the content of a message is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The object.
    pub cid: Cid,
    /// The bucket that it was put into. Its copies are wherever its ObjectReplica wants them.
    pub bucket: String,
    /// Its bytes.
    pub size: u64,
}

/// An object store for content.
#[derive(Clone)]
pub struct ClaimStore {
    store: Arc<dyn Store>,
    bucket: String,
    threshold: usize,
    max: u64,
    limits: Limits,
}

impl ClaimStore {
    /// Content of more than this many bytes is put into the store by default.
    pub const THRESHOLD: usize = 256 << 10;
    /// Content of more than this many bytes is not fetched by default: it is held in memory.
    pub const MAX: u64 = 64 << 20;

    /// Puts content of more than `threshold` bytes into `store`, which messages call `bucket`.
    pub fn new(store: Arc<dyn Store>, bucket: String, threshold: usize, max: u64) -> Self {
        Self { store, bucket, threshold, max, limits: Limits::default() }
    }

    /// The claim for a message, if its content is above the threshold. The content is stored, and
    /// read back, before anything refers to it.
    pub(crate) async fn offload<P: Payload>(
        &self,
        envelope: &Envelope<P>,
        subject: &Subject,
    ) -> Result<Option<Claim>, Error> {
        let json = serde_json::to_vec(&envelope.content).map_err(|error| Error::Malformed {
            subject: subject.to_string(),
            why: format!("it has no JSON form: {error}"),
        })?;
        if json.len() <= self.threshold {
            return Ok(None);
        }
        let attributes = Attributes::new()
            .with("content-type", "application/json")
            .with("owner", envelope.about.owner.as_str());
        let stored = put_bytes(self.store.as_ref(), &attributes, json.into(), &self.limits).await;
        let entry = stored.map_err(|source| objects(subject, source))?;
        Ok(Some(Claim { cid: entry.cid, bucket: self.bucket.clone(), size: entry.size }))
    }

    /// The content that a message of `subject` refers to, held against its CID.
    pub(crate) async fn fetch(&self, claim: &Claim, subject: &Subject) -> Result<Bytes, Error> {
        if claim.bucket != self.bucket {
            return Err(Error::NoStore {
                subject: subject.to_string(),
                cid: claim.cid,
                bucket: claim.bucket.clone(),
            });
        }
        if claim.size > self.max {
            return Err(Error::Malformed {
                subject: subject.to_string(),
                why: format!("its content has {} bytes, and {} are read", claim.size, self.max),
            });
        }
        let read = tokio::time::timeout(self.limits.job, self.read(claim)).await;
        let after = self.limits.job;
        let (action, place) = ("fetch content", subject.to_string());
        read.map_err(|_| Error::Deadline { action, subject: place, after })?
            .map_err(|source| objects(subject, source))
    }

    async fn read(&self, claim: &Claim) -> Result<Bytes, cim_objects::Error> {
        let absent =
            || cim_objects::Error::Absent { store: self.store.id().clone(), cid: claim.cid };
        let mut verifier = Verifier::new(&claim.cid)?;
        let entry = self.store.head(&claim.cid).await?.ok_or_else(absent)?;
        let mut pieces = self.store.get(&entry).await?;
        let mut bytes = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            verifier.update(&piece);
            bytes.extend_from_slice(&piece);
            // Longer than what was claimed is not what was claimed; it need not be held to the end.
            if bytes.len() as u64 > claim.size {
                break;
            }
        }
        verifier.finish()?;
        Ok(bytes.freeze())
    }
}

fn objects(subject: &Subject, source: cim_objects::Error) -> Error {
    Error::Objects { subject: subject.to_string(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use cim_objects::store::memory::MemoryStore;

    use super::*;
    use crate::{About, Kind, Route, Stamp, encode};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
    }

    impl Payload for Note {
        const KIND: Kind = Kind::Event;
        const TYPE: &'static str = "NoteTaken";
        const SCHEMA: u32 = 1;
    }

    fn note(letters: usize) -> Envelope<Note> {
        let token = |text: &str| text.parse().expect("a token");
        let route = Route { domain: token("home"), aggregate: token("note"), id: token("1") };
        let about = About { route, owner: token("home"), source: token("notes") };
        Envelope::root(Stamp::now(), about, Note { text: "x".repeat(letters) })
    }

    fn store(threshold: usize, max: u64) -> (Arc<MemoryStore>, ClaimStore) {
        let memory = Arc::new(MemoryStore::new("s".parse().expect("a name")));
        (memory.clone(), ClaimStore::new(memory, "CAS_HOME".to_owned(), threshold, max))
    }

    #[tokio::test]
    async fn content_goes_to_the_store_above_the_threshold_and_not_at_it() {
        let (_, claims) = store(20, 1000);
        // `{"text":""}` has 11 bytes.
        for (letters, stored) in [(0, false), (9, false), (10, true), (500, true)] {
            let envelope = note(letters);
            let subject = envelope.subject().expect("a subject");
            let claim = claims.offload(&envelope, &subject).await.expect("offloaded");
            assert_eq!(claim.is_some(), stored, "{letters} letters");
            let Some(claim) = claim else { continue };
            let wire = encode(&envelope, Some(claim.clone())).expect("encoded");
            assert!(wire.body.len() < 800, "the content is not in the body");
            let cid = wire.headers.get(crate::header::CONTENT_CID).map(ToString::to_string);
            assert_eq!(cid, Some(claim.cid.to_string()));
            let received = crate::decode(&subject.to_string(), Some(&wire.headers), &wire.body)
                .expect("decoded");
            let bytes = claims.fetch(&claim, &subject).await.expect("fetched");
            assert_eq!(received.into_envelope(Some(&bytes)).expect("opened"), envelope);
        }
    }

    #[tokio::test]
    async fn content_that_is_gone_damaged_elsewhere_or_too_large_is_refused_as_such() {
        let (memory, claims) = store(0, 1000);
        let envelope = note(100);
        let subject = envelope.subject().expect("a subject");
        let claim = claims.offload(&envelope, &subject).await.expect("stored").expect("a claim");
        let error = async |claim: Claim| {
            claims.fetch(&claim, &subject).await.expect_err("refused").to_string()
        };
        let elsewhere = Claim { bucket: "OTHER".to_owned(), ..claim.clone() };
        assert!(error(elsewhere).await.contains("bucket OTHER"));
        let large = Claim { size: 1001, ..claim.clone() };
        assert!(error(large).await.contains("1001 bytes, and 1000 are read"));
        memory.rot(&claim.cid);
        assert!(error(claim.clone()).await.contains("was expected"));
        memory.lose(&claim.cid);
        assert!(error(claim.clone()).await.contains("is not there"));
    }
}
