//! `rollback`: back to a release that the Cluster had.

use cim_crds::{
    Cluster,
    cluster::{
        promotion::{ApprovalPolicy, Approved, Promotion},
        release::PastRelease,
    },
    common::Source,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{approve, cluster};
use crate::{
    Console,
    access::Access,
    error::Error,
    proposal::{Action, Manner, Outcome, Proposal, carry_out},
    release::{
        choice::promotion,
        difference::{Other, compare},
        past,
        refusal::Refusal,
    },
    wait::Wanted,
};

/// Under which name a pinned revision is recorded in `managedFields`.
pub(crate) const MANAGER: &str = "cimctl-rollback";

/// Where to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To<'t> {
    /// A release, by revision or digest; none for the last complete one before the present.
    Past(Option<&'t str>),
    /// Wherever the branch is.
    Branch,
}

pub(crate) async fn run(
    access: &Access,
    console: &mut Console<'_>,
    manner: Manner<'_>,
    (name, to): (&str, To<'_>),
    comment: Option<&str>,
) -> Result<Outcome, Error> {
    let namespace = access.one_namespace("rollback")?;
    let cluster = cluster(access, namespace, name).await?;
    let (proposal, remarks, manager) = match (promotion(&cluster), to) {
        (Some(promotion), To::Past(wanted)) => {
            let past = past::find(&cluster, wanted)?;
            let by = access.user().await?;
            (approve_again(&cluster, promotion, past, &by, comment)?, vec![], approve::MANAGER)
        }
        (Some(promotion), To::Branch) => {
            let (cluster, from) = (name.to_owned(), promotion.from.clone());
            return Err(Refusal::Promoted { cluster, from }.into());
        }
        (None, to) => {
            let source = cluster.spec.source.as_ref();
            let source = source.ok_or_else(|| Refusal::NoSource { cluster: name.to_owned() })?;
            let proposal = match to {
                To::Past(wanted) => pin(&cluster, source, past::find(&cluster, wanted)?)?,
                To::Branch => follow(&cluster, source)?,
            };
            (proposal, owners(&cluster), MANAGER)
        }
    };
    let manner = Manner { manager, ..manner };
    let mut outcome = carry_out(access, console, manner, vec![proposal]).await?;
    outcome.remarks = remarks;
    Ok(outcome)
}

/// In a Cluster with promotion: that release is approved once more. Its closures were not kept; the
/// controller demands that what it evaluates has exactly the digest.
fn approve_again<'c>(
    cluster: &'c Cluster,
    promotion: &Promotion,
    past: &PastRelease,
    by: &str,
    comment: Option<&str>,
) -> Result<Proposal<'c>, Refusal> {
    if promotion.approval == ApprovalPolicy::Automatic {
        let (receiver, from) = (cluster.name_any(), promotion.from.clone());
        return Err(Refusal::Automatic { receiver, from });
    }
    let approved = Approved {
        rev: past.rev.clone(),
        nar_hash: past.nar_hash.clone(),
        digest: past.digest.clone(),
        configurations: vec![],
        services: vec![],
        by: by.to_owned(),
        comment: comment.map(str::to_owned),
    };
    let before = promotion.approved.as_ref();
    let before = before.filter(|before| crate::release::choice::same(before, &approved));
    let add = || vec![json!({"op": "add", "path": "/spec/promotion/approved", "value": approved})];
    Ok(Proposal {
        cluster,
        action: Action::Approve {
            rev: past.rev.clone(),
            digest: past.digest.clone(),
            by: before.map_or(by, |before| &before.by).to_owned(),
        },
        steps: if before.is_some() { vec![] } else { add() },
        difference: Some(compare(cluster, Other::Past(past))?),
        wanted: Wanted::Approval(past.digest.clone()),
    })
}

/// In a Cluster that follows a branch: that revision, until it is let go.
fn pin<'c>(
    cluster: &'c Cluster,
    source: &Source,
    past: &PastRelease,
) -> Result<Proposal<'c>, Refusal> {
    let pinned =
        source.rev.as_ref() == Some(&past.rev) && source.nar_hash.as_ref() == Some(&past.nar_hash);
    let add = |field: &str, value: &str| json!({"op": "add", "path": format!("/spec/source/{field}"), "value": value});
    let steps = vec![add("rev", &past.rev), add("narHash", &past.nar_hash)];
    Ok(Proposal {
        cluster,
        action: Action::Pin { rev: past.rev.clone(), nar_hash: past.nar_hash.clone() },
        steps: if pinned { vec![] } else { steps },
        difference: Some(compare(cluster, Other::Past(past))?),
        wanted: Wanted::Revision(past.rev.clone()),
    })
}

