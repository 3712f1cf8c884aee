//! Copies of objects in three JetStream object stores, one on each server: each case in an account of
//! its own.

mod away;
mod copies;
mod damage;
mod messages;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_nats::{ConnectOptions, jetstream};
use cim_e2e::lab::{Lab, wait_until};
use cim_nats::{
    OperatorBundle, UnixTime,
    account::{Account, AccountKeys, compile},
    jwt::{AccountLimits, JetStreamLimits, Permissions},
    keys::UserSeed,
    plain_user,
    sync::{self, Deletion},
    system::{Deadlines, SystemClient},
};
use cim_objects::{
    Applied, Assessment, Attributes, Change, Cid, Desired, Ledger, Limits, Policy, Rehash,
    Replicas, Select, SpreadKey, Store, StoreId, StoreSpec, Stores, apply, assess, observe,
    put_bytes,
    store::jetstream::{Bucket, JetStreamStore},
};
use tokio::time::timeout;

use crate::harness::Outcome;

pub(crate) use away::a_stopped_server_is_unknown_and_nothing_is_trimmed;
pub(crate) use copies::{
    a_copy_that_another_controller_relies_on_stays, an_object_of_another_client_gets_its_copies,
    copies_are_made_and_anybody_can_read_them,
};
pub(crate) use damage::{
    a_damaged_copy_is_repaired_from_a_good_one, a_missing_copy_is_made_again,
    rot_on_the_disk_is_found_by_reading, when_no_good_copy_is_left_nothing_is_removed,
};
pub(crate) use messages::large_messages_travel_by_reference;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const NODES: [&str; 3] = ["a", "b", "c"];
const SOON: Duration = Duration::from_secs(30);
/// How long one request to a store may take here: a server that is down is waited for as long.
const DEADLINE: Duration = Duration::from_secs(3);

/// Three stores in an account, and a controller of their copies.
struct Scene<'lab> {
    lab: &'lab Lab,
    account: Account,
    keys: AccountKeys,
    context: jetstream::Context,
    stores: Stores,
    desired: Desired,
    ledger: Ledger,
    limits: Limits,
}

impl<'lab> Scene<'lab> {
    /// The buckets exist, one on each server; 2 to 5 copies are wanted, best 3.
    async fn new(lab: &'lab Lab, name: &str) -> Result<Self> {
        let limits =
            AccountLimits { jetstream: JetStreamLimits::unlimited(), ..AccountLimits::unlimited() };
        let account = Account::new(name.parse()?, limits);
        let keys = AccountKeys::generate()?;
        push(lab, &account, &keys, false).await?;
        let context = jetstream::new(connect(lab, &keys).await?);
        let mut stores = Stores::new();
        let mut specs = Vec::new();
        for node in NODES {
            let id: StoreId = node.parse()?;
            let tags = vec![format!("node:{node}")];
            let bucket = Bucket { tags, ..Bucket::new(bucket(node).parse()?) };
            let store = JetStreamStore::new(id.clone(), context.clone(), bucket, DEADLINE);
            stores.insert(id.clone(), Arc::new(store));
            let domain = [(SpreadKey::Zone, node.to_owned())].into();
            specs.push(StoreSpec { id, domain, weight: 100, writable: true });
        }
        let policy = Policy {
            spread: vec![SpreadKey::Zone],
            trim_after: Duration::ZERO,
            ..Policy::new(Replicas::new(2, 3, 5)?)
        };
        let desired = Desired { policy, select: Select::All, stores: specs, others: vec![] };
        let (ledger, limits) = (Ledger::new(), Limits::default());
        let mut scene = Self { lab, account, keys, context, stores, desired, ledger, limits };
        // A new account's JetStream takes a moment to be known to all.
        wait_until("the buckets", SOON, async || {
            let (_, applied) = scene.pass().await;
            match scene.look().await.plan.findings.as_slice() {
                [] => Ok(()),
                findings => Err(format!("{findings:?} {:?}", applied.failed)),
            }
        })
        .await?;
        Ok(scene)
    }

    fn store(&self, node: &str) -> Result<&dyn Store> {
        Ok(self.stores.get(&node.parse::<StoreId>()?).ok_or("no such store")?.as_ref())
    }

    /// A bucket as anybody with the client library sees it.
    async fn stock(&self, node: &str) -> Result<jetstream::object_store::ObjectStore> {
        Ok(self.context.get_object_store(bucket(node)).await?)
    }

