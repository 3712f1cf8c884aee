//! `history`: the releases of a Cluster.

use cim_crds::{Cluster, cluster::release::ReleaseResult};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde::Serialize;

use super::cluster;
use crate::{
    access::Access,
    error::Error,
    output::{Report, age},
    release::{short_digest, short_rev},
    style::Tone,
    table::{Cell, Table},
};

/// The releases of a Cluster, newest first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct History {
    namespace: String,
    cluster: String,
    releases: Vec<Entry>,
    #[serde(skip)]
    now: Timestamp,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    current: bool,
    rev: String,
    nar_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// Complete, Aborted, Superseded; of the current one the phase of its rollout.
    result: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<String>,
}

pub(crate) async fn run(access: &Access, name: &str) -> Result<History, Error> {
    let namespace = access.one_namespace("history")?;
    let cluster = cluster(access, namespace, name).await?;
    Ok(history(&cluster, Timestamp::now()))
}

fn history(cluster: &Cluster, now: Timestamp) -> History {
    let status = cluster.status.as_ref();
    let time = |time: &Option<Time>| time.as_ref().map(|time| time.0);
    let current = status.and_then(|status| {
        let release = status.release.as_ref()?;
        let phase = status.rollout.as_ref().map(|rollout| rollout.phase).unwrap_or_default();
        Some(Entry {
            current: true,
            rev: release.rev.clone(),
            nar_hash: release.nar_hash.clone(),
            digest: release.digest.clone(),
            result: format!("{phase:?}"),
            since: time(&release.since),
            settled: None,
            approved_by: status.approval.as_ref().map(|approval| approval.approved.by.clone()),
        })
    });
    let past = status.into_iter().flat_map(|status| &status.history).map(|past| Entry {
        current: false,
        rev: past.rev.clone(),
        nar_hash: past.nar_hash.clone(),
        digest: Some(past.digest.clone()),
        result: format!("{:?}", past.result),
        since: time(&past.since),
        settled: time(&past.settled),
        approved_by: past.approved_by.clone(),
    });
    History {
        namespace: cluster.namespace().unwrap_or_default(),
        cluster: cluster.name_any(),
        releases: current.into_iter().chain(past).collect(),
        now,
    }
}

impl Report for History {
    fn table(&self, colour: bool) -> String {
        let heading = ["CURRENT", "REVISION", "RESULT", "AGE", "TOOK", "APPROVED-BY", "DIGEST"];
        let mut table = Table::new(heading);
        for entry in &self.releases {
            let took = entry.since.zip(entry.settled).map(|(since, settled)| age(settled, since));
            table.push([
                if entry.current { "*" } else { "" }.into(),
                short_rev(&entry.rev).into(),
                Cell::toned(&entry.result, tone(&entry.result)),
                entry.since.map(|since| age(self.now, since)).unwrap_or_default().into(),
                took.unwrap_or_default().into(),
                entry.approved_by.as_deref().unwrap_or("-").into(),
                entry.digest.as_deref().map_or("-".to_owned(), short_digest).into(),
            ]);
        }
        if table.is_empty() {
            return format!("Cluster {}/{} has had no release.\n", self.namespace, self.cluster);
        }
        table.render(colour)
    }
}

fn tone(result: &str) -> Tone {
    let is = |it: ReleaseResult| result == format!("{it:?}");
    if is(ReleaseResult::Complete) {
        Tone::Good
    } else if is(ReleaseResult::Aborted) {
        Tone::Bad
    } else {
        Tone::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_current_one_is_marked_and_who_approved_is_told() {
        let now = "2026-01-01T13:00:00Z".parse().unwrap();
        let told =
            ["dev", "prod", "lost"].map(|it| history(&fixtures::cluster(it), now).table(false));
        insta::assert_snapshot!(told.join("\n"));
    }
}
