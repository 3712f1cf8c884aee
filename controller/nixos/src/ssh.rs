//! Machines reached over the system's OpenSSH: pinned host keys, our own configuration only, one
//! connection per machine that all commands share.
//!
//! OpenSSH and not a library, because `nix copy` runs `ssh` itself: so both use the same connection
//! and the same rules.

mod classify;
mod config;
mod host;
mod target;

pub(crate) use classify::{Context, failure};
pub(crate) use config::STRICT;
pub(crate) use host::{Connection, Feed, Script};
pub use host::{Host, Hosts};
pub use target::{Address, HostKey, PrivateKey, Target, User};
