//! Waiting for the CRDs, instead of failing without them.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::Client;
use tokio::time::{sleep, timeout};

use crate::ops::readiness::Readiness;
use crate::ops::telemetry::chain;

const PAUSE: Duration = Duration::from_secs(2);

/// Waits until the API server serves every resource of `wanted` (plural names) in `group_version`.
///
/// Asks discovery, which every authenticated account may read, rather than the CRDs themselves.
/// `readiness` names what is missing.
pub async fn wait_for_crds(
    client: &Client,
    group_version: &str,
    wanted: &[String],
    deadline: Duration,
    readiness: &Readiness,
) {
    let group = group_version.split('/').next().unwrap_or_default();
    let label = |plural: &str| format!("CRD {plural}.{group}");
    let mut missing: BTreeSet<&str> = BTreeSet::new();
    for plural in wanted {
        missing.insert(plural);
        readiness.missing(label(plural));
    }
    let mut told = BTreeSet::new();
    loop {
        match served(client, group_version, deadline).await {
            Ok(served) => missing.retain(|plural| {
                let absent = !served.contains(*plural);
                if !absent {
                    readiness.present(&label(plural));
                }
                absent
            }),
            Err(error) => tracing::warn!(error, "cannot ask the API server for its resources"),
        }
        if missing.is_empty() {
            return;
        }
        if told != missing {
            tracing::info!(group_version, ?missing, "waiting for CustomResourceDefinitions");
            told.clone_from(&missing);
        }
        sleep(PAUSE).await;
    }
}

async fn served(
    client: &Client,
    group_version: &str,
    deadline: Duration,
) -> Result<BTreeSet<String>, String> {
    match timeout(deadline, client.list_api_group_resources(group_version)).await {
        Ok(Ok(list)) => Ok(list.resources.into_iter().map(|resource| resource.name).collect()),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(BTreeSet::new()),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(format!("no answer within {deadline:?}")),
    }
}
