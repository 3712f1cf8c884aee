//! The trust root: operator, system account and the configuration that has servers obey them.

mod bundle;
mod resolver;

pub use bundle::OperatorBundle;
pub use resolver::{DEFAULT_RESOLVER_DIR, resolver_conf};
