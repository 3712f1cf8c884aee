//! Content-addressed objects: CIDs, stores, verified copies, safe deletion.
//!
//! ```text
//! cid/      bytes ⇄ names
//! policy    how many copies, how far apart        select   of which objects
//! store/    where copies live (JetStream object stores, ADR-20)
//! verify    a copy is what a rehash found, never what a store claims
//! observe() stores + ledger        -> Observed     looks, reads, changes nothing
//! plan()    desired + observed     -> Plan<Change> pure
//! apply()   plan                   -> Applied      copies, repairs; drops only with a SafeDropProof
//! ```
//!
//! An unreachable store is *unknown*: its copies are neither present nor missing, and while any
//! store is unknown nothing is deleted anywhere. The last verified copy is never deleted, because
//! deletion takes a proof that names the copies which remain, and only [`apply()`] can make one.

mod apply;
mod cid;
mod error;
mod ledger;
mod limits;
mod meta_key;
mod observe;
mod observed;
mod plan;
mod policy;
mod proof;
mod schedule;
mod select;
mod stats;
pub mod store;
mod verify;

pub use apply::{Applied, apply, put_bytes, put_object};
pub use cid::{Cid, Hashed, Hasher, Leaves, Mismatch, Profile, Verifier};
pub use error::Error;
pub use ledger::{Check, Ledger, Outcome};
pub use limits::{Doing, Limits, OnProgress, Progress};
pub use observe::{Rehash, observe};
pub use observed::{Copy, Object, Observed, StoreState};
pub use plan::{Assessment, Change, assess, plan};
pub use policy::{Desired, FailureDomain, Policy, Replicas, SpreadKey, StoreId, StoreSpec};
pub use proof::SafeDropProof;
pub use select::{Attributes, Select};
pub use stats::{AtRisk, Stats};
pub use store::{
    ByteStream, Entry, Item, Lock, Mark, Over, Presence, Put, Store, Stores, Stray, StrayKind,
    Version,
};
pub use verify::{Verdict, verify};