    async fn put(&self, node: &str, bytes: Vec<u8>) -> Result<Cid> {
        let attributes = Attributes::new().named("case").with("content-type", "text/plain");
        Ok(put_bytes(self.store(node)?, &attributes, bytes.into(), &self.limits).await?.cid)
    }

    async fn look(&mut self) -> Assessment {
        self.look_with(Rehash::Due).await
    }

    async fn look_with(&mut self, rehash: Rehash) -> Assessment {
        let (stores, desired, limits) = (&self.stores, &self.desired, &self.limits);
        let (ledger, now) = (&mut self.ledger, SystemTime::now().try_into().unwrap_or_default());
        let observed = observe(stores, desired, ledger, rehash, limits, now, &|_| {}).await;
        assess(desired, &observed, 3)
    }

    async fn act(&mut self, seen: &Assessment) -> Applied {
        let (stores, desired, limits) = (&self.stores, &self.desired, &self.limits);
        let (ledger, now) = (&mut self.ledger, SystemTime::now().try_into().unwrap_or_default());
        apply(&seen.plan, stores, desired, ledger, limits, "cases", now, &|_| {}).await
    }

    async fn pass(&mut self) -> (Assessment, Applied) {
        let seen = self.look().await;
        let applied = self.act(&seen).await;
        (seen, applied)
    }

    /// Has every object be as it is wanted; what was seen before, and done.
    async fn converge(&mut self) -> Result<(Assessment, Vec<Change>)> {
        let (seen, applied) = self.pass().await;
        if !applied.failed.is_empty() || !applied.deferred.is_empty() {
            return Err(format!("not done: {applied:?}").into());
        }
        let after = self.look().await;
        if !after.plan.is_empty() || after.stats.satisfied != after.stats.objects {
            return Err(format!("not made: {:?} {:?}", after.plan, after.stats).into());
        }
        Ok((seen, applied.done))
    }

    /// Has the account be gone, its buckets too.
    async fn remove(self) -> Outcome {
        push(self.lab, &self.account, &self.keys, true).await
    }
}

fn bucket(node: &str) -> String {
    format!("CAS_{}", node.to_uppercase())
}

/// Puts the account on all servers, or takes it from them.
async fn push(lab: &Lab, account: &Account, keys: &AccountKeys, gone: bool) -> Outcome {
    let nats = lab.nats()?;
    let operator: &OperatorBundle = nats.operator();
    let client =
        SystemClient::connect(&nats.urls(), operator.system_creds(), "cases", Deadlines::default())
            .await?;
    let system = operator.system_account_key();
    let observed = sync::observe(&client, &[keys.account()].into(), system).await?;
    let claims = compile(&[(account, keys)]).remove(&account.name).ok_or("not compiled")??;
    let deletion = Deletion { name: account.name.to_string(), purge: true };
    let mut desired = sync::Desired {
        signer: operator.signing().public(),
        servers: NODES.len(),
        accounts: [(keys.account(), claims)].into(),
        delete: BTreeMap::new(),
        issued: BTreeMap::new(),
        now: now(),
    };
    if gone {
        desired.accounts.clear();
        desired.delete = [(keys.account(), deletion)].into();
    }
    let plan = sync::plan(&desired, &observed)?;
    let servers: Vec<_> = observed.servers.into_iter().map(|state| state.server).collect();
    let applied = sync::apply(&client, operator.signing(), &servers, &plan).await?;
    assert_eq!(applied.failures, [], "{plan}");
    Ok(())
}

fn now() -> UnixTime {
    SystemTime::now().into()
}

/// A user that may do everything in the account, for an hour; connected to whichever server answers.
async fn connect(lab: &Lab, keys: &AccountKeys) -> Result<async_nats::Client> {
    let expires = now().plus(Duration::from_hours(1));
    let (seed, everything) = (UserSeed::generate()?, Permissions::default());
    let creds = plain_user(
        &keys.account(),
        keys.signing(),
        "cases",
        seed,
        everything,
        now(),
        Some(expires),
    )?;
    let options = ConnectOptions::with_credentials(&creds.reveal())?.retry_on_initial_connect();
    Ok(timeout(SOON, options.connect(lab.nats()?.urls())).await??)
}

/// Bytes that do not repeat.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..bytes).map(|_| next()).collect()
}
