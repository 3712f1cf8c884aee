//! Copies of objects in three JetStream object stores, one on each server: each case in an account of
//! its own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_nats::{ConnectOptions, HeaderMap, jetstream};
use cim_comms::{
    About, ClaimStore, Envelope, Error as CommsError, Kind, Outbox, Payload, Route, Stamp,
};
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
    Applied, Assessment, Attributes, Change, Cid, Desired, Hasher, Item, Ledger, Limits, Policy,
    Profile, Rehash, Replicas, Select, SpreadKey, Store, StoreId, StoreSpec, Stores, StrayKind,
    apply, assess, observe, put_bytes,
    store::jetstream::{Bucket, JetStreamStore},
};
use cim_plan::DriftClass;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt, time::timeout};

use crate::harness::Outcome;

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

/// Small, exactly one block, and of several blocks.
fn bodies() -> [Vec<u8>; 4] {
    [Vec::new(), b"hello world".to_vec(), noise(1 << 20, 1), noise(3_000_000, 2)]
}

pub(crate) async fn copies_are_made_and_anybody_can_read_them(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "copies").await?;
    let mut cids = Vec::new();
    for body in bodies() {
        cids.push(scene.put("a", body).await?);
    }
    let (seen, done) = scene.converge().await?;
    assert_eq!((seen.stats.verified, seen.plan.count(DriftClass::Missing)), (4, 4));
    assert_eq!(done.len(), 8);
    let stats = scene.look().await.stats;
    assert_eq!((stats.verified, stats.missing, stats.satisfied), (12, 0, 4));
    for node in NODES {
        let stock = scene.stock(node).await?;
        for (cid, body) in cids.iter().zip(bodies()) {
            let mut read = Vec::new();
            stock.get(cid.to_string()).await?.read_to_end(&mut read).await?;
            assert_eq!(read.len(), body.len());
            assert_eq!(read, body, "the client library reads other bytes of {cid} in {node}");
            let info = stock.info(cid.to_string()).await?;
            assert_eq!(info.metadata.get("name").map(String::as_str), Some("case"));
        }
    }
    // Each bucket is where its tag puts it.
    for node in NODES {
        let info = scene.context.get_stream(format!("OBJ_{}", bucket(node))).await?;
        let leader = info.cached_info().cluster.as_ref().and_then(|c| c.leader.clone());
        assert_eq!(leader, Some(format!("nats-{node}")));
    }
    scene.remove().await
}

pub(crate) async fn an_object_of_another_client_gets_its_copies(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "stock").await?;
    let body = noise(2_500_000, 3);
    let mut hasher = Hasher::new(Profile::V1_2025);
    hasher.update(&body);
    let cid = hasher.finish().cid;
    scene.stock("b").await?.put(cid.to_string().as_str(), &mut body.as_slice()).await?;
    // Something that is not named by a CID is somebody else's.
    scene.stock("b").await?.put("notes.txt", &mut &b"mine"[..]).await?;
    let (_, done) = scene.converge().await?;
    assert_eq!(done.len(), 2);
    let seen = scene.look().await;
    assert_eq!((seen.stats.objects, seen.stats.verified), (1, 3));
    assert_eq!(seen.plan.count(DriftClass::Unexpected), 1);
    assert!(scene.stock("b").await?.info("notes.txt").await.is_ok());
    scene.remove().await
}

