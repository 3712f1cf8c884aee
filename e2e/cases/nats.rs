//! Accounts, users and streams against three NATS servers: each case in an account of its own.

mod asking;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use async_nats::{Client, ConnectOptions, Event, Subscriber};
use cim_e2e::lab::{Lab, wait_until};
use cim_nats::{
    Creds, Error, OperatorBundle, UnixTime,
    account::{Access, Account, AccountKeys, Inbox, compile},
    jetstream::{self, AccountClient, KeyValue, Resource, Storage},
    jwt::{AccountLimits, Claims, DeleteBody, JetStreamLimits, Permissions, Token},
    keys::{AccountKey, OperatorSeed, UserSeed},
    login, plain_user, scoped_user,
    sync::{self, Change, Deletion, Desired, Observed},
    system::{Deadlines, Lookup, Server, SystemClient},
};
use cim_plan::{DriftClass, Finding, Plan};
use futures::StreamExt;
use tokio::{sync::mpsc, time::timeout};

pub(crate) use self::asking::a_request_tells_nobody_from_silence_and_may_do_nothing_else;
use crate::harness::Outcome;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SERVERS: usize = 3;
const ROLE: &str = "vault.api";
const ALLOWED: &str = "evt.vault.opened";
const ELSEWHERE: &str = "audit.vault";
const SOON: Duration = Duration::from_secs(30);

/// One account, its keys, and what its owner remembers.
struct Scene<'lab> {
    lab: &'lab Lab,
    client: SystemClient,
    account: Account,
    keys: AccountKeys,
    issued: BTreeMap<AccountKey, UnixTime>,
}

impl<'lab> Scene<'lab> {
    /// An account with one role that may publish `evt.vault.>`; not on any server yet.
    async fn new(lab: &'lab Lab, name: &str) -> Result<Self> {
        let limits =
            AccountLimits { jetstream: JetStreamLimits::unlimited(), ..AccountLimits::unlimited() };
        let mut account = Account::new(name.parse()?, limits);
        let access = Access { publish: vec!["evt.vault.>".parse()?], ..Access::default() };
        account.roles.insert(ROLE.parse()?, access);
        let mut keys = AccountKeys::generate()?;
        keys.set_roles(account.roles.keys())?;
        Ok(Self { lab, client: system(lab).await?, account, keys, issued: BTreeMap::new() })
    }

    /// The same, and the account is on all servers.
    async fn pushed(lab: &'lab Lab, name: &str) -> Result<Self> {
        let mut scene = Self::new(lab, name).await?;
        scene.converge().await?;
        Ok(scene)
    }

