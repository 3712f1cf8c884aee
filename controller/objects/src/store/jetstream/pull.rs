//! Reading many messages of a stream with a bounded number of bytes on their way.
//!
//! The client library's own batches either wait out their expiry or end in an error once a batch
//! is full by bytes; and its ordered consumer may overrun the connection's pending limit with large
//! chunks. This asks for one bounded batch after the other and checks that nothing was skipped: a gap
//! on the way is a failed read, never a corrupt object.

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull};
use async_nats::jetstream::consumer::{Consumer, pull::BatchConfig};
use async_nats::{HeaderMap, StatusCode, Subscriber, jetstream};
use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use std::time::Duration;

use super::{JetStreamStore, READ_BYTES, TRIES};
use crate::Error;

/// How long the server keeps a reader that has gone silent.
const FORGET_AFTER: Duration = Duration::from_secs(30);

/// Which messages to read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// All, with their payload.
    Everything,
    /// All, headers only.
    Headers,
    /// The last of each subject, with its payload.
    Last,
    /// The last of each subject, headers only.
    LastHeaders,
}

/// One message.
pub(super) struct Part {
    pub(super) subject: String,
    pub(super) sequence: u64,
    pub(super) published: Timestamp,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

/// A read in progress.
pub(super) struct Pull {
    store: JetStreamStore,
    consumer: Consumer<pull::Config>,
    inbox: Subscriber,
    inbox_prefix: String,
    batch: usize,
    requests: u32,
    /// Messages still to come of the open request; none when no request is open.
    open: Option<usize>,
    /// Messages received of the open request.
    got: usize,
    /// The consumer sequence of the last message.
    last: u64,
    done: bool,
}

impl JetStreamStore {
    /// Starts to read the messages under `subject`, at most `batch` per request.
    pub(super) async fn pull(
        &self,
        subject: String,
        what: What,
        batch: usize,
    ) -> Result<Pull, Error> {
        const ACTION: &str = "start reading";
        let stream = self.stream().await?;
        let config = pull::Config {
            filter_subject: subject,
            deliver_policy: match what {
                What::Everything | What::Headers => DeliverPolicy::All,
                What::Last | What::LastHeaders => DeliverPolicy::LastPerSubject,
            },
            headers_only: matches!(what, What::Headers | What::LastHeaders),
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            inactive_threshold: FORGET_AFTER,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer = self.within(ACTION, stream.create_consumer(config)).await?;
        let client = self.context.client();
        let inbox_prefix = client.new_inbox();
        let inbox = self.within(ACTION, client.subscribe(format!("{inbox_prefix}.*"))).await?;
        let done = consumer.cached_info().num_pending == 0;
        Ok(Pull {
            store: self.clone(),
            consumer,
            inbox,
            inbox_prefix,
            batch,
            requests: 0,
            open: None,
            got: 0,
            last: 0,
            done,
        })
    }
}

impl Pull {
    const ACTION: &'static str = "read";

    /// The next message; none after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Part>, Error> {
        loop {
            if self.done {
                self.forget().await;
                return Ok(None);
            }
            if self.open.is_none() {
                self.request().await?;
            }
            let inbox = &mut self.inbox;
            let next = async { inbox.next().await.ok_or("the connection was closed") };
            let message = self.store.within(Self::ACTION, next).await?;
            match message.status {
                None => return self.part(message).map(Some),
                // In a cluster the new consumer may be known here only a moment later.
                Some(StatusCode::NO_RESPONDERS) if self.last == 0 && self.requests < TRIES => {
                    self.open = None;
                    self.store.pause(self.requests).await;
                }
                Some(status) if message.subject.as_str() == self.reply() => {
                    self.status(status, message.description.as_deref().unwrap_or_default())?;
                }
                // The tail of an earlier request, which was over by count already.
                Some(_) => {}
            }
        }
    }

    fn reply(&self) -> String {
        format!("{}.{}", self.inbox_prefix, self.requests)
    }

    async fn request(&mut self) -> Result<(), Error> {
        self.requests += 1;
        self.got = 0;
        self.open = Some(self.batch);
        let batch = BatchConfig {
            batch: self.batch,
            max_bytes: READ_BYTES,
            no_wait: true,
            ..BatchConfig::default()
        };
        let ask = self.consumer.request_batch(batch, self.reply().into());
        self.store.within(Self::ACTION, ask).await
    }

    fn part(&mut self, message: async_nats::Message) -> Result<Part, Error> {
        let context = self.store.context.clone();
        let message = jetstream::Message { message, context };
        let info = message.info().map_err(|error| self.store.error(Self::ACTION, &error))?;
        if info.consumer_sequence != self.last + 1 {
            let why = format!(
                "message {} came after {}: some were lost on the way",
                info.consumer_sequence, self.last
            );
            return Err(self.store.error(Self::ACTION, &why));
        }
        self.last = info.consumer_sequence;
        self.done = info.pending == 0;
        self.got += 1;
        self.open = self.open.and_then(|left| left.checked_sub(1)).filter(|left| *left > 0);
        let published =
            Timestamp::from_nanosecond(info.published.unix_timestamp_nanos()).unwrap_or_default();
        let sequence = info.stream_sequence;
        let (message, _) = message.split();
        Ok(Part {
            subject: message.subject.to_string(),
            sequence,
            published,
            headers: message.headers.unwrap_or_default(),
            payload: message.payload,
        })
    }

    /// The server ends a request that it could not fill.
    fn status(&mut self, status: StatusCode, description: &str) -> Result<(), Error> {
        self.open = None;
        match status.as_u16() {
            404 | 408 if self.got == 0 => self.done = true,
            404 | 408 => {}
            409 if self.got > 0 => {}
            code => {
                let why = match code {
                    409 if description.contains("Size") => format!(
                        "a message is larger than the {} MiB that are read at a time",
                        READ_BYTES >> 20
                    ),
                    _ => format!("{code} {description}"),
                };
                return Err(self.store.error(Self::ACTION, &why));
            }
        }
        Ok(())
    }

    /// Frees the reader at once instead of after [`FORGET_AFTER`]; nothing depends on it.
    async fn forget(&mut self) {
        let name = &self.consumer.cached_info().name;
        if let Ok(stream) = self.store.stream().await {
            let _ = self.store.within("stop reading", stream.delete_consumer(name)).await;
        }
    }
}