pub(crate) async fn a_damaged_copy_is_repaired_from_a_good_one(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "damaged").await?;
    let body = noise(3_000_000, 4);
    let cid = scene.put("a", body.clone()).await?;
    scene.converge().await?;
    let head = async |scene: &Scene<'_>, node: &str| -> Result<_> {
        Ok(scene.store(node)?.head(&cid).await?.ok_or("no copy")?.version)
    };
    let ways: [&str; 4] = ["a chunk is gone", "a chunk is another", "overwritten", "unreadable"];
    for (node, way) in ["a", "b", "c", "a"].into_iter().zip(ways) {
        let version = head(&scene, node).await?;
        let stream = scene.context.get_stream(format!("OBJ_{}", bucket(node))).await?;
        match way {
            "a chunk is gone" => drop(stream.delete_message(version.tail - 2).await?),
            "a chunk is another" => {
                // Same size, same place, one bit: only reading finds that it is wrong.
                let last = stream.get_raw_message(version.tail).await?;
                stream.delete_message(version.tail).await?;
                let mut payload = last.payload.to_vec();
                payload[0] ^= 1;
                scene.context.publish(last.subject, payload.into()).await?.await?;
            }
            "overwritten" => {
                let other = &b"something else"[..];
                drop(scene.stock(node).await?.put(cid.to_string().as_str(), &mut { other }).await?);
            }
            _ => {
                let meta = stream.get_raw_message(version.head).await?;
                scene.context.publish(meta.subject, "not json".into()).await?.await?;
            }
        }
        let (seen, done) = scene.converge().await?;
        assert_eq!((seen.stats.corrupt, seen.plan.count(DriftClass::Changed)), (1, 1), "{way}");
        assert!(matches!(&done[..], [Change::Repair { .. }]), "{way}: {done:?}");
        let mut read = Vec::new();
        scene.stock(node).await?.get(cid.to_string()).await?.read_to_end(&mut read).await?;
        assert_eq!(read, body, "{way}");
    }

    // What was damaged was moved aside first, and goes once nobody looks at it any more.
    let quarantined = async |scene: &Scene<'_>| -> Result<usize> {
        let mut count = 0;
        for node in NODES {
            let mut each = |item| {
                if let Item::Stray(stray) = item {
                    count += usize::from(matches!(stray.kind, StrayKind::Quarantined { .. }));
                }
            };
            scene.store(node)?.list(&mut each).await?;
        }
        Ok(count)
    };
    assert_eq!(quarantined(&scene).await?, 3);
    scene.desired.policy.trash = Duration::ZERO;
    let (_, done) = scene.converge().await?;
    assert!(done.iter().all(|change| matches!(change, Change::Expunge { .. })), "{done:?}");
    assert_eq!((done.len(), quarantined(&scene).await?), (3, 0));
    scene.remove().await
}

pub(crate) async fn a_missing_copy_is_made_again(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "missing").await?;
    let cid = scene.put("a", noise(700_000, 5)).await?;
    scene.converge().await?;
    scene.stock("a").await?.delete(cid.to_string()).await?;
    let (seen, done) = scene.converge().await?;
    assert_eq!((seen.stats.missing, done.len()), (1, 1));
    scene.context.get_stream("OBJ_CAS_B").await?.purge().await?;
    let (seen, done) = scene.converge().await?;
    assert_eq!((seen.stats.missing, done.len()), (1, 1));
    scene.context.delete_stream("OBJ_CAS_C").await?;
    let (seen, done) = scene.converge().await?;
    assert_eq!(seen.plan.count(DriftClass::Missing), 2, "a bucket and a copy");
    assert!(matches!(&done[..], [Change::CreateStore { .. }, Change::Copy { .. }]), "{done:?}");
    scene.remove().await
}

pub(crate) async fn when_no_good_copy_is_left_nothing_is_removed(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "lost").await?;
    let body = noise(700_000, 6);
    let cid = scene.put("a", body.clone()).await?;
    scene.converge().await?;
    for node in NODES {
        scene.stock(node).await?.put(cid.to_string().as_str(), &mut &b"other"[..]).await?;
    }
    let (seen, applied) = scene.pass().await;
    assert_eq!((seen.stats.lost, seen.stats.corrupt), (1, 3));
    assert!(applied.done.is_empty() && applied.failed.is_empty(), "{applied:?}");
    let said = seen.plan.findings.iter().filter_map(|finding| finding.found.as_deref());
    assert!(said.into_iter().any(|said| said.contains("LOST")), "{:?}", seen.plan.findings);
    for node in NODES {
        let size = scene.stock(node).await?.info(cid.to_string()).await?.size;
        assert_eq!(size, 5, "what is left in {node} was touched");
    }
    // Whoever still has it puts it again.
    assert_eq!(scene.put("b", body).await?, cid);
    let (_, done) = scene.converge().await?;
    assert_eq!(done.len(), 2);
    scene.remove().await
}