    fn operator(&self) -> Result<&'lab OperatorBundle> {
        Ok(self.lab.nats()?.operator())
    }

    fn key(&self) -> AccountKey {
        self.keys.account()
    }

    fn desired(&self) -> Result<Desired> {
        let mut compiled = compile(&[(&self.account, &self.keys)]);
        let claims = compiled.remove(&self.account.name).ok_or("not compiled")??;
        Ok(Desired {
            signer: self.operator()?.signing().public(),
            servers: SERVERS,
            accounts: [(self.key(), claims)].into(),
            delete: BTreeMap::new(),
            issued: self.issued.clone(),
            now: now(),
        })
    }

    async fn observe(&self) -> Result<Observed> {
        let system = self.operator()?.system_account_key();
        Ok(sync::observe(&self.client, &[self.key()].into(), system).await?)
    }

    async fn plan(&self, desired: &Desired) -> Result<Plan<Change>> {
        Ok(sync::plan(desired, &self.observe().await?)?)
    }

    /// Plans and applies; what differed.
    async fn apply(&mut self, desired: &Desired) -> Result<Vec<Finding>> {
        let observed = self.observe().await?;
        let plan = sync::plan(desired, &observed)?;
        let servers: Vec<Server> = observed.servers.into_iter().map(|s| s.server).collect();
        let applied =
            sync::apply(&self.client, self.operator()?.signing(), &servers, &plan).await?;
        assert_eq!(applied.failures, [], "{plan}");
        self.issued.extend(applied.issued);
        Ok(plan.findings)
    }

    /// Has the account be on all servers as it is wanted; what differed before.
    async fn converge(&mut self) -> Result<Vec<Finding>> {
        let findings = self.apply(&self.desired()?).await?;
        let left = self.plan(&self.desired()?).await?;
        // Accounts of other cases are unexpected here.
        let same = left.findings.iter().all(|finding| finding.class == DriftClass::Unexpected);
        if left.is_empty() && same {
            return Ok(findings);
        }
        Err(format!("{left}{:?}", left.findings).into())
    }

    /// Has the account be gone from all servers, its streams too.
    async fn remove(mut self) -> Outcome {
        let desired = self.deletion()?;
        self.apply(&desired).await?;
        assert!(self.observe().await?.is_gone(&self.key(), SERVERS));
        Ok(())
    }

    fn deletion(&self) -> Result<Desired> {
        let deletion = Deletion { name: self.account.name.to_string(), purge: true };
        let delete = [(self.key(), deletion)].into();
        Ok(Desired { accounts: BTreeMap::new(), delete, ..self.desired()? })
    }

    /// A user of the role.
    fn user(&self) -> Result<Creds> {
        let role = self.keys.role(&ROLE.parse()?).ok_or("the role has no key")?;
        Ok(scoped_user(&self.key(), role, "vault", UserSeed::generate()?, now(), None)?)
    }

    /// A user that may do everything in the account, for an hour.
    fn control(&self) -> Result<Creds> {
        let expires = now().plus(Duration::from_hours(1));
        let (user, everything) = (UserSeed::generate()?, Permissions::default());
        let signing = self.keys.signing();
        Ok(plain_user(&self.key(), signing, "control", user, everything, now(), Some(expires))?)
    }

    /// A user of the role on the first server, and what the account sees of it.
    async fn live(&self) -> Result<Live> {
        let (listener, _) = connect(self.lab, &self.control()?).await?;
        let heard = listener.subscribe(">").await?;
        // Only when this has come back does the server know of the subscription.
        listener.request("$SYS.REQ.USER.INFO", "".into()).await?;
        let (client, events) = connect(self.lab, &self.user()?).await?;
        Ok(Live { client, events, _listener: listener, heard })
    }
}

/// A client as any service has it, what happens to it, and what its account hears.
struct Live {
    client: Client,
    events: mpsc::Receiver<String>,
    _listener: Client,
    heard: Subscriber,
}

impl Live {
    /// Whether a message on `subject` passes. A second one, on a subject that is allowed, comes behind
    /// it and shows that it would have come by now.
    async fn may_publish(&mut self, subject: &str) -> Result<bool> {
        self.client.publish(subject.to_owned(), "it".into()).await?;
        self.client.publish(ALLOWED, "behind it".into()).await?;
        let mut passed = false;
        loop {
            let message =
                timeout(SOON, self.heard.next()).await?.ok_or("the listener is cut off")?;
            match &message.payload[..] {
                b"behind it" => return Ok(passed),
                _ => passed |= *message.subject == *subject,
            }
        }
    }

    /// Waits until the client is told something that contains `words`.
    async fn hears(&mut self, words: &str) -> Outcome {
        let told = async {
            while let Some(event) = self.events.recv().await {
                if event.contains(words) {
                    return Ok(());
                }
            }
            Err("the client has ended".into())
        };
        timeout(SOON, told).await.map_err(|_| format!("it was not told {words:?}"))?
    }
}

/// Connects to the first server and to no other, so that messages keep their order.
async fn connect(lab: &Lab, creds: &Creds) -> Result<(Client, mpsc::Receiver<String>)> {
    let (sender, events) = mpsc::channel(256);
    let tell = move |event: Event| {
        let sender = sender.clone();
        // Cases look soon; what no longer fits is repetition.
        async move { drop(sender.try_send(event.to_string())) }
    };
    let options = ConnectOptions::with_credentials(&creds.reveal())?
        .ignore_discovered_servers()
        .event_callback(tell);
    let url = lab.nats()?.urls().swap_remove(0);
    Ok((timeout(SOON, options.connect(url)).await??, events))
}

async fn system(lab: &Lab) -> Result<SystemClient> {
    let nats = lab.nats()?;
    let creds = nats.operator().system_creds();
    Ok(SystemClient::connect(&nats.urls(), creds, "cases", Deadlines::default()).await?)
}

fn now() -> UnixTime {
    SystemTime::now().into()
}

/// The only finding of a class.
fn only(findings: &[Finding], class: DriftClass) -> Result<&Finding> {
    let mut of_class = findings.iter().filter(|finding| finding.class == class);
    match (of_class.next(), of_class.next()) {
        (Some(finding), None) => Ok(finding),
        _ => Err(format!("not one finding {class}: {findings:?}").into()),
    }
}

