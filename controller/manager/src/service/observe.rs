//! Whether the roles' credentials are admitted, what streams there are, and whether it serves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cim_nats::account::Access;
use cim_nats::jetstream::{self, AccountClient};
use cim_nats::keys::UserSeed;
use cim_nats::{Error, Login, UnixTime, login, plain_user};
use futures::{StreamExt, stream};

use super::Reconciler;
use super::nats::{AccountWanted, Credentials, NatsWanted};
use super::validate::Desired;

/// Logins or checks made at once.
const PARALLEL: usize = 16;

/// How long the user by which streams are looked after may be used.
const USER_LIFETIME: Duration = Duration::from_mins(10);

/// What was seen of a Service.
pub struct Observed {
    /// By role, for those that have good credentials.
    pub(super) logins: BTreeMap<String, Result<Login, Arc<Error>>>,
    /// The account's streams, where some are wanted.
    pub(super) streams: Option<Result<jetstream::Observed, Arc<Error>>>,
    /// By machine: the checks that do not hold.
    pub(super) failing: BTreeMap<String, Vec<String>>,
}

pub(super) async fn observe(reconciler: &Reconciler, desired: &Desired) -> Observed {
    let account = match &desired.nats {
        Some(NatsWanted::Account(account)) => Some(&**account),
        _ => None,
    };
    let (logins, streams, failing) = futures::join!(
        logins(reconciler, account),
        streams(reconciler, account),
        failing(reconciler, desired)
    );
    Observed { logins, streams, failing }
}

async fn logins(
    reconciler: &Reconciler,
    account: Option<&AccountWanted>,
) -> BTreeMap<String, Result<Login, Arc<Error>>> {
    let mut attempts = Vec::new();
    if let Some(account) = account {
        for role in &account.roles {
            if let Credentials::Good(creds) = &role.credentials {
                let attempt = login(&account.servers, creds, reconciler.deadlines);
                let attempt = reconciler.metrics.external("nats", "login", attempt);
                attempts.push(async { (role.role.clone(), attempt.await.map_err(Arc::new)) });
            }
        }
    }
    stream::iter(attempts).buffer_unordered(PARALLEL).collect().await
}

async fn streams(
    reconciler: &Reconciler,
    account: Option<&AccountWanted>,
) -> Option<Result<jetstream::Observed, Arc<Error>>> {
    let account = account.filter(|account| !account.streams.resources.is_empty())?;
    let seen = async { client(reconciler, account).await?.observe().await };
    let seen = Box::pin(reconciler.metrics.external("nats", "streams", seen));
    Some(seen.await.map_err(Arc::new))
}

/// A connection as a short-lived user that may look after streams and nothing else; refused unless
/// the server says that it is in our account. (A server without operator admits anybody, to an
/// account of its own, and what was made there would be in somebody else's way.)
pub(super) async fn client(
    reconciler: &Reconciler,
    account: &AccountWanted,
) -> Result<AccountClient, Error> {
    let mut permissions = Access::default().template().permissions;
    permissions.r#pub.allow.push("$JS.API.>".to_owned());
    let now: UnixTime = SystemTime::now().into();
    let creds = plain_user(
        &account.key,
        &account.signing,
        "cim-controller",
        UserSeed::generate()?,
        permissions,
        now,
        Some(now.plus(USER_LIFETIME)),
    )?;
    let found = login(&account.servers, &creds, reconciler.deadlines).await?;
    if found.account != account.key {
        return Err(Error::Unreachable {
            servers: account.servers.join(", "),
            why: format!("it is another system: it has us in account {}", found.account),
        });
    }
    AccountClient::connect(&account.servers, &creds, "cim-controller", reconciler.deadlines).await
}

async fn failing(reconciler: &Reconciler, desired: &Desired) -> BTreeMap<String, Vec<String>> {
    let mut attempts = Vec::new();
    for (machine, address) in &desired.machines {
        for probe in &desired.probes {
            attempts.push(async {
                let Some(address) = *address else {
                    return (machine.clone(), Err("it has no address".to_owned()));
                };
                let check = reconciler.metrics.external("check", "run", probe.run(address));
                (machine.clone(), check.await)
            });
        }
    }
    let results: Vec<(String, Result<(), String>)> =
        stream::iter(attempts).buffered(PARALLEL).collect().await;
    let mut failing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (machine, result) in results {
        if let Err(why) = result {
            failing.entry(machine).or_default().push(why);
        }
    }
    failing
}