pub(crate) async fn a_stopped_server_is_unknown_and_nothing_is_trimmed(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "stopped").await?;
    let cid = scene.put("a", noise(700_000, 7)).await?;
    scene.converge().await?;
    let server = &lab.nats()?.servers()[2];
    server.kill().await?;
    let (seen, applied) = scene.pass().await;
    let stats = &seen.stats;
    assert_eq!((stats.verified, stats.unknown, stats.missing, stats.lost), (2, 1, 0, 0));
    assert_eq!(seen.plan.count(DriftClass::Unverified), 1, "{:?}", seen.plan.findings);
    assert!(applied.done.is_empty(), "{applied:?}");

    // Fewer copies would do now. As long as a store is unknown, none goes.
    scene.desired.policy.replicas = Replicas::new(1, 1, 1)?;
    let (seen, applied) = scene.pass().await;
    assert_eq!(seen.stats.surplus, 1, "{:?}", seen.plan.findings);
    assert!(seen.plan.is_empty() && applied.done.is_empty(), "{applied:?}");
    server.restart().await?;
    let known = async || {
        let seen = scene.look().await;
        if seen.stats.unknown == 0 { Ok(seen) } else { Err(format!("{:?}", seen.stats)) }
    };
    wait_until("the store to be known again", SOON, known).await?;
    let (_, done) = scene.converge().await?;
    assert!(done.iter().all(|change| matches!(change, Change::Trim { .. })), "{done:?}");
    let mut left = 0;
    for node in NODES {
        left += usize::from(scene.store(node)?.head(&cid).await?.is_some());
    }
    assert_eq!((done.len(), left), (2, 1));
    scene.remove().await
}

pub(crate) async fn a_copy_that_another_controller_relies_on_stays(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "locked").await?;
    let cid = scene.put("a", b"hello world".to_vec()).await?;
    scene.converge().await?;
    let lock = scene.store("b")?.lock(&cid, "another", Duration::from_mins(5)).await?;
    let again = scene.store("b")?.lock(&cid, "cases", Duration::from_mins(5)).await;
    let refused = again.err().ok_or("a copy was locked twice")?.to_string();
    assert!(refused.contains("locked by another until "), "{refused}");
    scene.desired.policy.replicas = Replicas::new(2, 2, 2)?;
    let (seen, applied) = scene.pass().await;
    assert_eq!((seen.plan.changes.len(), applied.done.len()), (1, 0));
    assert!(scene.store("b")?.head(&cid).await?.is_some());
    scene.store("b")?.unlock(lock).await?;
    let (_, done) = scene.converge().await?;
    assert_eq!(done.len(), 1);
    scene.remove().await
}

/// Nothing that the server is asked shows this; reading does.
pub(crate) async fn rot_on_the_disk_is_found_by_reading(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "rot").await?;
    scene.put("a", noise(3_000_000, 8)).await?;
    scene.converge().await?;
    // A server that was stopped in order trusts its index, and has nothing in memory.
    let server = &lab.nats()?.servers()[0];
    server.stop().await?;
    flip_a_bit_of("OBJ_CAS_A", &server.dir().join("jetstream"))?;
    server.restart().await?;
    let known = async || match scene.look().await.stats {
        stats if stats.unknown == 0 => Ok(stats),
        stats => Err(format!("{stats:?}")),
    };
    let stats = wait_until("the store to be known again", SOON, known).await?;
    assert_eq!(
        (stats.verified, stats.corrupt),
        (3, 0),
        "unchanged stores are read when it is time"
    );
    let seen = scene.look_with(Rehash::All).await;
    assert_eq!((seen.stats.verified, seen.stats.corrupt), (2, 1));
    let applied = scene.act(&seen).await;
    assert!(matches!(&applied.done[..], [Change::Repair { .. }]), "{applied:?}");
    assert_eq!(scene.look_with(Rehash::All).await.stats.satisfied, 1);
    scene.remove().await
}

