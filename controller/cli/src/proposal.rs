//! A change of Clusters, from showing what it does to seeing it done.

use cim_crds::Cluster;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::Value;

use crate::{
    Console,
    access::{Access, Edit},
    args::{Consent, Format, Global, Patience},
    commands::diff,
    error::Error,
    output::Report,
    release::{difference::Difference, short_digest, short_rev},
    wait::{self, Goal, Wanted},
};

/// One Cluster and what is to happen to it.
#[derive(Debug)]
pub(crate) struct Proposal<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) action: Action,
    /// JSON patch operations; none if there is nothing to do.
    pub(crate) steps: Vec<Value>,
    /// What it would change.
    pub(crate) difference: Option<Difference>,
    /// When it is done.
    pub(crate) wanted: Wanted,
}

/// What happens to a Cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Action {
    /// A release is approved.
    Approve { rev: String, digest: String, by: String },
    /// A revision is pinned.
    Pin { rev: String, nar_hash: String },
    /// A branch is followed again.
    Follow {
        #[serde(rename = "ref")]
        branch: String,
    },
}

/// How a command asks, and under which name it writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner<'m> {
    pub(crate) command: &'static str,
    pub(crate) manager: &'static str,
    pub(crate) global: &'m Global,
    pub(crate) consent: Consent,
    pub(crate) patience: Patience,
}

/// What has happened.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    dry_run: bool,
    clusters: Vec<Settled>,
    #[serde(skip)]
    pub(crate) remarks: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Settled {
    namespace: String,
    cluster: String,
    #[serde(flatten)]
    action: Action,
    /// Whether the Cluster was, or would be, changed; false if it was so before.
    changed: bool,
    /// Whether every machine runs the release; absent when that was not waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<Difference>,
}

/// Shows the proposals, has the API server check them, asks, carries them out and waits.
pub(crate) async fn carry_out(
    access: &Access,
    console: &mut Console<'_>,
    manner: Manner<'_>,
    proposals: Vec<Proposal<'_>>,
) -> Result<Outcome, Error> {
    let Manner { global, consent, .. } = manner;
    let changing = || proposals.iter().filter(|proposal| !proposal.steps.is_empty());
    if global.output == Format::Table {
        let colour = global.colour(console.err_terminal);
        for difference in changing().filter_map(|proposal| proposal.difference.as_ref()) {
            console.err.write_all(diff::table(difference, false, colour).as_bytes())?;
        }
    }
    // First all without effect: a refusal comes before the question, and before half is done.
    let edit = async |proposal: &Proposal<'_>, dry_run| {
        let edit = Edit { manager: manner.manager, steps: &proposal.steps, dry_run };
        access.edit(proposal.cluster, &edit).await
    };
    for proposal in changing() {
        edit(proposal, true).await?;
    }
    let mut goals = Vec::new();
    if !consent.dry_run {
        if changing().next().is_some() && !consent.yes {
            let actions: Vec<_> = changing().map(|it| sentence(it, Tense::Imperative)).collect();
            console.confirm(manner.command, &actions.join("\n"))?;
        }
        for proposal in &proposals {
            let after = if proposal.steps.is_empty() {
                proposal.cluster.clone()
            } else {
                edit(proposal, false).await?
            };
            goals.push(Goal::new(&after, proposal.wanted.clone()));
        }
    }
    let delivered = match manner.patience.deadline() {
        Some(deadline) => {
            for proposal in &proposals {
                writeln!(console.err, "{}", sentence(proposal, Tense::Past))?;
            }
            wait::until(access, console, &goals, deadline).await?;
            Some(true)
        }
        None => None,
    };
    let settled = |proposal: Proposal<'_>| Settled {
        namespace: proposal.cluster.namespace().unwrap_or_default(),
        cluster: proposal.cluster.name_any(),
        changed: !proposal.steps.is_empty(),
        action: proposal.action,
        delivered,
        difference: proposal.difference,
    };
    let clusters = proposals.into_iter().map(settled).collect();
    Ok(Outcome { dry_run: consent.dry_run, clusters, remarks: vec![] })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tense {
    Imperative,
    Past,
    Conditional,
}

fn sentence(proposal: &Proposal<'_>, tense: Tense) -> String {
    let (namespace, name) =
        (proposal.cluster.namespace().unwrap_or_default(), proposal.cluster.name_any());
    let changed = !proposal.steps.is_empty();
    format!("Cluster {namespace}/{name}: {}", phrase(&proposal.action, changed, tense))
}

fn phrase(action: &Action, changed: bool, tense: Tense) -> String {
    let verb = |imperative: &str, past: &str| match (changed, tense) {
        (false, _) => format!("{past} already:"),
        (true, Tense::Imperative) => imperative.to_owned(),
        (true, Tense::Past) => past.to_owned(),
        (true, Tense::Conditional) => format!("would {imperative}"),
    };
    match action {
        Action::Approve { rev, digest, by } => {
            let (rev, digest) = (short_rev(rev), short_digest(digest));
            format!("{} {rev} ({digest}), by {by}", verb("approve", "approved"))
        }
        Action::Pin { rev, .. } => format!("{} {}", verb("pin", "pinned"), short_rev(rev)),
        Action::Follow { branch } => format!("{} {branch}", verb("follow", "follows")),
    }
}

impl Report for Outcome {
    fn table(&self, _: bool) -> String {
        let tense = if self.dry_run { Tense::Conditional } else { Tense::Past };
        let line = |it: &Settled| {
            let delivered = match it.delivered {
                Some(true) => "; every machine runs it",
                _ => "",
            };
            let phrase = phrase(&it.action, it.changed, tense);
            format!("Cluster {}/{}: {phrase}{delivered}\n", it.namespace, it.cluster)
        };
        self.clusters.iter().map(line).collect()
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_is_a_line_for_each_cluster() {
        let approve = Action::Approve {
            rev: "0123456789012345678901234567890123456789".to_owned(),
            digest: "sha256-abcdefghijklmnop".to_owned(),
            by: "jane".to_owned(),
        };
        let pin = Action::Pin { rev: "0123456".to_owned(), nar_hash: String::new() };
        let follow = Action::Follow { branch: "main".to_owned() };
        let mut lines = String::new();
        for (changed, dry_run, delivered) in
            [(true, true, None), (true, false, Some(true)), (false, false, None)]
        {
            let clusters = [&approve, &pin, &follow].map(|action| Settled {
                namespace: "home".to_owned(),
                cluster: "prod".to_owned(),
                action: action.clone(),
                changed,
                delivered,
                difference: None,
            });
            let outcome = Outcome { dry_run, clusters: clusters.into(), remarks: vec![] };
            lines.push_str(&outcome.table(false));
        }
        insta::assert_snapshot!(lines);
    }
}
