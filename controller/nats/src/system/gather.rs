//! Many requests in flight, many replies to each.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::{Message, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::connect::SystemClient;
use crate::error::{Error, Result};

/// Requests that may wait for replies at a time: enough to fill the connection, few enough for the
/// servers' queues.
const IN_FLIGHT: usize = 64;

/// A request: subject and body.
pub(super) type Request = (String, Bytes);

impl SystemClient {
    /// Sends one request and collects replies until none has come for `quiet`, or the deadline.
    pub(super) async fn survey(&self, (subject, body): Request) -> Result<Vec<Bytes>> {
        let inbox = self.client.new_inbox();
        let mut replies = self.subscribe(&subject, &inbox).await?;
        self.publish(&subject, inbox, body).await?;
        let deadline = Instant::now() + self.deadlines.request;
        let mut until = deadline;
        let mut collected = Vec::new();
        while let Ok(Some(message)) = timeout_at(until, replies.next()).await {
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                let why = "no server listens; are the credentials of the system account?".into();
                return Err(Error::Request { subject, why, waited: Duration::ZERO });
            }
            collected.push(message.payload);
            until = deadline.min(Instant::now() + self.deadlines.quiet);
        }
        Ok(collected)
    }

    /// Sends the requests and collects up to `want` replies to each, in the order of the requests.
    /// A request with fewer than `want` replies has waited for the whole deadline.
    pub(super) async fn gather(
        &self,
        requests: Vec<Request>,
        want: usize,
    ) -> Result<Vec<Vec<Bytes>>> {
        let Some((first, _)) = requests.first() else { return Ok(Vec::new()) };
        let inbox = self.client.new_inbox();
        let mut replies = self.subscribe(first, &format!("{inbox}.*")).await?;
        let mut waiting = Waiting::new(requests.len(), want);
        let mut unsent = requests.into_iter().enumerate();
        loop {
            while waiting.open.len() < IN_FLIGHT
                && let Some((index, (subject, body))) = unsent.next()
            {
                waiting.open.push_back((index, Instant::now() + self.deadlines.request));
                self.publish(&subject, format!("{inbox}.{index}"), body).await?;
            }
            // All wait equally long, so the front is the first whose time is over.
            let Some(&(_, until)) = waiting.open.front() else { return Ok(waiting.replies) };
            match timeout_at(until, replies.next()).await {
                Ok(Some(message)) => waiting.take(message),
                Ok(None) => return Err(self.unreachable("the connection was closed")),
                Err(_) => drop(waiting.open.pop_front()),
            }
        }
    }

    /// Sends one request to all servers; `want` replies are expected.
    pub(super) async fn gather_one(&self, request: Request, want: usize) -> Result<Vec<Bytes>> {
        Ok(self.gather(vec![request], want).await?.pop().unwrap_or_default())
    }

    async fn subscribe(&self, subject: &str, inbox: &str) -> Result<async_nats::Subscriber> {
        let subscribing = self.client.subscribe(inbox.to_owned());
        self.in_time(subject, subscribing).await
    }

    async fn publish(&self, subject: &str, inbox: String, body: Bytes) -> Result<()> {
        let publishing = self.client.publish_with_reply(subject.to_owned(), inbox, body);
        self.in_time(subject, publishing).await
    }

    /// The client's queue is bounded and stands still while there is no connection.
    async fn in_time<T, E: std::fmt::Display>(
        &self,
        subject: &str,
        doing: impl Future<Output = Result<T, E>>,
    ) -> Result<T> {
        let waited = self.deadlines.request;
        match tokio::time::timeout(waited, doing).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                Err(Error::Request { subject: subject.into(), why: error.to_string(), waited })
            }
            Err(_) => Err(self.unreachable("there is no connection")),
        }
    }
}

/// Replies so far, and the requests that still wait.
struct Waiting {
    replies: Vec<Vec<Bytes>>,
    /// Index and deadline, oldest first.
    open: VecDeque<(usize, Instant)>,
    want: usize,
}

impl Waiting {
    fn new(requests: usize, want: usize) -> Self {
        Self { replies: vec![Vec::new(); requests], open: VecDeque::with_capacity(IN_FLIGHT), want }
    }

    fn take(&mut self, message: Message) {
        let index = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
        let Some(index): Option<usize> = index else { return };
        let Some(collected) = self.replies.get_mut(index) else { return };
        let nobody = message.status == Some(StatusCode::NO_RESPONDERS);
        if !nobody && collected.len() < self.want {
            collected.push(message.payload);
        }
        if nobody || collected.len() >= self.want {
            self.open.retain(|(open, _)| *open != index);
        }
    }
}
