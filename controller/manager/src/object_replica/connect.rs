//! Connections to the accounts that own the stores' buckets, and the ledgers of what was verified.
//! All of it may be lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cim_nats::jetstream::AccountClient;
use cim_nats::jwt::{Permission, Permissions};
use cim_nats::keys::UserSeed;
use cim_nats::system::Deadlines;
use cim_nats::{Creds, UnixTime, plain_user};
use cim_objects::store::jetstream::JetStreamStore;
use cim_objects::{Ledger, Store, Stores};
use tokio::time::Instant;

use super::validate::{Desired, Right, StoreAccess};

/// How long a user that the controller issues itself is good for.
const USER_LIFE: Duration = Duration::from_hours(24);
/// When a connection is made anew, with a new user: well before the old one expires.
const RENEW_AFTER: Duration = Duration::from_hours(12);
/// What a user of object stores needs: the JetStream API, the buckets' subjects, and replies.
const PUBLISH: [&str; 5] = ["$JS.API.>", "$JS.*.API.>", "$JS.ACK.>", "$JS.FC.>", "$O.>"];
const SUBSCRIBE: [&str; 1] = ["_INBOX.>"];

/// The ledger of one ObjectReplica. Visits to one object never overlap, so nobody waits for it.
pub(super) type SharedLedger = Arc<tokio::sync::Mutex<Ledger>>;

/// What the reconciler of ObjectReplicas remembers between visits.
#[derive(Default)]
pub(super) struct Memory {
    connections: Mutex<HashMap<String, (AccountClient, Instant)>>,
    ledgers: Mutex<HashMap<(String, String), SharedLedger>>,
}

impl Memory {
    pub(super) fn ledger(&self, namespace: &str, name: &str) -> SharedLedger {
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(ledgers.entry((namespace.to_owned(), name.to_owned())).or_default())
    }

    /// The stores that can be entered. One that cannot is left out, and thereby unreachable; the
    /// reasons come second.
    pub(super) async fn stores(
        &self,
        desired: &Desired,
        deadline: Duration,
    ) -> (Stores, Vec<String>) {
        let mut stores = Stores::new();
        let mut problems = Vec::new();
        for access in &desired.stores {
            match self.client(access).await {
                Ok(client) => {
                    let context = client.context(access.jetstream_domain.as_deref());
                    let id = access.id.clone();
                    let store =
                        JetStreamStore::new(id.clone(), context, access.bucket.clone(), deadline);
                    stores.insert(id, Arc::new(store) as Arc<dyn Store>);
                }
                Err(error) => problems.push(format!("store {}: {error}", access.id)),
            }
        }
        (stores, problems)
    }

    async fn client(&self, access: &StoreAccess) -> cim_nats::Result<AccountClient> {
        let key = key(access);
        if let Some(client) = self.known(&key) {
            return Ok(client);
        }
        let creds = match &access.right {
            Right::Account(keys) => own_user(keys)?,
            Right::User(creds) => Creds::clone(creds),
        };
        let client =
            AccountClient::connect(&access.servers, &creds, "cim-objects", Deadlines::default())
                .await?;
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.insert(key, (client.clone(), Instant::now()));
        Ok(client)
    }

    fn known(&self, key: &str) -> Option<AccountClient> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|_, (_, since)| since.elapsed() < RENEW_AFTER);
        connections.get(key).map(|(client, _)| client.clone())
    }
}

/// Stores of one account at the same servers share a connection; other keys mean another one.
fn key(access: &StoreAccess) -> String {
    let user = match &access.right {
        Right::Account(keys) => keys.signing().public().to_string(),
        Right::User(creds) => creds.user().as_str().to_owned(),
    };
    format!("{user} {}", access.servers.join(" "))
}

fn own_user(keys: &cim_nats::account::AccountKeys) -> cim_nats::Result<Creds> {
    let list = |subjects: &[&str]| Permission {
        allow: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        deny: Vec::new(),
    };
    let permissions = Permissions { r#pub: list(&PUBLISH), sub: list(&SUBSCRIBE), resp: None };
    let now = jiff::Timestamp::now().as_second();
    let life = i64::try_from(USER_LIFE.as_secs()).unwrap_or(i64::MAX);
    let (now, expires) = (UnixTime(now), UnixTime(now.saturating_add(life)));
    let seed = UserSeed::generate()?;
    plain_user(
        &keys.account(),
        keys.signing(),
        "cim-controller",
        seed,
        permissions,
        now,
        Some(expires),
    )
}
