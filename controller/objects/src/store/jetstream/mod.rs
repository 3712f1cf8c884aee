//! A store in a NATS JetStream object store bucket (ADR-20), readable and writable by stock clients.
//!
//! ```text
//! stream OBJ_<bucket>
//!   $O.<bucket>.M.<base64url(name)>   metadata; the name of a copy is its CID
//!   $O.<bucket>.C.<nuid>              chunks
//! ```
//!
//! Names below `.cim/` are ours: `.cim/quarantine/<cid>/<nuid>` and `.cim/lock/<cid>`. Each chunk of
//! ours says in a header which object it belongs to, so that what an interrupted copy leaves can be
//! told from somebody else's upload.
//!
//! Reads go to the stream's leader (never `DIRECT.GET`), so that a replicated bucket is read after
//! it was written. Bucket names must be unique within an account, also across JetStream domains that
//! share it: a chunk is published to a subject, and each bucket of that name would store it.

mod bucket;
mod list;
mod lock;
mod meta;
mod pull;
mod put;
mod remove;

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use async_nats::jetstream::{self, stream::LastRawMessageErrorKind, stream::Stream};
use async_trait::async_trait;
use futures::stream;

use super::{ByteStream, Entry, Item, Lock, Presence, Put, Store, Stray};
use crate::{Cid, Error, SafeDropProof, StoreId};
pub use bucket::{Bucket, BucketName};
use meta::{Meta, Stored};

/// Bytes requested from the server at a time. Bounds what one reader holds in memory.
const READ_BYTES: usize = 4 << 20;
/// Messages requested at a time when they are small.
const READ_MESSAGES: usize = 1000;

/// How often something is asked for that another server of the cluster has just confirmed.
const TRIES: u32 = 8;
/// The pause between the first two tries, which grows by itself.
const WORD: Duration = Duration::from_millis(10);

/// One bucket as a [`Store`].
#[derive(Clone)]
pub struct JetStreamStore {
    id: StoreId,
    context: jetstream::Context,
    bucket: Bucket,
    deadline: Duration,
}

impl JetStreamStore {
    /// The store `id` in `bucket`, which need not exist or be reachable yet.
    ///
    /// `context` decides account, JetStream domain and API prefix; `deadline` is how long one
    /// request may take, and how long a transfer may stand still.
    pub fn new(
        id: StoreId,
        mut context: jetstream::Context,
        bucket: Bucket,
        deadline: Duration,
    ) -> Self {
        // Ours ends first, and says which store did not answer.
        context.set_timeout(deadline.saturating_mul(2));
        Self { id, context, bucket, deadline }
    }

    fn error(&self, action: &'static str, why: &dyn Display) -> Error {
        Error::store(&self.id, action, why)
    }

    /// Runs one request under the deadline.
    async fn within<T, E: Display>(
        &self,
        action: &'static str,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.deadline, request).await {
            Ok(result) => result.map_err(|error| self.error(action, &error)),
            Err(_) => Err(Error::Deadline { store: self.id.clone(), action, after: self.deadline }),
        }
    }

    /// Waits for word to get around a cluster before the try after the `nth`.
    async fn pause(&self, nth: u32) {
        tokio::time::sleep(WORD * nth).await;
    }

    async fn stream(&self) -> Result<Stream<()>, Error> {
        let name = self.bucket.name.stream();
        self.within("open the bucket", self.context.get_stream_no_info(name)).await
    }

    /// The metadata under `name` with its sequence; deleted markers included.
    async fn stored(&self, name: &str) -> Result<Option<Stored>, Error> {
        let subject = self.bucket.name.meta_subject(name);
        let stream = self.stream().await?;
        let ask = async {
            match stream.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        let message = self.within("read metadata", ask).await?;
        Ok(message.map(|message| Stored {
            meta: Meta::decode(&message.payload),
            sequence: message.sequence,
        }))
    }
}

#[async_trait]
impl Store for JetStreamStore {
    fn id(&self) -> &StoreId {
        &self.id
    }

    async fn presence(&self) -> Result<Presence, Error> {
        self.bucket_presence().await
    }

    async fn create(&self) -> Result<(), Error> {
        self.create_bucket().await
    }

    async fn list(&self, each: &mut (dyn FnMut(Item) + Send)) -> Result<(), Error> {
        self.list_all(each).await
    }

    async fn head(&self, cid: &Cid) -> Result<Option<Entry>, Error> {
        let Some(stored) = self.stored(&cid.to_string()).await? else { return Ok(None) };
        if stored.is_deleted() {
            return Ok(None);
        }
        let parts = match stored.nuid() {
            Some(nuid) => self.parts_of(nuid).await?,
            None => None,
        };
        Ok(Some(stored.into_entry(*cid, parts.as_ref())))
    }

    async fn get(&self, entry: &Entry) -> Result<ByteStream, Error> {
        if entry.version.parts == 0 {
            return Ok(Box::pin(stream::empty()));
        }
        let chunks = self.bucket.name.chunk_subject(&entry.version.id);
        let pull = self.pull(chunks, pull::What::Everything, READ_MESSAGES).await?;
        Ok(Box::pin(stream::try_unfold(pull, |mut pull| async move {
            Ok(pull.next().await?.map(|part| (part.payload, pull)))
        })))
    }

    async fn put(&self, put: &Put, bytes: ByteStream) -> Result<Entry, Error> {
        self.put_object(put, bytes).await
    }

    async fn lock(&self, cid: &Cid, holder: &str, ttl: Duration) -> Result<Lock, Error> {
        self.take_lock(cid, holder, ttl).await
    }

    async fn unlock(&self, lock: Lock) -> Result<(), Error> {
        self.release_lock(&lock).await
    }

    async fn delete(&self, entry: &Entry, proof: SafeDropProof) -> Result<(), Error> {
        self.delete_copy(entry, proof).await
    }

    async fn expunge(&self, stray: &Stray, proof: SafeDropProof) -> Result<(), Error> {
        self.expunge_stray(stray, proof).await
    }
}
