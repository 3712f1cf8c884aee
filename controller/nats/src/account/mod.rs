//! What an account shall be, in names; and how that becomes claims, in keys.
//!
//! ```text
//! Account (names) + AccountKeys (seeds)  --compile-->  Claims<AccountBody>, unsigned
//! Access (subjects, streams, buckets)    --template->  the scope of a role's signing key
//! ```

mod access;
mod check;
mod compile;
mod keys;
mod spec;

pub(crate) use access::USER_INFO;
pub use access::{Access, Inbox, Listen, Responses};
pub use compile::compile;
pub use keys::AccountKeys;
pub use spec::{Account, AccountExport, AccountImport, Exporter, Importers};
