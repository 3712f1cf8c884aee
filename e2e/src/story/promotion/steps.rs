//! The steps of the promotion.

use std::{fmt::Display, time::Instant};

use serde_json::{Value, json};

use super::People;
use crate::{
    home::{Home, Object},
    lab::{LabError, Result, servers::host::Host},
    story::{DEADLINE, Scene},
};

/// A name of the service that only the public sees.
const PUBLIC: &str = "accounting.prod.example.org";

fn wrong(what: &str, why: impl Display) -> LabError {
    LabError::Unexpected { what: what.into(), why: why.to_string() }
}

/// dev1, prod1 and prod2.
fn hosts(home: &Home) -> Result<[&Host; 3]> {
    let hosts: Vec<&Host> = home.hosts().iter().collect();
    hosts.try_into().map_err(|_| wrong("the hosts", "there are not three"))
}

/// Waits until the Cluster has taken `revision` everywhere.
///
/// # Errors
/// With the last state seen, when it does not.
pub async fn complete(home: &Home, cluster: &str, revision: &str) -> Result<Object> {
    let what = format!("Cluster {cluster} to be complete with {revision}");
    home.eventually(&what, DEADLINE, async || {
        let object = home.object("clusters", cluster).await.map_err(|e| e.to_string())?;
        let (release, rollout) = (&object.status()["release"], &object.status()["rollout"]);
        let same = release["rev"] == revision && release["digest"] == rollout["release"];
        if same && rollout["phase"] == "Complete" && object.is_ready() {
            return Ok(object);
        }
        Err(format!("{object}; {} {}: {}", release["rev"], rollout["phase"], rollout["message"]))
    })
    .await
}

/// Waits until the Cluster's rollout is in the phase `wanted`.
///
/// # Errors
/// With the last state seen, when it does not come to be.
pub async fn phase(home: &Home, cluster: &str, wanted: &str) -> Result<Object> {
    home.eventually(&format!("Cluster {cluster} to be {wanted}"), DEADLINE, async || {
        let object = home.object("clusters", cluster).await.map_err(|e| e.to_string())?;
        let rollout = &object.status()["rollout"];
        if rollout["phase"] == wanted { Ok(object) } else { Err(format!("{object}; {rollout}")) }
    })
    .await
}

async fn says(home: &Home, host: &Host, message: &str) -> Result<()> {
    let what = format!("{} to say {message:?}", host.name());
    home.eventually(&what, DEADLINE, async || {
        let said = host.website().await.map_err(|error| error.to_string())?;
        if said.trim() == message { Ok(()) } else { Err(format!("it says {said:?}")) }
    })
    .await
}

async fn addresses(home: &Home) -> Result<Vec<String>> {
    let mut lines = home.lab().dns()?.dig(&["+short", PUBLIC, "A"]).await?;
    lines.sort();
    Ok(lines)
}

/// How often a Cluster evaluated `revision`, as the controller's log tells.
fn evaluations(home: &Home, cluster: &str, revision: &str) -> Result<usize> {
    let log = std::fs::read_to_string(home.controller().log());
    let log = log.map_err(|error| wrong("the controller's log", error))?;
    let (name, what) = (format!("name=\"{cluster}\""), format!("evaluated rev=\"{revision}\""));
    Ok(log.lines().filter(|line| line.contains(&name) && line.contains(&what)).count())
}

/// The closures of one service and of the machines, as a release has them.
fn service(cluster: &Object) -> Value {
    cluster.status()["release"]["services"].clone()
}

