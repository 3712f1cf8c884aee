//! Nothing happens, and nothing is written.

use std::time::Duration;

use tokio::time::sleep;

use super::{DEADLINE, Scene};
use crate::{
    home::{Home, Metrics},
    lab::{LabError, Result, servers::kubernetes::AuditEvent},
};

const MINUTE: Duration = Duration::from_mins(1);

/// What the controller did while nothing happened.
#[derive(Clone, Debug)]
pub struct Idle {
    /// Writes to the API server, without renewals of the leader lease: one line for each.
    pub writes: Vec<String>,
    /// Renewals of the leader lease.
    pub renewals: usize,
    /// Visits to objects.
    pub reconciles: f64,
    /// Processor time, with that of the programs that it ran.
    pub cpu: Duration,
    /// Resident memory at the end, in bytes.
    pub rss: u64,
    /// The most resident memory until then, in bytes.
    pub peak: u64,
}

pub(super) async fn idle(scene: &Scene<'_>) -> Result<()> {
    let idle = observe(scene.home, MINUTE).await?;
    if let Some(write) = idle.writes.first() {
        return Err(LabError::Unexpected {
            what: "the idle minute".into(),
            why: format!("{} writes, the first is {write}", idle.writes.len()),
        });
    }
    scene.tell(
        format!(
            "0 API writes (and {} renewals of the leader lease), {} reconciles",
            idle.renewals, idle.reconciles
        ),
        None,
        None,
    );
    let (now, peak) = (mebibytes(idle.rss), mebibytes(idle.peak));
    scene.tell(format!("the controller takes {now:.1} MiB, at most {peak:.1}"), None, None);
    Ok(())
}

/// Waits until everything is Ready, then for `duration`, and tells what the controller did in it.
pub async fn observe(home: &Home, duration: Duration) -> Result<Idle> {
    home.all_ready(DEADLINE).await?;
    let before = home.metrics().await?;
    let requests = if home.has_audit()? { home.requests()?.len() } else { 0 };
    let cpu = home.controller().cpu().await?;
    sleep(duration).await;
    let after = home.metrics().await?;
    let (writes, renewals) = if home.has_audit()? {
        in_audit(home.requests()?.split_off(requests))
    } else {
        in_metrics(&before, &after)
    };
    let grown = |name: &str| {
        after.sum(name, &[]).unwrap_or_default() - before.sum(name, &[]).unwrap_or_default()
    };
    Ok(Idle {
        writes,
        renewals,
        reconciles: grown("cim_reconcile_total"),
        cpu: home.controller().cpu().await?.saturating_sub(cpu),
        rss: home.controller().rss().await?,
        peak: home.controller().peak_rss().await?,
    })
}

/// The writes, and how many renewals of the lease are beside them, as the API server saw them.
fn in_audit(mut events: Vec<AuditEvent>) -> (Vec<String>, usize) {
    events.retain(AuditEvent::is_write);
    let all = events.len();
    events.retain(|event| event.resource != "leases");
    let renewals = all - events.len();
    (events.iter().map(|event| format!("{} {}", event.verb, event.uri)).collect(), renewals)
}

/// The same as the controller counted it: the audit log of a cluster outside is its own.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
fn in_metrics(before: &Metrics, after: &Metrics) -> (Vec<String>, usize) {
    let grown = |labels: &[(&str, &str)]| {
        let count = |metrics: &Metrics| metrics.sum("cim_api_writes_total", labels);
        count(after).unwrap_or_default() - count(before).unwrap_or_default()
    };
    let renewals = grown(&[("resource", "leases")]);
    let others = (grown(&[]) - renewals) as usize;
    (vec!["one that cim_api_writes_total counts".to_owned(); others], renewals as usize)
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
