//! What was applied has become true outside: looked at from outside, not in a status.

use std::time::Duration;

use async_nats::ConnectOptions;
use futures::StreamExt;
use tokio::{sync::mpsc, time::timeout};

use super::{DEADLINE, Scene};
use crate::{
    home::{Home, STORES, data},
    lab::{LabError, Result, servers::host::Host},
};

const ANSWER: Duration = Duration::from_secs(10);
const ALLOWED: &str = "evt.web.demo";
const ELSEWHERE: &str = "audit.web";

/// Names that follow from the examples, with what they resolve to.
const NAMES: [(&str, &str, &[&str]); 5] = [
    ("host1.core.example.com", "A", &["10.0.0.11"]),
    ("host2.core.example.com", "A", &["10.0.0.12"]),
    ("site.web.core.example.com", "A", &["10.0.0.11", "10.0.0.12"]),
    ("11.0.0.10.in-addr.arpa", "PTR", &["host0.host1.core.example.com."]),
    ("12.0.0.10.in-addr.arpa", "PTR", &["host0.host2.core.example.com."]),
];

pub(super) async fn release(scene: &Scene<'_>) -> Result<()> {
    let revision = scene.home.repository().head()?;
    for host in scene.home.hosts() {
        let closure = runs(scene.home, host, &revision).await?;
        scene.holds(format!("{} runs {}", host.name(), short(&closure)), scene.applied);
    }
    Ok(())
}

pub(super) async fn web(scene: &Scene<'_>) -> Result<()> {
    let message = scene.home.repository().read("message")?;
    for host in scene.home.hosts() {
        says(scene.home, host, message.trim()).await?;
        let what = format!("http://{}:8080 says {:?}", host.address(), message.trim());
        scene.holds(what, scene.applied);
    }
    Ok(())
}

pub(super) async fn names(scene: &Scene<'_>) -> Result<()> {
    for (name, kind, wanted) in NAMES {
        let what = format!("{name} {kind} to be {}", wanted.join(", "));
        scene
            .home
            .eventually(&what, DEADLINE, async || match resolve(scene.home, name, kind).await {
                Ok(found) if found == wanted => Ok(()),
                Ok(found) => Err(format!("{found:?}")),
                Err(error) => Err(error.to_string()),
            })
            .await?;
        scene.holds(format!("{name} {kind} {}", wanted.join(" ")), scene.applied);
    }
    Ok(())
}

pub(super) async fn creds(scene: &Scene<'_>) -> Result<()> {
    let creds = credentials(scene.home).await?;
    let account = scene.home.account().await?;
    let url = &scene.home.lab().nats()?.urls()[0];
    let failed = |what: &str, why: &dyn std::fmt::Display| LabError::Unexpected {
        what: what.into(),
        why: why.to_string(),
    };

    let owner = account.client();
    let mut heard = owner.subscribe(">").await.map_err(|e| failed("the subscription", &e))?;
    owner.flush().await.map_err(|e| failed("the subscription", &e))?;
    let (sender, mut events) = mpsc::channel(64);
    let options = ConnectOptions::with_credentials(&creds)
        .map_err(|error| failed("the credentials", &error))?
        .event_callback(move |event| {
            let sender = sender.clone();
            // What no longer fits is repetition.
            async move { drop(sender.try_send(event.to_string())) }
        });
    let service = timeout(ANSWER, options.connect(url)).await;
    let service = service
        .map_err(|_| failed("the login of the service", &"no answer"))?
        .map_err(|error| failed("the login of the service", &error))?;

    let publish = async |subject: &'static str| {
        service.publish(subject, "hello".into()).await.map_err(|e| failed(subject, &e))?;
        service.flush().await.map_err(|e| failed(subject, &e))
    };
    // The second may not be heard, and would be heard before the third.
    for subject in [ALLOWED, ELSEWHERE, ALLOWED] {
        publish(subject).await?;
    }
    let mut subjects = Vec::new();
    while subjects.iter().filter(|subject| *subject == ALLOWED).count() < 2 {
        let message = timeout(ANSWER, heard.next()).await.ok().flatten();
        let message = message.ok_or_else(|| failed(ALLOWED, &"the message did not arrive"))?;
        subjects.push(message.subject.to_string());
    }
    scene.holds(format!("the service publishes on {ALLOWED}"), scene.applied);
    if subjects.iter().any(|subject| subject == ELSEWHERE) {
        return Err(failed(ELSEWHERE, &"the service could publish where it may not"));
    }
    let violation = format!("Permissions Violation for Publish to \"{ELSEWHERE}\"");
    loop {
        let event = timeout(ANSWER, events.recv()).await.ok().flatten();
        let event = event.ok_or_else(|| failed(ELSEWHERE, &"the server did not refuse it"))?;
        if event.to_lowercase().contains(&violation.to_lowercase()) {
            break;
        }
    }
    scene.holds(format!("on {ELSEWHERE} the server says: {violation}"), scene.applied);
    Ok(())
}

