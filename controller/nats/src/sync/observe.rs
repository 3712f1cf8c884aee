//! What all servers have.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::keys::AccountKey;
use crate::system::{Lookup, Server, SystemClient};
use crate::time::UnixTime;

/// Accounts nobody asked for whose names are looked up, at most.
const MAX_NAMES: usize = 100;

/// What the servers that answered have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The servers that answered, by name.
    pub servers: Vec<ServerState>,
    /// The copies of each account that was asked for: one per server that answered, in no order.
    pub accounts: BTreeMap<AccountKey, Vec<Lookup>>,
    /// Accounts on some server that were not asked for, with their names as far as they are known.
    pub unknown: BTreeMap<AccountKey, Option<String>>,
}

/// One server and what its resolver holds.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerState {
    /// The server.
    pub server: Server,
    /// Its accounts; absent: it did not say in time.
    pub holds: Option<BTreeSet<AccountKey>>,
}

/// Asks every server what it is and what it has, and for the JWT of each account in `wanted`.
/// The system account `system` is nobody's finding.
pub async fn observe(
    client: &SystemClient,
    wanted: &BTreeSet<AccountKey>,
    system: &AccountKey,
) -> Result<Observed> {
    let servers = client.servers().await?;
    let mut held = client.accounts(servers.len()).await?;
    let keys: Vec<_> = wanted.iter().cloned().collect();
    let accounts = client.lookup(&keys, servers.len()).await?;
    let unknown: BTreeSet<_> = held
        .values()
        .flatten()
        .filter(|key| *key != system && !wanted.contains(*key))
        .cloned()
        .collect();
    let sample: Vec<_> = unknown.iter().take(MAX_NAMES).cloned().collect();
    let mut names = client.lookup(&sample, 1).await?;
    let unknown = unknown
        .into_iter()
        .map(|key| {
            let name = names.remove(&key).and_then(|copies| copies.iter().find_map(name_of));
            (key, name)
        })
        .collect();
    let servers = servers
        .into_iter()
        .map(|server| ServerState { holds: held.remove(&server.id), server })
        .collect();
    Ok(Observed { servers, accounts, unknown })
}

impl Observed {
    /// Names of the servers that said that they do not have the account.
    pub fn without(&self, account: &AccountKey) -> Vec<&str> {
        self.names(|holds| !holds.contains(account))
    }

    /// Names of the servers that said that they have the account.
    pub fn with(&self, account: &AccountKey) -> Vec<&str> {
        self.names(|holds| holds.contains(account))
    }

    /// The latest time at which any server's copy of the account was issued.
    pub fn latest(&self, account: &AccountKey) -> Option<UnixTime> {
        let copies = self.accounts.get(account)?;
        copies.iter().filter_map(Lookup::token).map(|token| token.claims().iat).max()
    }

    /// Whether that many servers or more answered, and none of them has the account.
    pub fn is_gone(&self, account: &AccountKey, servers: usize) -> bool {
        let wanted = self.servers.len().max(servers);
        self.accounts.get(account).is_some_and(|copies| {
            copies.len() >= wanted && copies.iter().all(|copy| *copy == Lookup::Absent)
        })
    }

    fn names(&self, select: impl Fn(&BTreeSet<AccountKey>) -> bool) -> Vec<&str> {
        self.servers
            .iter()
            .filter(|state| state.holds.as_ref().is_some_and(&select))
            .map(|state| state.server.name.as_str())
            .collect()
    }
}

fn name_of(copy: &Lookup) -> Option<String> {
    let name = &copy.token()?.claims().name;
    // It comes from somebody else and goes into status.
    (!name.is_empty()).then(|| name.chars().take(63).collect())
}
