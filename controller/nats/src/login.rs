//! Proof that credentials work: a login, and what the server then says that the user may.

use serde::Deserialize;
use tokio::time::timeout;

use crate::account::{Access, USER_INFO};
use crate::creds::Creds;
use crate::error::{Error, Result};
use crate::jwt::{Permission, Permissions, ResponsePermission};
use crate::keys::{AccountKey, UserKey};
use crate::system::{Deadlines, connect};

/// A user as the server that admitted it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The server's name.
    pub server: String,
    /// The user.
    pub user: UserKey,
    /// Its account.
    pub account: AccountKey,
    /// What it may do, templates resolved.
    pub permissions: Permissions,
}

/// Logs in, asks who it is, and leaves. `Unreachable` if no server admits the user; a server that does
/// may still not let it ask, if its permissions are not those of an [`Access`].
pub async fn login(servers: &[String], creds: &Creds, deadlines: Deadlines) -> Result<Login> {
    let client = connect(servers, creds, "cim-login", deadlines).await?;
    let waited = deadlines.request;
    let error = |why: String| Error::Request { subject: USER_INFO.into(), why, waited };
    let asking = client.request(USER_INFO, bytes::Bytes::new());
    let reply = match timeout(waited, asking).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(failed)) => return Err(error(failed.to_string())),
        Err(_) => return Err(error("no answer; may the user ask?".into())),
    };
    let info: Info = serde_json::from_slice(&reply.payload)
        .map_err(|unread| error(format!("unexpected reply: {unread}")))?;
    let Rights { publish, subscribe, responses: resp } = info.data.permissions.unwrap_or_default();
    Ok(Login {
        server: info.server.name,
        user: info.data.user,
        account: info.data.account,
        permissions: Permissions { r#pub: publish, sub: subscribe, resp },
    })
}

impl Login {
    /// Whether the user may do what `access` says, and nothing else.
    pub fn is(&self, access: &Access) -> bool {
        let wanted = access.template().permissions;
        let resolved = |subjects: &[String]| -> Vec<String> {
            let key = self.user.as_str();
            sorted(subjects.iter().map(|subject| subject.replace("{{subject()}}", key)))
        };
        let same = |wanted: &Permission, found: &Permission| {
            resolved(&wanted.allow) == sorted(found.allow.iter().cloned())
                && resolved(&wanted.deny) == sorted(found.deny.iter().cloned())
        };
        same(&wanted.r#pub, &self.permissions.r#pub)
            && same(&wanted.sub, &self.permissions.sub)
            && wanted.resp == self.permissions.resp
    }
}

fn sorted(subjects: impl Iterator<Item = String>) -> Vec<String> {
    let mut subjects: Vec<_> = subjects.collect();
    subjects.sort_unstable();
    subjects
}

#[derive(Deserialize)]
struct Info {
    server: Server,
    data: Data,
}

#[derive(Deserialize)]
struct Server {
    name: String,
}

#[derive(Deserialize)]
struct Data {
    user: UserKey,
    account: AccountKey,
    #[serde(default)]
    permissions: Option<Rights>,
}

#[derive(Default, Deserialize)]
struct Rights {
    #[serde(default)]
    publish: Permission,
    #[serde(default)]
    subscribe: Permission,
    #[serde(default)]
    responses: Option<ResponsePermission>,
}
