//! The messaging layer that services see: envelope, subjects, claim check over NATS.
//!
//! ```text
//! Envelope<P> ─▶ wire::encode ─▶ headers + body ─▶ Outbox::publish ─▶ stream
//!                   │ content above the threshold: object store, and its CID in the body instead
//! Envelope<P> ◀─ Outbox::open ◀─ headers + body ◀──────────────────────────┘
//! ```
//!
//! Every message knows its transaction (correlation) and its cause (causation). A message that begins
//! a transaction is its own cause, so a chain of causes always ends, and whoever reads the headers
//! alone can follow it.

mod claim;
mod envelope;
mod error;
mod ids;
mod outbox;
mod subject;
mod wire;

pub use claim::{Claim, ClaimStore};
pub use envelope::{About, Envelope, Kind, Payload, Stamp};
pub use error::Error;
pub use ids::{CorrelationId, MessageId};
pub use outbox::{Outbox, Receipt};
pub use subject::{Route, Subject, Token};
pub use wire::{Content, Inline, Received, Wire, decode, encode, header};
