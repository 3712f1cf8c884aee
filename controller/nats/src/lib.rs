//! NATS operator, accounts and users: claims, push, read back.

pub mod account;
mod ask;
mod creds;
mod error;
pub mod jetstream;
pub mod jwt;
pub mod keys;
mod login;
mod name;
pub mod operator;
mod subject;
pub mod sync;
pub mod system;
mod time;
mod user;

pub use ask::{Answer, Asker, Reply};
pub use creds::Creds;
pub use error::{Error, Result};
pub use login::{Login, login};
pub use name::{AccountName, RoleName, StreamName};
pub use operator::OperatorBundle;
pub use subject::{InvalidSubject, Subject};
pub use time::UnixTime;
pub use user::{MAX_USER_JWT, plain_user, scoped_user};