/// Lets it follow its branch again.
fn follow<'c>(cluster: &'c Cluster, source: &Source) -> Result<Proposal<'c>, Refusal> {
    let Some(branch) = source.ref_.clone() else {
        let why = "names no branch or tag (spec.source.ref)";
        return Err(Refusal::NoBranch { cluster: cluster.name_any(), why });
    };
    let fields = [("rev", &source.rev), ("narHash", &source.nar_hash)];
    let set = fields.into_iter().filter(|(_, value)| value.is_some());
    let remove = |(field, _)| json!({"op": "remove", "path": format!("/spec/source/{field}")});
    let (action, steps) = (Action::Follow { branch }, set.map(remove).collect());
    Ok(Proposal { cluster, action, steps, difference: None, wanted: Wanted::Newest })
}

/// Who else writes the revision, and so may undo this.
fn owners(cluster: &Cluster) -> Vec<String> {
    let owns = |fields: &Value| {
        let source = &fields["f:spec"]["f:source"];
        ["f:rev", "f:narHash"].iter().any(|field| source.get(field).is_some())
    };
    let entries = cluster.metadata.managed_fields.iter().flatten();
    let others = entries.filter(|entry| {
        entry.manager.as_deref() != Some(MANAGER)
            && entry.fields_v1.as_ref().is_some_and(|fields| owns(&fields.0))
    });
    others
        .map(|entry| {
            format!(
                "spec.source.rev was written by {} before. If that is a tool which applies it again, such \
                 as Flux or Argo CD, it will undo this: change the revision where the tool has it from",
                entry.manager.as_deref().unwrap_or("somebody")
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn a_branch_is_left_by_a_pin_and_taken_up_again() {
        let mut dev = fixtures::cluster("dev");
        let past = past::find(&dev, None).unwrap().clone();
        let source = dev.spec.source.clone().unwrap();
        let steps = |proposal: Result<Proposal<'_>, Refusal>| proposal.unwrap().steps;
        let pinned = steps(pin(&dev, &source, &past));
        assert_eq!(pinned[0]["path"], "/spec/source/rev");
        assert_eq!(pinned[1]["value"], past.nar_hash.as_str());
        assert_eq!(steps(follow(&dev, &source)), Vec::<Value>::new());

        let source =
            Source { rev: Some(past.rev.clone()), nar_hash: Some(past.nar_hash.clone()), ..source };
        dev.spec.source = Some(source.clone());
        assert_eq!(steps(pin(&dev, &source, &past)), Vec::<Value>::new());
        let followed = steps(follow(&dev, &source));
        assert_eq!(followed.len(), 2, "{followed:?}");
        assert!(follow(&dev, &Source { ref_: None, ..source }).is_err());
    }

    #[test]
    fn who_owns_the_revision_is_named() {
        let mut dev = fixtures::cluster("dev");
        assert_eq!(owners(&dev), Vec::<String>::new());
        dev.metadata.managed_fields = serde_json::from_value(json!([
            {"manager": "kustomize-controller", "operation": "Apply", "fieldsV1":
                {"f:spec": {"f:source": {"f:flake": {}, "f:rev": {}}}}},
            {"manager": "helm", "operation": "Apply", "fieldsV1": {"f:spec": {"f:source": {"f:flake": {}}}}},
            {"manager": MANAGER, "operation": "Update", "fieldsV1":
                {"f:spec": {"f:source": {"f:rev": {}}}}},
        ]))
        .unwrap();
        let said = owners(&dev);
        assert!(said.len() == 1 && said[0].contains("kustomize-controller"), "{said:?}");
    }

    #[test]
    fn of_a_promoted_cluster_the_release_is_approved_again() {
        let prod = fixtures::cluster("prod");
        let past = past::find(&prod, None).unwrap();
        let promotion = promotion(&prod).unwrap();
        let proposal = approve_again(&prod, promotion, past, "jane", Some("too slow")).unwrap();
        insta::assert_yaml_snapshot!(proposal.steps);
        let automatic = Promotion { approval: ApprovalPolicy::Automatic, ..promotion.clone() };
        assert!(approve_again(&prod, &automatic, past, "jane", None).is_err());
    }
}
