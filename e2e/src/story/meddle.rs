//! Somebody changes by hand, all at once, what the controller keeps. Each change is looked for in the
//! metrics until it shows there, and outside until it is put right.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use cim_nats::{
    keys::AccountKey,
    system::{Deadlines, SystemClient},
};
use tokio::time::sleep;

use super::{DEADLINE, Scene, commit, crash, truth};
use crate::{
    home::{Home, Metrics},
    lab::{LabError, Result, error::During, servers::host::Host},
};

/// A difference may be there for no longer than it takes to put it right, so it is looked for often.
const PAUSE: Duration = Duration::from_millis(5);
const ZONE: &str = "example.com";
const MINE: &str = "host2.core.example.com";
const FOREIGN: &str = "printer.example.com";
const ADDRESS: &str = "10.0.0.12";
/// The bucket of which an object is damaged.
const BUCKET: &str = "CAS-b";

type Check<'s> = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<bool>> + 's>> + 's>;

/// One thing that somebody has done.
struct Deed<'s> {
    what: &'static str,
    /// The series that shows it: kind, name, class.
    series: (&'static str, &'static str, &'static str),
    cause: Instant,
    before: (f64, f64),
    seen: Option<Duration>,
    right: Option<Duration>,
    /// Whether it is right again outside; `None` for what is left alone.
    check: Option<Check<'s>>,
}

pub(super) async fn meddle(scene: &Scene<'_>) -> Result<()> {
    let home = scene.home;
    truth::settled(home).await?;
    let account = home.account().await?;
    let cid = account.put().await?;
    home.eventually("copies to damage", DEADLINE, async || {
        let verified = account.verified(&cid).await.map_err(|e| e.to_string())?;
        if verified.iter().all(|(_, verdict)| verdict.is_ok()) { Ok(()) } else { Err("few") }
            .map_err(str::to_owned)
    })
    .await?;
    let host = home.lab().host(1)?;
    if crash::generation(host).await? == 1 {
        // There must be something else to switch to.
        commit::commit(scene).await?;
    }
    let wanted = truth::runs(home, host, &home.repository().head()?).await?;
    let before = home.metrics().await?;

    let mut deeds = Vec::new();
    let mut did = |what, series, check| {
        let (_, _, class) = series;
        let baseline = levels(&before, series, class);
        let cause = Instant::now();
        deeds.push(Deed { what, series, cause, before: baseline, seen: None, right: None, check });
    };

    change_records(home).await?;
    did(
        "a record changed",
        ("Domain", "example-com", "changed"),
        Some(check(move || async move { Ok(truth::resolve(home, MINE, "A").await? == [ADDRESS]) })),
    );
    did("a foreign record added", ("Domain", "example-com", "unexpected"), None);
    account.damage(BUCKET).await?;
    did("a copy damaged", ("ObjectReplica", "all", "changed"), {
        let account = account.clone();
        Some(check(move || {
            let account = account.clone();
            async move {
                let verified = account.verified(&cid).await?;
                Ok(verified.iter().all(|(_, verdict)| verdict.is_ok()))
            }
        }))
    });
    switch_by_hand(host, &wanted).await?;
    did("host1 switched to another closure", ("Machine", "host1", "changed"), {
        let wanted = wanted.clone();
        Some(check(move || {
            let wanted = wanted.clone();
            async move {
                let both = (host.current_system().await?, host.profile().await?);
                Ok(both == (Some(wanted.clone()), Some(wanted)))
            }
        }))
    });
    let key = account.keys().account();
    let servers = delete_account(home, &key).await?;
    did("the account deleted from nats-a's resolver", ("Domain", "example-com", "missing"), {
        Some(check(move || {
            let (servers, key) = (servers.clone(), key.clone());
            async move { is_everywhere(home, &servers, &key).await }
        }))
    });
    watch(scene, &mut deeds).await?;
    tidy_up(home, &before).await
}

/// Takes the foreign record away, and has the Domain look again at once.
async fn tidy_up(home: &Home, before: &Metrics) -> Result<()> {
    home.lab().dns()?.nsupdate(ZONE, &[&format!("delete {FOREIGN} A")]).await?;
    home.reconcile("domains", "example-com").await?;
    let level = |metrics: &Metrics| metrics.sum("cim_drift_items", &[]).unwrap_or_default();
    home.eventually("all drift to be gone", DEADLINE, async || {
        let now = level(&home.metrics().await.map_err(|error| error.to_string())?);
        if now <= level(before) { Ok(()) } else { Err(format!("{now} items")) }
    })
    .await
}

fn check<'s, F>(probe: impl Fn() -> F + 's) -> Check<'s>
where
    F: Future<Output = Result<bool>> + 's,
{
    Box::new(move || Box::pin(probe()))
}

