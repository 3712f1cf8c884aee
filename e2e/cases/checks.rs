//! Checks, each made by the real controller of something real, and what they decide.
//!
//! ```text
//! tls        a certificate authority, and servers with good and bad certificates
//! kinds      objects with checks of each kind, and what must be said of them
//! answering  somebody who answers requests, well or badly
//! ```

mod answering;
mod kinds;
mod tls;

use std::{error::Error, time::Duration};

use cim_e2e::{
    home::{HOME, Home, Object},
    story::{complete, phase},
};
use serde_json::{Value, json};

use self::{
    answering::{Answering, HEALTH},
    kinds::{ADDRESS, LABEL},
    tls::Authority,
};
use crate::harness::Outcome;

type Try<T> = Result<T, Box<dyn Error + Send + Sync>>;

const NAMESPACE: &str = HOME.namespace;
const SOON: Duration = Duration::from_mins(3);

pub(crate) async fn each_kind_says_what_it_found(home: &Home) -> Outcome {
    let host = home.lab().host(1)?;
    host.exec(&format!("ip address replace {ADDRESS}/24 dev host0")).await?;
    let ours = Authority::found(host, "ours").await?;
    let others = Authority::found(host, "others").await?;
    ours.serve(host).await?;
    let answering = Answering::begin(home).await?;
    let objects = kinds::objects(host.host_key(), &ours.certificate, &others.certificate);
    home.kubectl().apply(&objects.to_string()).await?;

    let mut wrong = Vec::new();
    for (kind, name, condition, status, words) in kinds::SAID {
        let what = format!("{kind} {name} to be {condition}={status} with {words:?}");
        let said = home.eventually(&what, SOON, async || {
            let object = home.object(kind, name).await.map_err(|error| error.to_string())?;
            told(&object, condition, status, words)
        });
        wrong.extend(said.await.err().map(|error| error.to_string()));
    }
    // No authority of the controller's own system vouches for ours either.
    let refused = home.object("services", "not-well").await?;
    let message = refused.condition("Available").map_or("", |(_, _, message)| message);
    let untrusted = message.matches("an authority that is not trusted here").count();
    if untrusted != 2 {
        wrong.push(format!(
            "{untrusted} of 2 certificates were refused for their issuer: {message}"
        ));
    }
    answering.end();
    let selector = format!("--selector={LABEL}");
    let gone = ["delete", "cim,secrets", "--namespace", NAMESPACE, &selector, "--timeout=60s"];
    home.kubectl().run(&gone).await?;
    tls::stop(host).await?;
    host.exec(&format!("ip address delete {ADDRESS}/24 dev host0")).await?;
    names_may_go(home).await?;
    home.all_ready(SOON).await?;
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

pub(crate) async fn a_release_is_kept_only_if_a_request_is_answered_well(home: &Home) -> Outcome {
    home.all_ready(SOON).await?;
    let host = home.lab().host(1)?;
    // It answers what host1 runs says, as a service of the release would.
    let answering = Answering::begin(home).await?;
    let before = home.object("machines", "host1").await?.spec()["activation"].clone();
    let request = json!({"nats": {
        "account": "comms", "subject": HEALTH, "replyContains": "hello", "timeout": "2s",
    }});
    let activation =
        json!({"checks": [{"http": {"port": 8080}}, request], "confirmTimeout": "15s"});
    patch(home, "machines", "host1", &json!({"spec": {"activation": activation}})).await?;
    home.reconcile("machines", "host1").await?;

    let (revision, _) = home.release().await?;
    complete(home, "core", &revision).await?;
    let kept = host.current_system().await?;

    let bad = home.repository().commit("Goodbye", &[("message", "goodbye\n")]).await?;
    let cluster = phase(home, "core", "Aborted").await?;
    assert_eq!(cluster.status()["release"]["rev"], *bad);
    home.eventually("host1 to say why it went back", SOON, async || {
        let machine = home.object("machines", "host1").await.map_err(|e| e.to_string())?;
        let said = machine.status()["failed"]["message"].as_str().unwrap_or_default();
        let why = "NATS request qry.host1.health: the reply \"host1: goodbye\" does not contain";
        if said.contains(why) { Ok(()) } else { Err(said.to_owned()) }
    })
    .await?;
    assert_eq!(host.current_system().await?, kept, "host1 runs what nobody confirmed");

    let (revision, _) = home.release().await?;
    complete(home, "core", &revision).await?;
    answering.end();
    patch(home, "machines", "host1", &json!({"spec": {"activation": before}})).await?;
    Ok(home.all_ready(SOON).await?)
}

pub(crate) async fn the_next_wave_waits_for_the_services(home: &Home) -> Outcome {
    home.all_ready(SOON).await?;
    let (first, second) = (home.lab().host(1)?, home.lab().host(2)?);
    let before = home.object("services", "web").await?.spec()["checks"].clone();
    let command = json!({"command": {"argv": ["test", "!", "-e", "/tmp/web-is-ill"]}});
    let checks = json!([{"http": {"port": 8080}}, command]);
    patch(home, "services", "web", &json!({"spec": {"checks": checks}})).await?;
    let made = async |name: &str, troubles: usize| -> Try<()> {
        let generation = async || home.object("services", "web").await;
        home.eventually(&format!("{name} to see {troubles} troubles of web"), SOON, async || {
            let web = generation().await.map_err(|error| error.to_string())?;
            let machine = home.object("machines", name).await.map_err(|error| error.to_string())?;
            let seen = machine.status()["services"][0].clone();
            let found = seen["troubles"].as_array().map_or(0, Vec::len);
            let present = seen["generation"] == web.status()["observedGeneration"];
            if present && found == troubles { Ok(()) } else { Err(seen.to_string()) }
        })
        .await?;
        Ok(())
    };
    made("host1", 0).await?;
    made("host2", 0).await?;
    home.all_ready(SOON).await?;

    first.exec("touch /tmp/web-is-ill").await?;
    let ran = second.current_system().await?;
    let (revision, message) = home.release().await?;
    home.eventually("the first wave to be held by web", SOON, async || {
        let cluster = home.object("clusters", "core").await.map_err(|e| e.to_string())?;
        let machine = home.object("machines", "host1").await.map_err(|e| e.to_string())?;
        let rollout = &cluster.status()["rollout"];
        let new = cluster.status()["release"]["rev"] == revision && machine.is("InSync");
        let said = first.website().await.map_err(|error| error.to_string())?;
        let named = rollout["message"].as_str().is_some_and(|it| it.contains("web on host1"));
        if new && named && said.contains(&message) && machine.is("Healthy") {
            return Ok(());
        }
        Err(format!("{machine}; {rollout}"))
    })
    .await?;
    made("host1", 1).await?;
    // Asked again, the answer is the same: it is not that nobody has looked yet.
    for (kind, name) in [("machines", "host1"), ("services", "web"), ("clusters", "core")] {
        home.reconcile(kind, name).await?;
    }
    // One of two is as many as may lack, and still it says which.
    let web = home.object("services", "web").await?;
    told(&web, "Available", "True", &["Machine host1: command test: exit 1"])?;
    assert_eq!(second.current_system().await?, ran, "the second wave has begun");
    let cluster = home.object("clusters", "core").await?;
    assert_eq!(cluster.status()["rollout"]["wave"], 0, "{}", cluster.status()["rollout"]);

    first.exec("rm /tmp/web-is-ill").await?;
    complete(home, "core", &revision).await?;
    patch(home, "services", "web", &json!({"spec": {"checks": before}})).await?;
    Ok(home.all_ready(SOON).await?)
}

/// They are many for a small zone: the Domain waits for somebody who means it.
async fn names_may_go(home: &Home) -> Outcome {
    let confirm = home.eventually("the Domain to ask about its names", SOON, async || {
        let domain = home.object("domains", "example-com").await.map_err(|e| e.to_string())?;
        let ready = domain.condition("Ready");
        let held = ready.filter(|(_, reason, _)| *reason == "DeletionHeld");
        let token = held.and_then(|(.., message)| message.split_once("cim.dev/confirm="));
        let token = token.map(|(_, rest)| rest.split(|c: char| !c.is_ascii_hexdigit()).next());
        token.flatten().map(str::to_owned).ok_or_else(|| domain.to_string())
    });
    let confirm = format!("cim.dev/confirm={}", confirm.await?);
    let words = ["annotate", "--overwrite", "--namespace", NAMESPACE, "domain.cim.dev"];
    home.kubectl().run(&[&words[..], &["example-com", &confirm]].concat()).await?;
    home.all_ready(SOON).await?;
    home.kubectl().run(&[&words[..], &["example-com", "cim.dev/confirm-"]].concat()).await?;
    Ok(())
}

/// What a condition says instead, unless it is what it must be and has all `words`.
fn told(object: &Object, condition: &str, status: &str, words: &[&str]) -> Result<(), String> {
    let Some((is, reason, message)) = object.condition(condition) else {
        return Err(format!("{object}: no condition {condition}"));
    };
    let missing: Vec<_> = words.iter().filter(|word| !message.contains(**word)).collect();
    if is == status && missing.is_empty() {
        return Ok(());
    }
    Err(format!("{is} ({reason}: {message}), without {missing:?}"))
}

async fn patch(home: &Home, kind: &str, name: &str, patch: &Value) -> Outcome {
    let (kind, patch) = (format!("{kind}.cim.dev"), patch.to_string());
    let words = ["patch", &kind, name, "--namespace", NAMESPACE, "--type=merge", "-p", &patch];
    home.kubectl().run(&words).await?;
    Ok(())
}
