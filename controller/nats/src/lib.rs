//! NATS operator, accounts and users: claims, push, read back.

mod creds;
mod error;
pub mod jwt;
pub mod keys;
pub mod operator;
mod time;

pub use creds::Creds;
pub use error::{Error, Result};
pub use operator::OperatorBundle;
pub use time::UnixTime;
