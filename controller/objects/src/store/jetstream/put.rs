//! Writing an object: chunks first, many in flight, its name last and only over what was seen.
//!
//! The client library's own put waits a round trip for each chunk, takes whatever one read gives as
//! a chunk, and leaves its chunks behind when it fails.

use std::collections::VecDeque;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use super::meta::{Meta, Options};
use super::{JetStreamStore, TRIES};
use crate::store::{ByteStream, Entry, Over, Put, Version};
use crate::{Attributes, Cid, Error, Hashed, Hasher, Profile, Verifier, meta_key};

/// Room for the headers that count against the server's `max_payload`.
const HEADER_ROOM: usize = 1 << 10;

impl JetStreamStore {
    pub(super) async fn put_object(&self, put: &Put, bytes: ByteStream) -> Result<Entry, Error> {
        // Without this look a copy that is already there would be sent once more for nothing.
        if let (Some(cid), Over::Nothing) = (&put.cid, &put.over)
            && let Some(there) = crate::Store::head(self, cid).await?
        {
            return Ok(there);
        }
        let mut upload = Upload::new(self, put)?;
        let result = async {
            let hashed = upload.send(put, bytes).await?;
            upload.publish_name(put, hashed).await
        }
        .await;
        match result {
            Ok(Named::Ours(entry)) => Ok(entry),
            Ok(Named::Theirs(entry)) => {
                self.purge_chunks(&upload.nuid).await?;
                Ok(entry)
            }
            Err(error) => {
                // A chunk that is still on its way would be stored after the others are removed.
                upload.settle().await;
                // What stays behind if this fails too is listed as unfinished, and swept later.
                let _ = self.purge_chunks(&upload.nuid).await;
                Err(error)
            }
        }
    }

    pub(super) async fn purge_chunks(&self, nuid: &str) -> Result<(), Error> {
        let subject = self.bucket.name.chunk_subject(nuid);
        let stream = self.stream().await?;
        let purge = async { stream.purge().filter(subject).await };
        self.within("remove chunks", purge).await.map(drop)
    }

