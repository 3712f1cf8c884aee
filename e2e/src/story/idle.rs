//! Nothing happens, and nothing is written.

use std::time::Duration;

use tokio::time::sleep;

use super::{DEADLINE, Scene};
use crate::{
    home::Home,
    lab::{LabError, Result, servers::kubernetes::AuditEvent},
};

const MINUTE: Duration = Duration::from_mins(1);

/// What the controller did while nothing happened.
#[derive(Clone, Debug)]
pub struct Idle {
    /// Writes to the API server, without renewals of the leader lease.
    pub writes: Vec<AuditEvent>,
    /// Renewals of the leader lease.
    pub renewals: usize,
    /// Visits to objects.
    pub reconciles: f64,
    /// Processor time.
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
            why: format!("{} writes, the first is {} {}", idle.writes.len(), write.verb, write.uri),
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
    let (before, requests) = (home.metrics().await?, home.requests()?.len());
    sleep(duration).await;
    let after = home.metrics().await?;
    let mut writes = home.requests()?.split_off(requests);
    writes.retain(AuditEvent::is_write);
    let all = writes.len();
    writes.retain(|event| event.resource != "leases");
    let grown = |name: &str| {
        after.sum(name, &[]).unwrap_or_default() - before.sum(name, &[]).unwrap_or_default()
    };
    Ok(Idle {
        renewals: all - writes.len(),
        writes,
        reconciles: grown("cim_reconcile_total"),
        cpu: Duration::from_secs_f64(grown("process_cpu_seconds_total").max(0.0)),
        rss: home.controller().rss().await?,
        peak: home.controller().peak_rss().await?,
    })
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
