//! `approve`: what one Cluster runs, for those that receive from it.

use cim_crds::Cluster;
use kube::ResourceExt;
use serde_json::json;

use crate::{
    Console,
    access::Access,
    args::ReleaseArg,
    error::Error,
    proposal::{Action, Manner, Outcome, Proposal, carry_out},
    release::{
        choice::{Choice, approvable, approval, choose, promotion, same},
        difference::{Other, compare},
    },
    wait::Wanted,
};

/// Under which name approvals are recorded in `managedFields`.
pub(crate) const MANAGER: &str = "cimctl-approve";

pub(crate) async fn run(
    access: &Access,
    console: &mut Console<'_>,
    manner: Manner<'_>,
    (from, receiver): (&ReleaseArg, Option<&str>),
    comment: Option<&str>,
) -> Result<Outcome, Error> {
    access.one_namespace("approve")?;
    let (clusters, _) = access.list::<Cluster>().await?;
    let choice = choose(&clusters, &from.cluster, receiver)?;
    let release = approvable(choice.sender, from)?;
    let by = access.user().await?;
    let approved = approval(release, &by, comment)?;
    let mut proposals = Vec::new();
    for receiver in &choice.receivers {
        let before = promotion(receiver).and_then(|promotion| promotion.approved.as_ref());
        let before = before.filter(|before| same(before, &approved));
        let add = json!({"op": "add", "path": "/spec/promotion/approved", "value": approved});
        let steps = if before.is_some() { vec![] } else { vec![add] };
        let by = before.map_or(&by, |before| &before.by).clone();
        let (rev, digest) = (approved.rev.clone(), approved.digest.clone());
        let wanted = Wanted::Approval(digest.clone());
        let difference = Some(compare(receiver, Other::Release(choice.sender, release.0))?);
        let action = Action::Approve { rev, digest, by };
        proposals.push(Proposal { cluster: receiver, action, steps, difference, wanted });
    }
    let mut outcome = carry_out(access, console, manner, proposals).await?;
    outcome.remarks = remarks(&choice);
    Ok(outcome)
}

fn remarks(choice: &Choice<'_>) -> Vec<String> {
    let from = choice.sender.name_any();
    let remark = |name: &String| {
        format!(
            "Cluster {name} is left out: it takes each release of {from} that passed its checks"
        )
    };
    choice.automatic.iter().map(remark).collect()
}