/// The copies of the account's JWT, one per server that answered.
fn copies<'o>(observed: &'o Observed, key: &AccountKey) -> &'o [Lookup] {
    observed.accounts.get(key).map_or(&[], Vec::as_slice)
}

pub(crate) async fn an_account_is_made_equal_on_all_servers(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "made").await?;
    let findings = scene.converge().await?;
    let missing = only(&findings, DriftClass::Missing)?;
    assert_eq!(missing.expected.as_deref(), Some("on nats-a, nats-b, nats-c"));
    let observed = scene.observe().await?;
    let ids: Vec<_> = copies(&observed, &scene.key())
        .iter()
        .filter_map(|copy| copy.token().map(|token| token.claims().jti.clone()))
        .collect();
    assert_eq!(ids.len(), SERVERS);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(scene.plan(&scene.desired()?).await?.is_empty());
    scene.remove().await
}

pub(crate) async fn creds_do_what_they_may_and_nothing_else(lab: &Lab) -> Outcome {
    let mut scene = Scene::pushed(lab, "creds").await?;
    let mut live = scene.live().await?;
    assert!(live.may_publish("evt.vault.sealed").await?);
    assert!(!live.may_publish(ELSEWHERE).await?);
    live.hears("Permissions Violation for Publish to \"audit.vault\"").await?;
    let _secret = live.client.subscribe("cmd.vault.open").await?;
    live.hears("Permissions Violation for Subscription to \"cmd.vault.open\"").await?;

    // The server itself says what the user may, as soon as it has heard of a change.
    let urls = lab.nats()?.urls();
    for (inbox, subscribe) in [(Inbox::Private, "cmd.vault.>"), (Inbox::Shared, "cmd.> workers")] {
        let role = scene.account.roles.values_mut().next().ok_or("no role")?;
        let before = role.clone();
        role.inbox = inbox;
        role.subscribe = vec![subscribe.parse()?];
        let access = role.clone();
        scene.converge().await?;
        let login = login(&urls, &scene.user()?, Deadlines::default()).await?;
        assert_eq!(login.account, scene.key());
        assert!(login.is(&access), "{login:?}");
        assert!(!login.is(&before), "{login:?}");
    }
    scene.remove().await
}

