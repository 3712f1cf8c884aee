//! The system account as seen through one connection: what the servers are, hold and accept.
//!
//! Every request goes to **all** servers and each answers for itself, so every request here collects
//! one reply per server; a plain request would show the first server's alone.

mod connect;
mod gather;
mod reply;
mod requests;

pub use connect::{Deadlines, SystemClient};
pub(crate) use connect::{connect, connect_heard};
pub use reply::{Ack, Lookup, Server};
