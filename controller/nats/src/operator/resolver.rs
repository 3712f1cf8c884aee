//! The part of a nats-server configuration that names the operator and the resolver.

use crate::jwt::{AccountBody, OperatorBody, Token};

/// Where NATS's own Helm chart mounts the resolver's volume.
pub const DEFAULT_RESOLVER_DIR: &str = "/data/resolver";

/// The fragment `operator`, `system_account`, `resolver`, `resolver_preload`; to be included in the
/// configuration of every server. `dir` must outlive the server.
///
/// The resolver is `full`: only it keeps what is pushed, synchronises with its peers and deletes.
/// Deleted JWTs are renamed to `.jwt.deleted`, not removed.
pub fn resolver_conf(
    operator: &Token<OperatorBody>,
    system_account: &Token<AccountBody>,
    dir: &str,
) -> String {
    let (system, dir) = (&system_account.claims().sub, quoted(dir));
    format!(
        "operator: {operator}\n\
         system_account: {system}\n\
         resolver {{\n  \
           type: full\n  \
           dir: {dir}\n  \
           allow_delete: true\n  \
           hard_delete: false\n  \
           interval: \"2m\"\n  \
           timeout: \"2s\"\n\
         }}\n\
         resolver_preload {{\n  \
           {system}: {preload}\n\
         }}\n",
        operator = operator.as_str(),
        preload = system_account.as_str(),
    )
}

/// A string of nats-server's configuration language.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
