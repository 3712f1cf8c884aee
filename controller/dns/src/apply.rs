//! Sending a plan: batches, and halves of a batch that was refused, so that one bad record harms
//! only itself.
//!
//! Nothing is decided here, nothing is sent twice, and no answer is taken for the truth: the caller
//! observes again.

use std::{collections::VecDeque, ops::Range};

use cim_plan::Plan;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::{Change, Error, Primary, Rcode, Zone, connection::Connection, update};

const WHAT: &str = "the update";
/// When so many changes were refused one by one and none was accepted, the server accepts nothing
/// and the rest is not tried.
const MAX_LONELY_REFUSALS: usize = 16;

/// What became of a plan.
#[derive(Debug)]
pub struct Report {
    /// What became of each change, in the order of the plan.
    pub outcomes: Vec<Outcome>,
    /// Every message, in the order in which they were sent.
    pub messages: Vec<SentUpdate>,
    /// Why it ended before all changes were tried, if it did.
    pub stopped: Option<Error>,
}

/// What became of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server says that it was made. Observe to know.
    Accepted,
    /// Nothing was done: the record is no longer what was observed. Observe and plan again.
    Overtaken(Rcode),
    /// Nothing was done: the server does not want this change.
    Refused(Rcode),
    /// Nothing was sent: the change is larger than a message can be.
    TooLarge,
    /// It was sent, and no answer came: it may have been made or not.
    Unknown,
    /// It was not sent, because the rest was stopped.
    NotSent,
}

/// One UPDATE message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentUpdate {
    /// Which changes of the plan it made.
    pub changes: Range<usize>,
    /// The answer; `None` when none came.
    pub rcode: Option<Rcode>,
}

impl Report {
    /// The number of changes with this outcome.
    pub fn count(&self, is: impl Fn(Outcome) -> bool) -> usize {
        self.outcomes.iter().filter(|outcome| is(**outcome)).count()
    }

    /// Whether the server says that all was made.
    pub fn all_accepted(&self) -> bool {
        self.stopped.is_none() && self.count(|outcome| outcome != Outcome::Accepted) == 0
    }
}

impl Primary {
    /// Makes the changes of a plan, over one connection, one message at a time.
    ///
    /// All changes of a name are in one message, and each message has the observed values as
    /// prerequisites. A refused message is cut in halves, which are tried after all others, until
    /// the bad change is alone. It ends at the latest after
    /// [`Limits::apply`](crate::Limits::apply).
    pub async fn apply(&self, zone: &Zone, plan: &Plan<Change>) -> Report {
        let mut run = Run::new(&plan.changes);
        if plan.is_empty() {
            return run.report;
        }
        let deadline = Instant::now() + self.limits.apply;
        let result = match timeout_at(deadline, run.all(self, zone)).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout {
                server: self.address.clone(),
                what: "all updates",
                after: self.limits.apply,
            }),
        };
        run.finish(result)
    }
}

struct Run<'a> {
    changes: &'a [Change],
    queue: VecDeque<Range<usize>>,
    /// The message on its way, whose changes are in doubt until it is answered.
    in_flight: Option<Range<usize>>,
    report: Report,
}

impl<'a> Run<'a> {
    fn new(changes: &'a [Change]) -> Self {
        let report = Report {
            outcomes: vec![Outcome::NotSent; changes.len()],
            messages: Vec::new(),
            stopped: None,
        };
        Self { changes, queue: update::batches(changes).into(), in_flight: None, report }
    }

    async fn all(&mut self, primary: &Primary, zone: &Zone) -> Result<(), Error> {
        let mut connection = Connection::open(primary).await?;
        while let Some(batch) = self.queue.pop_front() {
            match self.send(&mut connection, zone, batch.clone()).await {
                // Nothing has gone out, so the connection is as good as before.
                Err(Error::Encode { .. }) => self.settle_or_halve(batch, Outcome::TooLarge),
                Err(error) => return Err(error),
                Ok(Rcode::NOERROR) => self.settle(batch, Outcome::Accepted),
                Ok(rcode) if rcode.is_prerequisite() => {
                    self.settle_or_halve(batch, Outcome::Overtaken(rcode));
                }
                Ok(rcode) => {
                    self.settle_or_halve(batch, Outcome::Refused(rcode));
                    self.stop_if_hopeless(primary, zone, rcode)?;
                }
            }
        }
        Ok(())
    }

    async fn send(
        &mut self,
        connection: &mut Connection,
        zone: &Zone,
        batch: Range<usize>,
    ) -> Result<Rcode, Error> {
        let message = update::message(zone, &self.changes[batch.clone()]);
        let mut sent = connection.prepare(message, WHAT)?;
        self.in_flight = Some(batch.clone());
        self.report.messages.push(SentUpdate { changes: batch.clone(), rcode: None });
        connection.write(&sent).await?;
        let reply = connection.receive(&mut sent).await?;
        self.in_flight = None;
        let rcode = reply.rcode();
        debug!(server = %connection.server(), %zone, ?batch, %rcode, "update");
        if let Some(message) = self.report.messages.last_mut() {
            message.rcode = Some(rcode);
        }
        // These two answer the request and not the records, so every further one would get them.
        if rcode == Rcode::NOTAUTH || rcode == Rcode::NOTIMP {
            self.settle(batch, Outcome::Refused(rcode));
            connection.check_rcode(&reply, zone, WHAT)?;
        }
        Ok(rcode)
    }

    fn settle(&mut self, batch: Range<usize>, outcome: Outcome) {
        self.report.outcomes[batch].fill(outcome);
    }

    fn settle_or_halve(&mut self, batch: Range<usize>, outcome: Outcome) {
        if batch.len() == 1 {
            self.settle(batch, outcome);
        } else {
            let middle = batch.start + batch.len() / 2;
            self.queue.extend([batch.start..middle, middle..batch.end]);
        }
    }

    fn stop_if_hopeless(&self, primary: &Primary, zone: &Zone, rcode: Rcode) -> Result<(), Error> {
        let refused = self.report.count(|outcome| matches!(outcome, Outcome::Refused(_)));
        let accepted = self.report.count(|outcome| outcome == Outcome::Accepted);
        if accepted > 0 || refused < MAX_LONELY_REFUSALS {
            return Ok(());
        }
        Err(Error::Refused {
            server: primary.address.clone(),
            what: WHAT,
            zone: zone.clone(),
            rcode,
            hint: "; may this key or address update the zone there (Knot: acl, BIND: \
                   update-policy), and can the server write its zone file or journal?",
        })
    }

    fn finish(mut self, result: Result<(), Error>) -> Report {
        if let Some(batch) = self.in_flight.take() {
            // Refused signatures are answers too: nothing was done.
            let done = matches!(result, Err(Error::Tsig { failure, .. }) if failure.by_server());
            self.settle(batch, if done { Outcome::NotSent } else { Outcome::Unknown });
        }
        self.report.stopped = result.err();
        self.report
    }
}
