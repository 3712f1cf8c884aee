//! Streams and buckets within one account.
//!
//! ```text
//! observe(client)          -> Observed      every stream of the account, its configuration as JSON
//! plan(Desired, Observed)  -> Plan<Change>  create, update; never delete
//! apply(client, plan)      -> Vec<Failure>
//! ```
//!
//! Configurations stay JSON from the server and back: an update puts our fields into what was found,
//! so fields that a newer server has, or somebody else has set, outlive it.

mod apply;
mod client;
mod config;
#[cfg(test)]
mod laws;
mod plan;

pub use apply::{Failure, apply};
pub use client::{AccountClient, FoundStream, Observed};
pub use config::{Discard, KeyValue, ObjectStore, Resource, Retention, Storage, Stream};
pub use plan::{Change, Desired, plan};
