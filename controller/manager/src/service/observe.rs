//! Whether the roles' credentials are admitted, what streams there are, and whether it serves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cim_crds::machine::activation::CommandCheck;
use cim_crds::machine::service_checks::{CheckResult, CheckTrouble};
use cim_nats::account::Access;
use cim_nats::jetstream::{self, AccountClient};
use cim_nats::keys::UserSeed;
use cim_nats::{Error, Login, UnixTime, login, plain_user};
use futures::{StreamExt, stream};

use super::Reconciler;
use super::gather::Told;
use super::nats::{AccountWanted, Credentials, NatsWanted};
use super::validate::Desired;
use crate::checks::{Check, Place, Troubles, Verdict};

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
    /// Its checks.
    pub(super) serving: Serving,
}

/// The checks that do not hold.
#[derive(Debug, Default)]
pub(super) struct Serving {
    /// Those of the Service as a whole.
    pub(super) whole: Troubles,
    /// By machine: those on it; absent where all hold.
    pub(super) machines: BTreeMap<String, Troubles>,
}

pub(super) async fn observe(reconciler: &Reconciler, desired: &Desired) -> Observed {
    let account = match &desired.nats {
        Some(NatsWanted::Account(account)) => Some(&**account),
        _ => None,
    };
    let (logins, streams, serving) = futures::join!(
        logins(reconciler, account),
        streams(reconciler, account),
        troubles(reconciler, desired)
    );
    Observed { logins, streams, serving }
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

/// What does not hold: for the Service as a whole, and on each machine.
async fn troubles(reconciler: &Reconciler, desired: &Desired) -> Serving {
    let mut attempts = Vec::new();
    for (index, check) in desired.checks.iter().enumerate() {
        if matches!(check, Check::Request(_)) {
            attempts.push(attempt(reconciler, desired, None, index, check));
            continue;
        }
        for machine in desired.machines.keys() {
            attempts.push(attempt(reconciler, desired, Some(machine), index, check));
        }
    }
    let verdicts: Vec<_> = stream::iter(attempts).buffered(PARALLEL).collect().await;
    let mut serving = Serving::default();
    for (machine, verdict) in verdicts {
        match machine {
            _ if verdict == Verdict::Passing => {}
            None => serving.whole.note(verdict),
            Some(machine) => serving.machines.entry(machine.clone()).or_default().note(verdict),
        }
    }
    serving
}

async fn attempt<'d>(
    reconciler: &Reconciler,
    desired: &'d Desired,
    machine: Option<&'d String>,
    index: usize,
    check: &Check,
) -> (Option<&'d String>, Verdict) {
    if let (Check::Command(command), Some(machine)) = (check, machine) {
        return (Some(machine), told(desired.told.get(machine), index, command));
    }
    let address = machine.and_then(|machine| *desired.machines.get(machine)?);
    (machine, seen(reconciler, check, Place { address, host: None }).await)
}

async fn seen(reconciler: &Reconciler, check: &Check, place: Place<'_>) -> Verdict {
    let running = async {
        match check.run(place).await {
            Verdict::Passing => Ok(()),
            other => Err(other),
        }
    };
    let ended = reconciler.metrics.external("check", "run", running).await;
    ended.err().unwrap_or(Verdict::Passing)
}

/// What a machine's own visits say of a command.
fn told(told: Option<&Told>, index: usize, command: &CommandCheck) -> Verdict {
    let troubles = match told {
        Some(Told::Seen(troubles)) => troubles,
        Some(Told::Nothing(why)) => {
            let name = command.argv.first().map_or("", String::as_str);
            return Verdict::Unknown(format!("command {name}: {why}"));
        }
        // A machine of another Cluster, which says nothing to this one.
        None => return Verdict::Unknown("its machine is not in the Service's Cluster".to_owned()),
    };
    let found = troubles.iter().find(|it| usize::try_from(it.check).is_ok_and(|at| at == index));
    match found {
        None => Verdict::Passing,
        Some(CheckTrouble { result: CheckResult::Failing, message, .. }) => {
            Verdict::Failing(message.clone())
        }
        Some(CheckTrouble { result: CheckResult::Unknown, message, .. }) => {
            Verdict::Unknown(message.clone())
        }
    }
}
