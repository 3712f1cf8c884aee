//! NATS JWT version 2: typed claims, signing, verification and comparison.
//!
//! ```text
//! Claims<Body>  --sign(seed)-->  Token<Body>   what travels and is stored
//! Claims<Body>  <--Token::decode--  text       signature, type and version checked
//! canonical::{of_claims, of_token, differences}   what is equal although issued at another time
//! ```
//!
//! Written after github.com/nats-io/jwt v2.8 and checked against it by the tokens in `tests/vectors`.

mod account;
mod activation;
pub mod canonical;
mod claims;
mod delete;
mod limits;
mod operator;
mod permissions;
mod token;
mod user;

pub use account::{
    AccountBody, Export, ExportKind, Import, Latency, ResponseType, Sampling, ScopeKind,
    SigningKey, UserScope, WeightedMapping,
};
pub use activation::ActivationBody;
pub use claims::{Body, Claims, Issuer};
pub use delete::DeleteBody;
pub use limits::{AccountLimits, JetStreamLimits, NO_LIMIT};
pub use operator::OperatorBody;
pub use permissions::{Permission, Permissions, ResponsePermission, Template};
pub use token::{MAX_TOKEN_BYTES, Token};
pub use user::UserBody;