/// Changes one bit in the middle of the largest block of the stream `name` below `dir`.
fn flip_a_bit_of(name: &str, dir: &Path) -> Outcome {
    let mut dirs = vec![dir.to_owned()];
    let mut largest: Option<(u64, PathBuf)> = None;
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let size = path.metadata()?.len();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "blk")
                && path.components().any(|part| part.as_os_str() == name)
                && largest.as_ref().is_none_or(|(most, _)| *most < size)
            {
                largest = Some((size, path));
            }
        }
    }
    let (_, path) = largest.ok_or_else(|| format!("no block of {name} in {}", dir.display()))?;
    let mut bytes = std::fs::read(&path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(std::fs::write(&path, bytes)?)
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Scanned {
    page: String,
}

impl Payload for Scanned {
    const KIND: Kind = Kind::Event;
    const TYPE: &'static str = "PageScanned";
    const SCHEMA: u32 = 1;
}

pub(crate) async fn large_messages_travel_by_reference(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "messages").await?;
    let config = jetstream::stream::Config {
        name: "EVENTS_HOME".into(),
        subjects: vec!["evt.home.>".into()],
        ..Default::default()
    };
    scene.context.create_stream(config).await?;
    let store = Arc::clone(scene.stores.get(&"a".parse::<StoreId>()?).ok_or("no store")?);
    let claims = ClaimStore::new(store, bucket("a"), ClaimStore::THRESHOLD, ClaimStore::MAX);
    let outbox = Outbox::new(scene.context.clone(), Some(claims), SOON);
    let plain = Outbox::new(scene.context.clone(), None, SOON);
    let route = Route { domain: "home".parse()?, aggregate: "scan".parse()?, id: "7".parse()? };
    let about = About { route, owner: "home".parse()?, source: "scanner".parse()? };
    let page = |letters| Scanned { page: "x".repeat(letters) };

    let root = Envelope::root(Stamp::now(), about.clone(), page(100));
    // The stream is new, and a message before it is known to all would find nobody.
    let first = wait_until("the stream", SOON, async || outbox.publish(&root).await).await?;
    let again = outbox.publish(&root).await?;
    assert_eq!((again.sequence, again.duplicate), (first.sequence, true));
    let caused = root.cause(Stamp::now(), about.clone(), page(2 << 20));
    let sent = outbox.publish(&caused).await?;
    assert_eq!(outbox.fetch::<Scanned>("EVENTS_HOME", first.sequence).await?, root);
    assert_eq!(outbox.fetch::<Scanned>("EVENTS_HOME", sent.sequence).await?, caused);
    let stream = scene.context.get_stream("EVENTS_HOME").await?;
    let raw = stream.get_raw_message(sent.sequence).await?;
    assert!(raw.payload.len() < 1000, "{} bytes travelled", raw.payload.len());
    let cid: Cid = header(&raw.headers, "CIM-Content-Cid")?.parse()?;
    assert_eq!(header(&raw.headers, "CIM-Correlation-Id")?, root.stamp.id.to_string());

    // The content is an object like any other: it gets its copies.
    let (seen, _) = scene.converge().await?;
    assert_eq!((seen.stats.objects, scene.look().await.stats.verified), (1, 3));
    let mut names = scene.stock("c").await?.list().await?;
    assert_eq!(names.next().await.ok_or("no object")??.name, cid.to_string());

    let lonely = plain.fetch::<Scanned>("EVENTS_HOME", sent.sequence).await;
    assert!(matches!(lonely, Err(CommsError::NoStore { .. })), "{lonely:?}");
    let large = plain.publish(&Envelope::root(Stamp::now(), about, page(2 << 20))).await;
    assert!(matches!(large, Err(CommsError::TooLarge { .. })), "{large:?}");
    scene.remove().await
}

fn header(headers: &HeaderMap, name: &str) -> Result<String> {
    Ok(headers.get(name).ok_or_else(|| format!("no header {name}"))?.to_string())
}
