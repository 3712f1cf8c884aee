//! The accounts on the servers: seen, compared, pushed.
//!
//! ```text
//! observe(client)          -> Observed      every server's copy of every account
//! plan(Desired, Observed)  -> Plan<Change>  pure
//! apply(client, plan)      -> Applied       one signed JWT per change, one answer per server
//! ```
//!
//! What is true is said by the next observation; an acknowledgement only says "stored here".

mod apply;
mod change;
#[cfg(test)]
mod laws;
mod observe;
mod plan;

pub use apply::{Applied, Failure, apply};
pub use change::{Change, Why};
pub use observe::{Observed, ServerState, observe};
pub use plan::{Deletion, Desired, plan};