pub(crate) async fn a_changed_role_reaches_a_live_client(lab: &Lab) -> Outcome {
    let mut scene = Scene::pushed(lab, "role").await?;
    let mut live = scene.live().await?;
    assert!(!live.may_publish(ELSEWHERE).await?);
    let role = scene.account.roles.values_mut().next().ok_or("no role")?;
    role.publish.push("audit.>".parse()?);
    let findings = scene.converge().await?;
    let found = format!("{:?}", only(&findings, DriftClass::Changed)?);
    assert!(found.contains("signing_keys[vault.api].template.pub.allow[audit.>]"), "{found}");
    // The client is cut off for a moment and comes back with the credentials that it has.
    wait_until("the new permission to hold", SOON, async || {
        match live.may_publish(ELSEWHERE).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("refused".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await?;
    // Without its signing key a role is nobody's.
    scene.account.roles.clear();
    scene.converge().await?;
    live.hears("disconnected").await?;
    scene.remove().await
}

pub(crate) async fn an_account_deleted_by_hand_comes_back(lab: &Lab) -> Outcome {
    let mut scene = Scene::pushed(lab, "deleted").await?;
    let mut live = scene.live().await?;

    // From all servers, by somebody who has the operator's key.
    let signing = scene.operator()?.signing();
    let body = DeleteBody { accounts: vec![scene.key()] };
    let token = Token::sign(Claims::new("", signing.public(), body), now(), signing)?;
    let acks = scene.client.delete(&token, SERVERS).await?;
    assert_eq!(acks.iter().filter(|ack| ack.outcome.is_ok()).count(), SERVERS);
    live.hears("disconnected").await?;
    only(&scene.converge().await?, DriftClass::Missing)?;
    live.hears("connected").await?;
    assert!(live.may_publish("evt.vault.sealed").await?);

    // From one, by somebody who has its disk.
    let server = &lab.nats()?.servers()[1];
    let file = server.dir().join("resolver").join(format!("{}.jwt", scene.key()));
    std::fs::remove_file(&file)?;
    let findings = scene.converge().await?;
    let missing = only(&findings, DriftClass::Missing)?;
    assert_eq!(missing.expected.as_deref(), Some("on nats-b"));
    assert!(file.exists());
    scene.remove().await
}

pub(crate) async fn a_jwt_changed_by_hand_is_put_right(lab: &Lab) -> Outcome {
    let mut scene = Scene::pushed(lab, "changed").await?;
    let desired = scene.desired()?;
    let signing = scene.operator()?.signing();
    let mut theirs = desired.accounts[&scene.key()].clone();
    theirs.nats.limits.conn = 1;
    // Much later than ours: what follows must be later still.
    let later = now().plus(Duration::from_hours(24));
    let token = Token::sign(theirs, later, signing)?;
    scene.client.push(&[token], SERVERS).await?;
    let findings = scene.converge().await?;
    let changed = only(&findings, DriftClass::Changed)?;
    assert_eq!(changed.found.as_deref(), Some("limits.conn 1"));
    assert_eq!(scene.issued[&scene.key()], later.next());

    // Rubbish on one disk is not read by anybody until somebody needs it.
    let server = &lab.nats()?.servers()[2];
    let file = server.dir().join("resolver").join(format!("{}.jwt", scene.key()));
    std::fs::write(&file, "rubbish")?;
    only(&scene.converge().await?, DriftClass::Changed)?;
    scene.remove().await
}

pub(crate) async fn another_operator_is_refused_before_anything_is_pushed(lab: &Lab) -> Outcome {
    let scene = Scene::pushed(lab, "rogue").await?;
    let before = scene.observe().await?;
    let rogue = OperatorSeed::generate()?;
    let desired = Desired { signer: rogue.public(), ..scene.desired()? };
    let plan = scene.plan(&desired).await?;
    assert!(plan.is_empty(), "{plan}");
    let refusals: Vec<_> = plan
        .findings
        .iter()
        .filter(|finding| finding.subject.ends_with("trusted operator keys"))
        .map(|finding| (finding.expected.as_deref(), finding.found.as_deref()))
        .collect();
    let signing = scene.operator()?.signing().public();
    assert_eq!(refusals, [(Some(rogue.public().as_str()), Some(signing.as_str())); SERVERS]);

    // Why this matters: the servers would have taken it, and answered that all is well.
    let theirs = desired.accounts[&scene.key()].clone();
    let acks = scene.client.push(&[Token::sign(theirs, now(), &rogue)?], SERVERS).await?;
    assert!(acks[0].iter().all(|ack| ack.outcome.is_ok()), "{acks:?}");
    assert_ne!(scene.observe().await?.accounts, before.accounts);
    let mut scene = scene;
    only(&scene.converge().await?, DriftClass::Changed)?;
    scene.remove().await
}

pub(crate) async fn a_server_that_is_down_is_unverified_and_catches_up(lab: &Lab) -> Outcome {
    let mut scene = Scene::pushed(lab, "down").await?;
    let server = &lab.nats()?.servers()[2];
    server.kill().await?;
    let fewer = async || match scene.observe().await {
        Ok(observed) if observed.servers.len() < SERVERS => Ok(()),
        Ok(_) => Err("it still answers".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    wait_until("two servers to be left", SOON, fewer).await?;
    scene.account.description = "changed while a server was down".into();
    scene.apply(&scene.desired()?).await?;
    let plan = scene.plan(&scene.desired()?).await?;
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(plan.count(DriftClass::Unverified), 1);
    assert_eq!(plan.count(DriftClass::Missing), 0, "what does not answer is not missing");
    server.restart().await?;
    wait_until("it to be as the others", SOON, async || match scene.converge().await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    })
    .await?;
    scene.remove().await
}

pub(crate) async fn nobody_there_is_an_error_that_names_whom_we_tried(lab: &Lab) -> Outcome {
    let creds = lab.nats()?.operator().system_creds();
    let nobody = ["nats://127.0.0.1:1".to_owned()];
    let error = SystemClient::connect(&nobody, creds, "cases", Deadlines::default()).await;
    let Err(error @ Error::Unreachable { .. }) = error else { return Err("it is there".into()) };
    assert!(error.to_string().contains("nats://127.0.0.1:1"), "{error}");

    // Another operator's user is refused, and does not wait for ever.
    let stranger = OperatorBundle::generate("stranger", now())?;
    let urls = lab.nats()?.urls();
    let creds = stranger.system_creds();
    let error = SystemClient::connect(&urls, creds, "cases", Deadlines::default()).await;
    let error = error.err().ok_or("a stranger was let in")?.to_string();
    assert!(error.contains("authorization violation"), "{error}");

    // A user of an account that is not the system's can ask nothing.
    let scene = Scene::pushed(lab, "asker").await?;
    let deadlines = Deadlines::default();
    let client = SystemClient::connect(&urls, &scene.control()?, "cases", deadlines).await?;
    let error = client.servers().await.err().ok_or("it was answered")?.to_string();
    assert!(error.contains("system account"), "{error}");
    scene.remove().await
}

pub(crate) async fn a_deleted_account_stays_deleted_though_a_server_was_away(lab: &Lab) -> Outcome {
    let mut scene = Scene::pushed(lab, "ghost").await?;
    let mut live = scene.live().await?;
    let server = &lab.nats()?.servers()[2];
    server.kill().await?;
    let deletion = scene.deletion()?;
    let plan = wait_until("two servers to be left", SOON, async || {
        let plan = scene.plan(&deletion).await.map_err(|error| error.to_string())?;
        if plan.changes.len() == 1 { Ok(plan) } else { Err(plan.to_string()) }
    })
    .await?;
    let [Change::Tombstone { .. }] = plan.changes.as_slice() else {
        return Err(format!("deleted while a server is away:\n{plan}").into());
    };
    scene.apply(&deletion).await?;
    // Users are out at once, whatever the server that is away may think.
    live.hears("disconnected").await?;
    server.restart().await?;
    wait_until("all servers to have let go", SOON, async || -> Outcome {
        scene.apply(&scene.deletion()?).await?;
        let gone = scene.observe().await?.is_gone(&scene.key(), SERVERS);
        if gone { Ok(()) } else { Err("not yet".into()) }
    })
    .await?;
    Ok(())
}

pub(crate) async fn streams_are_made_repaired_and_those_of_others_left_alone(lab: &Lab) -> Outcome {
    let scene = Scene::pushed(lab, "streams").await?;
    let urls = lab.nats()?.urls();
    let client =
        AccountClient::connect(&urls, &scene.control()?, "cases", Deadlines::default()).await?;
    let bucket = |name: &str, replicas| -> Result<Resource> {
        let (name, storage) = (name.parse()?, Storage::File);
        let bucket = KeyValue { name, history: 1, ttl: None, storage, replicas, max_bytes: None };
        Ok(Resource::KeyValue(bucket))
    };
    let desired = jetstream::Desired {
        owner: "default/vault".into(),
        resources: vec![bucket("CFG", 3)?],
        adopt: [].into(),
    };
    let converge = async |desired: &jetstream::Desired| -> Result<Plan<jetstream::Change>> {
        let plan = jetstream::plan(desired, &client.observe().await?)?;
        assert_eq!(jetstream::apply(&client, &plan).await?, []);
        Ok(plan)
    };
    // A new account's JetStream takes a moment to be known to all.
    wait_until("the bucket to be made", SOON, async || match converge(&desired).await {
        Ok(plan) if plan.is_empty() && plan.findings.is_empty() => Ok(()),
        Ok(plan) => Err(plan.to_string()),
        Err(error) => Err(error.to_string()),
    })
    .await?;

    // Somebody shrinks it.
    let (by_hand, _) = connect(lab, &scene.control()?).await?;
    let found = client.observe().await?;
    let mut config = found.streams["KV_CFG"].config.clone();
    config.insert("max_bytes".into(), 4096.into());
    let body = serde_json::to_vec(&config)?;
    by_hand.request("$JS.API.STREAM.UPDATE.KV_CFG", body.into()).await?;
    let plan = converge(&desired).await?;
    assert_eq!(plan.findings[0].found.as_deref(), Some("max_bytes 4096"));
    assert!(converge(&desired).await?.is_empty());

    // Another service wants the same name.
    let other = jetstream::Desired { owner: "default/other".into(), ..desired.clone() };
    let plan = converge(&other).await?;
    assert!(plan.is_empty());
    assert_eq!(plan.findings[0].found.as_deref(), Some("exists, made by default/vault"));

    // What nobody wants any more stays, with its messages.
    let none = jetstream::Desired { resources: vec![], ..desired };
    assert_eq!(converge(&none).await?.count(DriftClass::Unexpected), 1);
    assert!(client.observe().await?.streams.contains_key("KV_CFG"));
    scene.remove().await
}