    /// Writes metadata over exactly the message `over` (0: over none); returns its sequence.
    pub(super) async fn write_meta(&self, meta: &Meta, over: u64) -> Result<Option<u64>, Error> {
        const ACTION: &str = "write metadata";
        let json = serde_json::to_vec(meta).map_err(|error| self.error(ACTION, &error))?;
        let message = PublishMessage::build()
            .payload(json.into())
            .header(async_nats::header::NATS_ROLLUP, "sub")
            .expected_stream(self.bucket.name.stream())
            .expected_last_subject_sequence(over);
        let subject = self.bucket.name.meta_subject(&meta.name);
        let publish = async {
            let ack = self.context.send_publish(subject, message).await?;
            match ack.await {
                Ok(ack) => Ok(Some(ack.sequence)),
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.within(ACTION, publish).await
    }

    /// A NATS object without content: a note under a name of ours.
    pub(super) fn note(&self, name: String) -> Meta {
        let mut meta = Meta {
            name,
            bucket: self.bucket.name.to_string(),
            nuid: new_nuid(),
            ..Meta::default()
        };
        meta.set_sha256(Hasher::new(Profile::V1_2025).finish().sha256);
        meta
    }
}

/// ADR-20 asks for a unique token; a time-ordered UUID is one.
fn new_nuid() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// Whose copy now bears the name.
enum Named {
    Ours(Entry),
    /// Somebody else finished the same object first.
    Theirs(Entry),
}

/// Either side of the same pass: a given name is checked, a new one is computed.
enum Naming {
    Check(Verifier),
    Compute(Hasher),
}

impl Naming {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Check(verifier) => verifier.update(bytes),
            Self::Compute(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Result<Hashed, Error> {
        match self {
            Self::Check(verifier) => Ok(verifier.finish()?),
            Self::Compute(hasher) => Ok(hasher.finish()),
        }
    }
}

struct Upload<'a> {
    store: &'a JetStreamStore,
    nuid: String,
    subject: String,
    headers: HeaderMap,
    chunk: usize,
    in_flight: VecDeque<PublishAckFuture>,
    chunks: u64,
    last: u64,
}

impl<'a> Upload<'a> {
    const ACTION: &'static str = "write chunks";

    fn new(store: &'a JetStreamStore, put: &Put) -> Result<Self, Error> {
        let nuid = new_nuid();
        let mut headers = HeaderMap::new();
        if let Some(cid) = &put.cid {
            headers.insert(meta_key::CHUNK_OF, cid.to_string().as_str());
        }
        let limit = store.context.client().server_info().max_payload.saturating_sub(HEADER_ROOM);
        let chunk = store.bucket.chunk.min(limit);
        if chunk == 0 {
            return Err(store.error(Self::ACTION, &"chunk size or the server's max_payload is 0"));
        }
        Ok(Self {
            store,
            subject: store.bucket.name.chunk_subject(&nuid),
            nuid,
            headers,
            chunk,
            in_flight: VecDeque::new(),
            chunks: 0,
            last: 0,
        })
    }

    /// Sends all bytes and waits until the server has stored them.
    async fn send(&mut self, put: &Put, mut bytes: ByteStream) -> Result<Hashed, Error> {
        let mut naming = match &put.cid {
            Some(cid) => Naming::Check(Verifier::new(cid)?),
            None => Naming::Compute(Hasher::new(Profile::V1_2025)),
        };
        let mut buffer = BytesMut::new();
        while let Some(piece) = bytes.next().await {
            let mut piece = piece?;
            naming.update(&piece);
            while buffer.len() + piece.len() >= self.chunk {
                buffer.extend_from_slice(&piece.split_to(self.chunk - buffer.len()));
                self.send_chunk(buffer.split().freeze()).await?;
            }
            buffer.extend_from_slice(&piece);
        }
        if !buffer.is_empty() {
            self.send_chunk(buffer.freeze()).await?;
        }
        while !self.in_flight.is_empty() {
            self.await_oldest().await?;
        }
        naming.finish()
    }

    async fn send_chunk(&mut self, chunk: Bytes) -> Result<(), Error> {
        if self.chunks == 0 {
            return self.send_first(chunk).await;
        }
        if self.in_flight.len() >= self.store.bucket.window.max(1) {
            self.await_oldest().await?;
        }
        let ack = self.publish(chunk).await?;
        self.in_flight.push_back(ack);
        self.chunks += 1;
        Ok(())
    }

    /// The first chunk goes alone: a bucket that was created a moment ago may not be known yet to
    /// the server that we talk to, and later chunks must not overtake it.
    async fn send_first(&mut self, chunk: Bytes) -> Result<(), Error> {
        for nth in 1.. {
            let ack = self.publish(chunk.clone()).await?;
            let stored = async {
                match ack.await {
                    Ok(ack) => Ok(Some(ack.sequence)),
                    Err(error)
                        if error.kind() == PublishErrorKind::StreamNotFound && nth < TRIES =>
                    {
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            };
            if let Some(sequence) = self.store.within(Self::ACTION, stored).await? {
                self.last = sequence;
                self.chunks = 1;
                break;
            }
            self.store.pause(nth).await;
        }
        Ok(())
    }

    async fn publish(&self, chunk: Bytes) -> Result<PublishAckFuture, Error> {
        let message = PublishMessage::build()
            .payload(chunk)
            .headers(self.headers.clone())
            .expected_stream(self.store.bucket.name.stream());
        let publish = self.store.context.send_publish(self.subject.clone(), message);
        self.store.within(Self::ACTION, publish).await
    }

    async fn await_oldest(&mut self) -> Result<(), Error> {
        if let Some(ack) = self.in_flight.pop_front() {
            let ack = self.store.within(Self::ACTION, ack.into_future()).await?;
            self.last = self.last.max(ack.sequence);
        }
        Ok(())
    }

    /// Waits until nothing is in flight any more, whatever became of it.
    async fn settle(&mut self) {
        let all = futures::future::join_all(self.in_flight.drain(..).map(IntoFuture::into_future));
        let _ = tokio::time::timeout(self.store.deadline, all).await;
    }

    /// Makes the chunks an object, in one step, over exactly what is to be replaced.
    async fn publish_name(&self, put: &Put, hashed: Hashed) -> Result<Named, Error> {
        let cid = hashed.cid;
        let name = cid.to_string();
        let over = match &put.over {
            Over::Corrupt(old) => {
                self.store.quarantine(old).await?;
                old.version.head
            }
            Over::Nothing => match self.store.stored(&name).await? {
                Some(stored) if stored.is_deleted() => stored.sequence,
                Some(_) => return self.theirs(cid).await,
                None => 0,
            },
        };
        let meta = self.meta(name, put.attributes.clone(), &hashed);
        let Some(head) = self.store.write_meta(&meta, over).await? else {
            return match &put.over {
                Over::Nothing => self.theirs(cid).await,
                Over::Corrupt(old) => {
                    self.store.unquarantine(old).await?;
                    Err(Error::Conflict { store: self.store.id.clone(), cid })
                }
            };
        };
        Ok(Named::Ours(Entry {
            cid,
            size: hashed.size,
            version: Version { id: self.nuid.clone(), head, tail: self.last, parts: self.chunks },
            attributes: put.attributes.clone(),
            sha256: Some(hashed.sha256),
            flaw: None,
        }))
    }

    async fn theirs(&self, cid: Cid) -> Result<Named, Error> {
        match crate::Store::head(self.store, &cid).await? {
            Some(entry) => Ok(Named::Theirs(entry)),
            None => Err(Error::Conflict { store: self.store.id.clone(), cid }),
        }
    }

    fn meta(&self, name: String, attributes: Attributes, hashed: &Hashed) -> Meta {
        let mut metadata = attributes.0;
        let flat = Cid::raw(hashed.sha256);
        if flat != hashed.cid {
            metadata.insert(meta_key::RAW_CID.to_owned(), flat.to_string());
        }
        let mut meta = Meta {
            name,
            bucket: self.store.bucket.name.to_string(),
            nuid: self.nuid.clone(),
            size: hashed.size,
            chunks: self.chunks,
            metadata,
            options: Some(Options {
                max_chunk_size: Some(self.chunk as u64),
                ..Options::default()
            }),
            ..Meta::default()
        };
        meta.set_sha256(hashed.sha256);
        meta
    }
}