pub(super) async fn dev(scene: &Scene<'_>) -> Result<()> {
    let home = scene.home;
    let [dev1, prod1, prod2] = hosts(home)?;
    let cause = Instant::now();
    let revision =
        home.repository().commit("Accounting 2", &[("message", "accounting 2\n")]).await?;
    complete(home, "dev", &revision).await?;
    says(home, dev1, "accounting 2").await?;
    scene.holds("dev1 says \"accounting 2\"", cause);
    let evaluations = evaluations(home, "dev", &revision)?;
    if evaluations != 1 {
        return Err(wrong("dev", format!("{revision} was evaluated {evaluations} times")));
    }
    let prod = home
        .eventually("prod to wait for an approval", DEADLINE, async || {
            let prod = home.object("clusters", "prod").await.map_err(|error| error.to_string())?;
            match prod.condition("Ready") {
                Some((_, "WaitingForApproval", _)) => Ok(prod),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
    if !prod.status()["release"].is_null() {
        return Err(wrong("prod", "it has a release that nobody approved"));
    }
    for host in [prod1, prod2] {
        if let Some(closure) = host.current_system().await? {
            return Err(wrong(host.name(), format!("it runs {closure}")));
        }
    }
    let public = addresses(home).await?;
    if !public.is_empty() {
        return Err(wrong(PUBLIC, format!("it is published: {public:?}")));
    }
    scene.holds("prod waits for an approval; nothing runs there, nothing is published", cause);
    Ok(())
}

pub(super) async fn forge(scene: &Scene<'_>) -> Result<()> {
    let home = scene.home;
    let cause = Instant::now();
    let People { jane, john } = People::invite(home).await?;
    let refused = john.cimctl(home, &["approve", "dev", "--for", "prod", "--yes"]).await;
    let Err(said) = refused else { return Err(wrong("john", "he could approve")) };
    if !said.to_string().contains("may not approve") {
        return Err(wrong("what john is told", said));
    }
    scene.holds("john, who may change Clusters: cimctl approve is refused", cause);
    let dev = home.object("clusters", "dev").await?;
    let release = &dev.status()["release"];
    let forged = json!({"spec": {"promotion": {"approved": {"by": jane.user, "rev": release["rev"],
        "narHash": release["narHash"], "digest": release["digest"]}}}});
    let (namespace, forged) = (home.estate().namespace, forged.to_string());
    let words = ["patch", "cluster.cim.dev", "prod", "--namespace", namespace, "--type=merge"];
    if john.kubectl.run(&[&words[..], &["--patch", &forged]].concat()).await.is_ok() {
        return Err(wrong("john", "he could approve in jane's name"));
    }
    scene.holds("and so is an approval that names jane", cause);
    Ok(())
}

pub(super) async fn approve(scene: &Scene<'_>) -> Result<()> {
    let home = scene.home;
    let [_, prod1, prod2] = hosts(home)?;
    let jane = People::invite(home).await?.jane;
    let revision = home.repository().head()?;
    let dev = complete(home, "dev", &revision).await?;
    let cause = Instant::now();
    jane.cimctl(home, &["approve", "dev", "--for", "prod", "--yes"]).await?;
    // Nobody is in the second wave before the first has held.
    says(home, prod1, "accounting 2").await?;
    let early = prod2.current_system().await?;
    scene.holds(format!("{} takes it first", prod1.name()), cause);
    if let Some(closure) = early {
        return Err(wrong(prod2.name(), format!("it runs {closure} before its wave")));
    }
    let prod = complete(home, "prod", &revision).await?;
    scene.holds("every machine of prod runs it", cause);
    if !prod.is("SameAsApproved") {
        return Err(wrong("prod", format!("{:?}", prod.condition("SameAsApproved"))));
    }
    if service(&prod) != service(&dev) || service(&prod).as_array().is_none_or(Vec::is_empty) {
        let (prod, dev) = (service(&prod), service(&dev));
        return Err(wrong("the services of prod", format!("{prod}, and those of dev: {dev}")));
    }
    let by = prod.status()["approval"]["by"].as_str().unwrap_or_default().to_owned();
    if by != jane.user {
        return Err(wrong("the approval", format!("it is by {by:?}")));
    }
    let path = service(&prod)[0]["outPath"].as_str().unwrap_or_default().to_owned();
    scene.holds(format!("SameAsApproved: {}, by jane", short(&path)), cause);
    let wanted = [prod1, prod2].map(|host| host.address().to_string());
    home.eventually(&format!("{PUBLIC} to be published"), DEADLINE, async || {
        let found = addresses(home).await.map_err(|error| error.to_string())?;
        if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await?;
    scene.holds(format!("and only now {PUBLIC} A {}", wanted.join(" ")), cause);
    Ok(())
}

pub(super) async fn bad(scene: &Scene<'_>) -> Result<()> {
    let home = scene.home;
    let [_, prod1, prod2] = hosts(home)?;
    let jane = People::invite(home).await?.jane;
    let good = home.object("clusters", "prod").await?.status()["release"]["rev"].clone();
    let (before1, before2) = (prod1.current_system().await?, prod2.current_system().await?);
    let public = addresses(home).await?;
    let files = [("message", "accounting 3\n"), ("broken", "prod1\n")];
    let revision = home.repository().commit("Accounting 3", &files).await?;
    complete(home, "dev", &revision).await?;
    let cause = Instant::now();
    jane.cimctl(home, &["approve", "dev", "--for", "prod", "--yes"]).await?;
    home.eventually("prod2 to have it ahead of its turn", DEADLINE, async || {
        let prod2 = home.object("machines", "prod2").await.map_err(|error| error.to_string())?;
        let preview = &prod2.status()["preview"];
        let restarts = preview["restart"].as_array().is_some_and(|units| !units.is_empty());
        if restarts { Ok(()) } else { Err(format!("its preview is {preview}")) }
    })
    .await?;
    scene.holds("prod2 has it ahead of its turn, and says which units it would restart", cause);
    let prod = phase(home, "prod", "Aborted").await?;
    scene.holds("prod1 fails its checks and goes back; the rollout is aborted", cause);
    let ready = prod.condition("Ready").map(|(_, reason, _)| reason.to_owned());
    if prod.status()["release"]["rev"] != *revision || prod.is_ready() {
        return Err(wrong("prod", format!("{ready:?}, {}", prod.status()["release"]["rev"])));
    }
    says(home, prod1, "accounting 2").await?;
    if (prod1.current_system().await?, prod2.current_system().await?) != (before1, before2) {
        return Err(wrong("prod", "not every machine runs what it ran before"));
    }
    scene.holds("every machine runs what it ran; prod2 was never touched", cause);
    if addresses(home).await? != public {
        return Err(wrong(PUBLIC, "its records changed"));
    }
    scene.holds("no record changed", cause);
    // Going back is approving what ran before once more.
    jane.cimctl(home, &["rollback", "prod", "--yes"]).await?;
    complete(home, "prod", good.as_str().unwrap_or_default()).await?;
    let history = jane.cimctl(home, &["history", "prod"]).await?;
    if !history.contains("Aborted") {
        return Err(wrong("cimctl history", history));
    }
    scene.holds("cimctl rollback: prod is complete with the release before", cause);
    Ok(())
}

pub(super) async fn sshd(scene: &Scene<'_>) -> Result<()> {
    let home = scene.home;
    let [dev1, ..] = hosts(home)?;
    let before = dev1.current_system().await?;
    let boots = dev1.profile().await?;
    let files = [("message", "accounting 4\n"), ("broken", "nobody\n"), ("deaf", "dev1\n")];
    let cause = Instant::now();
    home.repository().commit("Nobody needs ssh", &files).await?;
    phase(home, "dev", "Aborted").await?;
    if dev1.current_system().await? != before || dev1.profile().await? != boots {
        return Err(wrong(dev1.name(), "it does not run, or would not boot, what it ran before"));
    }
    let failed = home.object("machines", "dev1").await?.status()["failed"]["reason"].clone();
    scene.holds(format!("dev1 went back by itself ({failed}); the old closure still boots"), cause);
    // A release that mends it is taken as any other.
    let mended = [("message", "accounting 5\n"), ("deaf", "nobody\n")];
    let revision = home.repository().commit("Somebody does", &mended).await?;
    complete(home, "dev", &revision).await?;
    says(home, dev1, "accounting 5").await?;
    scene.holds("the next release is taken: dev1 says \"accounting 5\"", cause);
    Ok(())
}

/// `abcdefgh…-site` of `/nix/store/abcdefgh…-site`.
fn short(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
