//! The controller dies in the middle of a rollout, as when its node fails, and is started again.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::time::sleep;

use super::{DEADLINE, Scene, truth};
use crate::{
    home::Home,
    lab::{LabError, Result, servers::host::Host},
};

const PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn crash(scene: &Scene<'_>) -> Result<()> {
    let home = scene.home;
    truth::settled(home).await?;
    let before = generations(home).await?;
    let (revision, message) = home.release().await?;
    let cause = Instant::now();
    let moved = middle(home, &before).await?;
    home.controller().kill().await?;
    let killed = cause.elapsed();
    scene.tell(format!("killed when {moved}"), None, Some(killed));
    let cause = Instant::now();
    home.start_controller().await?;
    for host in home.hosts() {
        truth::says(home, host, &message).await?;
        truth::runs(home, host, &revision).await?;
    }
    home.all_ready(DEADLINE).await?;
    scene.holds("started again: everything converges", cause);
    for (host, before) in home.hosts().iter().zip(before) {
        once(host, before).await?;
    }
    scene.holds("one new generation and one activation on each host", cause);
    Ok(())
}

/// The generation of each host, all asked at once.
async fn generations(home: &Home) -> Result<Vec<u64>> {
    try_join_all(home.hosts().iter().map(generation)).await
}

/// The number of the system profile's generation.
pub(super) async fn generation(host: &Host) -> Result<u64> {
    let link = host.exec("readlink /nix/var/nix/profiles/system").await?;
    let number = link.trim().strip_prefix("system-").and_then(|rest| rest.strip_suffix("-link"));
    number.and_then(|number| number.parse().ok()).ok_or_else(|| LabError::Unexpected {
        what: format!("the system profile of {}", host.name()),
        why: format!("it is {link:?}"),
    })
}

/// Waits until a host has a new profile, which it gets when the new release is confirmed there; how
/// far the rollout is then.
async fn middle(home: &Home, before: &[u64]) -> Result<String> {
    let begun = Instant::now();
    while begun.elapsed() < DEADLINE {
        let now = generations(home).await?;
        if now != before {
            let hosts = home.hosts().iter().zip(now.iter().zip(before));
            let words = hosts.map(|(host, (now, before))| {
                let state =
                    if now == before { "was about to begin" } else { "was being confirmed" };
                format!("{} {state}", host.name())
            });
            return Ok(words.collect::<Vec<_>>().join(", "));
        }
        sleep(PAUSE).await;
    }
    home.eventually("a host to switch", Duration::ZERO, async || Err("none has".to_owned())).await
}

/// Fails unless the profile has exactly one generation more, and the journal tells of exactly one
/// activation of it.
async fn once(host: &Host, before: u64) -> Result<()> {
    let wrong = |why: String| {
        Err(LabError::Unexpected { what: format!("the deliveries to {}", host.name()), why })
    };
    let after = generation(host).await?;
    if after != before + 1 {
        return wrong(format!("the profile went from generation {before} to {after}"));
    }
    let closure = host.current_system().await?.unwrap_or_default();
    let script = format!(
        "journalctl --sync; journalctl --no-pager --output=cat --unit=cim-switch.service |
grep -c 'Starting .*cim-activate test {closure}' || true"
    );
    let count = host.exec(&script).await?;
    if count.trim() != "1" {
        return wrong(format!("{closure} was activated {} times", count.trim()));
    }
    Ok(())
}
