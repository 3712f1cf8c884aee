//! DNS zones: observe by AXFR, plan, apply by signed update, verify.
//!
//! ```text
//! Primary::observe ── the zone, complete or an error ──┐
//! Desired ─────────── what should be in it ────────────┼─ plan() ── Planned ── Primary::apply ──┐
//! Ledger ──────────── what of it is ours ──────────────┘    │                                   │
//!      ▲                                                    │ stored before apply               │
//!      └────────────────────────────────────────────────────┘     observe again: truth is read ─┘
//! ```
//!
//! Three rules hold everywhere. What we did not create is reported and never touched. Nothing is
//! concluded from an incomplete transfer. An answer of the server is not proof: a server may say
//! NOERROR and change nothing, so status comes from the next observation.
//!
//! Standards: RFC 1035 (DNS), 2136 (update), 5936 (AXFR), 8945 (TSIG).

mod apply;
mod change;
mod connection;
mod error;
mod ledger;
mod lookup;
mod name;
mod observe;
mod plan;
mod record;
mod rrset;
mod rules;
mod server;
mod text;
mod transfer;
mod tsig;
mod update;
mod wire;
mod zone;

pub use self::{
    apply::{Outcome, Report, SentUpdate},
    change::{Change, Edit},
    error::{Error, Rcode, TsigFailure},
    ledger::Ledger,
    lookup::Answer,
    name::{Name, Zone},
    plan::{Conflict, ConflictReason, Counts, Held, HoldReason, Planned, plan},
    record::{MAX_TTL, Rdata, RecordKey, RecordType},
    rrset::RrSet,
    rules::{Ignore, Policy, Release, Rules},
    server::{Limits, Primary, ServerAddress},
    text::Text,
    tsig::{TsigAlgorithm, TsigKey},
    zone::{Desired, Observed},
};