/// Looks at the metrics, again and again, until every deed was seen and put right.
async fn watch(scene: &Scene<'_>, deeds: &mut [Deed<'_>]) -> Result<()> {
    let begun = Instant::now();
    loop {
        let metrics = scene.home.metrics().await?;
        for deed in &mut *deeds {
            look(scene, deed, &metrics).await?;
        }
        let open: Vec<_> = deeds.iter().filter(|deed| !deed.is_over()).map(Deed::state).collect();
        if open.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > DEADLINE {
            let last = open.join("; ");
            let what = "all that was meddled with to be put right".to_owned();
            // Never true: for the words that explain a failure.
            return scene.home.eventually(&what, Duration::ZERO, async || Err(last.clone())).await;
        }
        sleep(PAUSE).await;
    }
}

async fn look(scene: &Scene<'_>, deed: &mut Deed<'_>, metrics: &Metrics) -> Result<()> {
    if deed.is_over() {
        return Ok(());
    }
    let (_, _, class) = deed.series;
    let (items, detected) = levels(metrics, deed.series, class);
    if deed.seen.is_none() && (items > deed.before.0 || detected > deed.before.1) {
        deed.seen = Some(deed.cause.elapsed());
        if deed.check.is_none() {
            scene.tell(format!("{}: reported, and left alone", deed.what), deed.seen, None);
        }
    }
    let (Some(_), Some(check)) = (deed.seen, &deed.check) else { return Ok(()) };
    if items <= deed.before.0 && check().await? {
        deed.right = Some(deed.cause.elapsed());
        scene.tell(format!("{}: put right", deed.what), deed.seen, deed.right);
    }
    Ok(())
}

impl Deed<'_> {
    fn is_over(&self) -> bool {
        self.seen.is_some() && (self.right.is_some() || self.check.is_none())
    }

    fn state(&self) -> String {
        let (kind, name, class) = self.series;
        let state = if self.seen.is_some() { "seen, not put right" } else { "not seen" };
        format!("{}: {state} (cim_drift_items of {kind} {name}, class {class})", self.what)
    }
}

/// The drift of one object and class now, and how often such was detected in its namespace.
fn levels(metrics: &Metrics, series: (&str, &str, &str), class: &str) -> (f64, f64) {
    let (kind, name, _) = series;
    let items = [("kind", kind), ("name", name), ("class", class)];
    let detected = [("kind", kind), ("class", class)];
    (
        metrics.sum("cim_drift_items", &items).unwrap_or_default(),
        metrics.sum("cim_drift_detected_total", &detected).unwrap_or_default(),
    )
}

async fn change_records(home: &Home) -> Result<()> {
    let lines = [
        format!("delete {MINE} A"),
        format!("add {MINE} 300 A 10.0.0.99"),
        format!("add {FOREIGN} 300 A 10.0.0.77"),
    ];
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    home.lab().dns()?.nsupdate(ZONE, &lines).await
}

/// As somebody who has the disk of the first server; the answer is a way to ask all of them.
///
/// By the operator's key it could be deleted from all at once. But servers in a cluster do not start
/// the streams of an account again that comes back, until they are started again themselves.
async fn delete_account(home: &Home, account: &AccountKey) -> Result<SystemClient> {
    let nats = home.lab().nats()?;
    let file = nats.servers()[0].dir().join("resolver").join(format!("{account}.jwt"));
    std::fs::remove_file(&file).during("remove", &file)?;
    let (urls, creds) = (nats.urls(), nats.operator().system_creds());
    let client = SystemClient::connect(&urls, creds, "story", Deadlines::default()).await;
    client.map_err(|error| LabError::Unexpected {
        what: "the system account".into(),
        why: error.to_string(),
    })
}

async fn is_everywhere(home: &Home, servers: &SystemClient, account: &AccountKey) -> Result<bool> {
    let expected = home.lab().nats()?.servers().len();
    let copies = servers.lookup(std::slice::from_ref(account), expected).await;
    let copies = copies.map_err(|error| LabError::Unexpected {
        what: "the lookup of the account".into(),
        why: error.to_string(),
    })?;
    let found = copies.values().flatten().filter(|copy| copy.token().is_some());
    Ok(found.count() == expected)
}

/// As root at the machine, without the controller: the closure before this one.
async fn switch_by_hand(host: &Host, wanted: &str) -> Result<()> {
    let script = "for link in $(ls -drv /nix/var/nix/profiles/system-*-link); do
  echo $(readlink -e $link)
done";
    let generations = host.exec(script).await?;
    let other = generations.lines().find(|closure| *closure != wanted);
    let other = other.ok_or_else(|| LabError::Unexpected {
        what: format!("the generations of {}", host.name()),
        why: "it has never run anything else".into(),
    })?;
    let script = format!(
        "nix-env --profile /nix/var/nix/profiles/system --set {other}
{other}/bin/switch-to-configuration switch"
    );
    host.exec(&script).await.map(drop)
}
