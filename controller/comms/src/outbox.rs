//! Messages into streams and out of them.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream;
use async_nats::jetstream::message::PublishMessage;

use crate::wire::{Received, Wire, decode, encode};
use crate::{ClaimStore, Envelope, Error, Payload};

/// What the stream said to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where it is in the stream.
    pub sequence: u64,
    /// Whether it was there already, under the same id.
    pub duplicate: bool,
}

/// Publishes and opens messages, with large content in an object store.
#[derive(Clone)]
pub struct Outbox {
    context: jetstream::Context,
    claims: Option<ClaimStore>,
    deadline: Duration,
}

impl Outbox {
    /// An outbox on the streams of `context`; each request may take `deadline`.
    pub fn new(
        context: jetstream::Context,
        claims: Option<ClaimStore>,
        deadline: Duration,
    ) -> Self {
        Self { context, claims, deadline }
    }

    /// Stores a message in the stream of its subject. Content first, then the message, so that no
    /// message refers to what is not there. To be repeated with the same envelope after any error.
    pub async fn publish<P: Payload>(&self, envelope: &Envelope<P>) -> Result<Receipt, Error> {
        const ACTION: &str = "publish";
        let subject = envelope.subject()?;
        let claim = match &self.claims {
            Some(claims) => claims.offload(envelope, &subject).await?,
            None => None,
        };
        let Wire { headers, body, .. } = encode(envelope, claim)?;
        let subject = subject.to_string();
        let (bytes, max) = (size(&headers) + body.len(), self.max_payload());
        if bytes > max {
            return Err(Error::TooLarge { subject, bytes, max });
        }
        let message = PublishMessage::build().payload(body).headers(headers);
        let sent = async {
            let ack = self.context.send_publish(subject.clone(), message).await?;
            ack.await
        };
        let ack = self.within(ACTION, &subject, sent).await?;
        Ok(Receipt { sequence: ack.sequence, duplicate: ack.duplicate })
    }

    /// The message at `sequence` of `stream`, with its content.
    pub async fn fetch<P: Payload>(
        &self,
        stream: &str,
        sequence: u64,
    ) -> Result<Envelope<P>, Error> {
        let ask = async {
            let stream = self.context.get_stream_no_info(stream).await?;
            Ok::<_, async_nats::Error>(stream.get_raw_message(sequence).await?)
        };
        let message = self.within("fetch", stream, ask).await?;
        self.open(&message.subject, Some(&message.headers), &message.payload).await
    }

    /// A message as a consumer or a subscription gave it, with its content.
    pub async fn open<P: Payload>(
        &self,
        subject: &str,
        headers: Option<&HeaderMap>,
        body: &[u8],
    ) -> Result<Envelope<P>, Error> {
        let received: Received = decode(subject, headers, body)?;
        let Some(claim) = received.claim() else { return received.into_envelope(None) };
        let Some(claims) = &self.claims else {
            return Err(Error::NoStore {
                subject: subject.to_owned(),
                cid: claim.cid,
                bucket: claim.bucket.clone(),
            });
        };
        let content = claims.fetch(claim, &received.subject).await?;
        received.into_envelope(Some(&content))
    }

    fn max_payload(&self) -> usize {
        self.context.client().server_info().max_payload
    }

    async fn within<T, E: Display>(
        &self,
        action: &'static str,
        subject: &str,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        let subject = || subject.to_owned();
        match tokio::time::timeout(self.deadline, request).await {
            Ok(result) => result.map_err(|error| Error::Stream {
                action,
                subject: subject(),
                why: error.to_string(),
            }),
            Err(_) => Err(Error::Deadline { action, subject: subject(), after: self.deadline }),
        }
    }
}

/// The bytes of headers on the wire: `NATS/1.0`, a line for each value, an empty line.
fn size(headers: &HeaderMap) -> usize {
    let line = |name: &str, value: &str| name.len() + value.len() + ": \r\n".len();
    let lines = headers.iter().flat_map(|(name, values)| {
        values.iter().map(move |value| line(name.as_ref(), value.as_str()))
    });
    "NATS/1.0\r\n\r\n".len() + lines.sum::<usize>()
}
