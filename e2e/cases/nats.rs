//! Accounts, users and streams against three NATS servers: each case in an account of its own.

mod accounts;
mod asking;
mod away;
mod meddled;
mod streams;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use async_nats::{Client, ConnectOptions, Event, Subscriber};
use cim_e2e::lab::Lab;
use cim_nats::{
    Creds, OperatorBundle, UnixTime,
    account::{Access, Account, AccountKeys, compile},
    jwt::{AccountLimits, JetStreamLimits, Permissions},
    keys::{AccountKey, UserSeed},
    plain_user, scoped_user,
    sync::{self, Change, Deletion, Desired, Observed},
    system::{Deadlines, Lookup, Server, SystemClient},
};
use cim_plan::{DriftClass, Finding, Plan};
use futures::StreamExt;
use tokio::{sync::mpsc, time::timeout};

use crate::harness::Outcome;
pub(crate) use accounts::{
    a_changed_role_reaches_a_live_client, an_account_is_made_equal_on_all_servers,
    creds_do_what_they_may_and_nothing_else,
};
pub(crate) use asking::a_request_tells_nobody_from_silence_and_may_do_nothing_else;
pub(crate) use away::{
    a_deleted_account_stays_deleted_though_a_server_was_away,
    a_server_that_is_down_is_unverified_and_catches_up,
    nobody_there_is_an_error_that_names_whom_we_tried,
};
pub(crate) use meddled::{
    a_jwt_changed_by_hand_is_put_right, an_account_deleted_by_hand_comes_back,
    another_operator_is_refused_before_anything_is_pushed,
};
pub(crate) use streams::streams_are_made_repaired_and_those_of_others_left_alone;

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