pub(super) async fn object(scene: &Scene<'_>) -> Result<()> {
    let account = scene.home.account().await?;
    let cid = scene
        .home
        .eventually("the store to take an object", DEADLINE, async || {
            account.put().await.map_err(|error| error.to_string())
        })
        .await?;
    let put = std::time::Instant::now();
    scene
        .home
        .eventually(&format!("verified copies of {cid}"), DEADLINE, async || {
            let verified = account.verified(&cid).await.map_err(|error| error.to_string())?;
            let bad: Vec<_> = verified
                .iter()
                .filter_map(|(store, verdict)| Some((store, verdict.as_ref().err()?)))
                .collect();
            if bad.is_empty() { Ok(()) } else { Err(format!("{bad:?}")) }
        })
        .await?;
    let stores = STORES.map(|(id, _)| id).join(", ");
    let cid = cid.to_string();
    let cid = &cid[..cid.len().min(12)];
    scene.holds(format!("{cid}… has verified copies in the stores {stores}"), put);
    Ok(())
}

pub(super) async fn ready(scene: &Scene<'_>) -> Result<()> {
    scene.home.all_ready(DEADLINE).await?;
    let count = scene.home.objects().await?.len();
    scene.holds(format!("all {count} objects are Ready"), scene.applied);
    Ok(())
}

/// Waits until everything is Ready, so that what a step causes is not mixed up with what was before.
pub(super) async fn settled(home: &Home) -> Result<()> {
    home.all_ready(DEADLINE).await
}

/// Waits until a host runs what its Machine says, and that is what `revision` evaluates to; the
/// closure.
pub(super) async fn runs(home: &Home, host: &Host, revision: &str) -> Result<String> {
    let what = format!("{} to run the closure of {revision}", host.name());
    home.eventually(&what, DEADLINE, async || {
        let told = home.object("machines", host.name()).await.map_err(|e| e.to_string())?;
        let status = told.status();
        let wanted = status["target"]["outPath"].as_str().unwrap_or("nothing yet");
        let reported = status["system"]["current"].as_str().unwrap_or("nothing");
        let real = host.current_system().await.map_err(|e| e.to_string())?.unwrap_or_default();
        if status["target"]["rev"] == revision
            && told.is("InSync")
            && (wanted, wanted) == (reported, real.as_str())
        {
            return Ok(real);
        }
        Err(format!("status.target is {wanted}, status.system {reported}, the host's {real:?}"))
    })
    .await
}

/// Waits until the web service of a host answers with a message.
pub(super) async fn says(home: &Home, host: &Host, message: &str) -> Result<()> {
    let wanted = format!("{}: {message}", host.name());
    home.eventually(&format!("{wanted:?} over HTTP"), DEADLINE, async || {
        match host.website().await {
            Ok(said) if said == wanted => Ok(()),
            Ok(said) => Err(said),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}

/// What the DNS server answers, sorted.
pub(super) async fn resolve(home: &Home, name: &str, kind: &str) -> Result<Vec<String>> {
    let mut found = home.lab().dns()?.dig(&["+short", name, kind]).await?;
    found.sort();
    Ok(found)
}

/// The credentials of the role `site` of the Service, once it says in which Secret they are.
async fn credentials(home: &Home) -> Result<String> {
    let secret = home
        .eventually("the Service's credentials", DEADLINE, async || {
            let web = home.object("services", "web").await.map_err(|e| e.to_string())?;
            let secret = web.status()["roles"][0]["credentialsSecret"].as_str();
            let told = secret.filter(|_| web.is("NatsReady")).map(str::to_owned);
            told.ok_or_else(|| web.to_string())
        })
        .await?;
    data(home, &secret).await?.remove("user.creds").ok_or_else(|| LabError::Unexpected {
        what: format!("Secret {secret}"),
        why: "it has no key user.creds".into(),
    })
}

/// A store path without the hash.
pub(super) fn short(path: &str) -> String {
    path.strip_prefix("/nix/store/").map_or(path, |name| &name[..name.len().min(12)]).to_owned()
        + "…"
}
