//! Who receives from whom, and whether what is there may be approved.

use cim_crds::{
    Cluster,
    cluster::{
        promotion::{ApprovalPolicy, Approved, Promotion},
        release::Release,
        rollout_status::RolloutPhase,
    },
};
use kube::ResourceExt;

use super::{configurations, named, refusal::Refusal, services, short_rev};
use crate::{
    args::ReleaseArg,
    state::{Object, Phase},
};

/// The Cluster whose release is meant, and those for which it is approved.
#[derive(Debug)]
pub(crate) struct Choice<'c> {
    pub(crate) sender: &'c Cluster,
    pub(crate) receivers: Vec<&'c Cluster>,
    /// Receivers that need no approval.
    pub(crate) automatic: Vec<String>,
}

/// Chooses among the Clusters of one namespace. `from` may also be a receiving Cluster, if nobody
/// receives from it.
pub(crate) fn choose<'c>(
    clusters: &'c [Cluster],
    from: &str,
    receiver: Option<&str>,
) -> Result<Choice<'c>, Refusal> {
    let named = |name: &str| clusters.iter().find(|cluster| cluster.name_any() == name);
    let fits = |cluster: &&Cluster| promotion(cluster).is_some_and(|it| it.from == from);
    let mut receivers: Vec<_> = clusters.iter().filter(fits).collect();
    if let Some(name) = receiver {
        receivers.retain(|cluster| cluster.name_any() == name);
        if receivers.is_empty() {
            return Err(not_from(name, from, named(name)));
        }
    }
    // The one that receives was named instead of the one that it receives from.
    let itself = named(from).filter(|_| receivers.is_empty());
    let (from, receivers) = match itself.and_then(|it| Some((it, promotion(it)?))) {
        Some((cluster, promotion)) => (promotion.from.as_str(), vec![cluster]),
        None => (from, receivers),
    };
    let Some(first) = receivers.first() else {
        let promoted = clusters.iter().filter(|cluster| promotion(cluster).is_some());
        let receivers = promoted.map(ResourceExt::name_any).collect();
        return Err(Refusal::NoReceiver { cluster: from.to_owned(), receivers });
    };
    let name = first.name_any();
    let manual = |cluster: &&Cluster| {
        promotion(cluster).is_some_and(|it| it.approval == ApprovalPolicy::Manual)
    };
    let (receivers, automatic): (Vec<_>, Vec<_>) = receivers.into_iter().partition(manual);
    if receivers.is_empty() {
        return Err(Refusal::Automatic { receiver: name, from: from.to_owned() });
    }
    let no_sender = || Refusal::NoSender { receiver: name.clone(), from: from.to_owned() };
    let sender = named(from).ok_or_else(no_sender)?;
    let automatic = automatic.into_iter().map(ResourceExt::name_any).collect();
    Ok(Choice { sender, receivers, automatic })
}

/// The promotion of a Cluster.
pub(crate) fn promotion(cluster: &Cluster) -> Option<&Promotion> {
    cluster.spec.promotion.as_ref()
}

fn not_from(receiver: &str, from: &str, cluster: Option<&Cluster>) -> Refusal {
    let instead = match cluster.map(|cluster| promotion(cluster)) {
        None => "it does not exist here".to_owned(),
        Some(None) => "it has no spec.promotion".to_owned(),
        Some(Some(promotion)) => format!("it receives from {}", promotion.from),
    };
    Refusal::NotFrom { receiver: receiver.to_owned(), from: from.to_owned(), instead }
}

/// The release of a Cluster, whatever its state.
pub(crate) fn release(cluster: &Cluster) -> Result<&Release, Refusal> {
    let release = cluster.status.as_ref().and_then(|status| status.release.as_ref());
    release.ok_or_else(|| Refusal::NoRelease {
        cluster: cluster.name_any(),
        why: Object::of(cluster).state.message,
    })
}

/// The release of the sending Cluster, if it may be approved: the wanted one, complete, and well.
pub(crate) fn approvable<'c>(
    sender: &'c Cluster,
    wanted: &ReleaseArg,
) -> Result<(&'c Release, &'c str), Refusal> {
    let cluster = sender.name_any();
    let release = release(sender)?;
    let rev = short_rev(&release.rev).to_owned();
    if let Some(wanted) = wanted.rev.as_ref().filter(|wanted| !release.rev.starts_with(*wanted)) {
        return Err(Refusal::OtherRevision { cluster, runs: rev, wanted: wanted.clone() });
    }
    let incomplete = |phase: String, why: &str| {
        let (cluster, rev, why) = (cluster.clone(), rev.clone(), why.to_owned());
        Refusal::NotComplete { cluster, rev, phase, why }
    };
    let Some(digest) = release.digest.as_deref() else {
        return Err(incomplete("it has no identity yet".to_owned(), ""));
    };
    let rollout = sender.status.as_ref().and_then(|status| status.rollout.as_ref());
    match rollout {
        Some(it) if it.phase != RolloutPhase::Complete => {
            return Err(incomplete(format!("{:?}", it.phase), &it.message));
        }
        Some(it) if it.release.as_deref() == Some(digest) => {}
        _ => return Err(incomplete("its rollout has not begun".to_owned(), "")),
    }
    let state = Object::of(sender).state;
    if state.phase != Phase::Ready {
        let phase = state.phase.to_string();
        return Err(Refusal::NotReady { cluster, rev, phase, why: state.message });
    }
    Ok((release, digest))
}

/// What is written into the receiving Cluster.
pub(crate) fn approval(
    (release, digest): (&Release, &str),
    by: &str,
    comment: Option<&str>,
) -> Result<Approved, Refusal> {
    Ok(Approved {
        rev: release.rev.clone(),
        nar_hash: release.nar_hash.clone(),
        digest: digest.to_owned(),
        configurations: named(&configurations(release)?),
        services: named(&services(release)),
        by: by.to_owned(),
        comment: comment.map(str::to_owned),
    })
}

/// Whether two approvals approve the same, whoever gave them.
pub(crate) fn same(one: &Approved, other: &Approved) -> bool {
    let what = |it: &Approved| Approved { by: String::new(), comment: None, ..it.clone() };
    what(one) == what(other)
}

#[cfg(test)]
mod tests {
    use cim_crds::cluster::rollout_status::RolloutStatus;

    use super::*;
    use crate::fixtures;

    fn chosen(from: &str, receiver: Option<&str>) -> Result<(String, Vec<String>), String> {
        let clusters = fixtures::releases().clusters;
        let choice = choose(&clusters, from, receiver).map_err(|error| error.to_string())?;
        let receivers = choice.receivers.iter().map(|it| it.name_any()).collect();
        Ok((choice.sender.name_any(), receivers))
    }

    #[test]
    fn both_ends_name_a_promotion() {
        let to_prod = Ok(("dev".to_owned(), vec!["prod".to_owned()]));
        assert_eq!(chosen("dev", None), to_prod);
        assert_eq!(chosen("prod", None), to_prod);
        assert_eq!(chosen("dev", Some("prod")), to_prod);
    }

    #[test]
    fn who_receives_nothing_is_said() {
        for (from, receiver, why) in [
            ("mirror", None, "takes each release of dev that passed its checks"),
            ("lost", None, "there is no Cluster nowhere"),
            ("nobody", None, "those that receive are"),
            ("dev", Some("lost"), "it receives from nowhere"),
            ("dev", Some("dev"), "it has no spec.promotion"),
            ("dev", Some("nobody"), "it does not exist"),
        ] {
            let said = chosen(from, receiver).unwrap_err();
            assert!(said.contains(why), "{why} is not in: {said}");
        }
    }

    fn rollout(cluster: &mut Cluster) -> &mut RolloutStatus {
        cluster.status.as_mut().unwrap().rollout.as_mut().unwrap()
    }

    #[test]
    fn only_what_every_machine_runs_well_is_approved() {
        let sender = fixtures::cluster("dev");
        let of = |rev: Option<&str>| ReleaseArg {
            cluster: "dev".to_owned(),
            rev: rev.map(str::to_owned),
        };
        let judged = |change: fn(&mut Cluster), rev| {
            let mut sender = sender.clone();
            change(&mut sender);
            approvable(&sender, &of(rev)).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(judged(|_| {}, Some("0123456")), Ok(()));
        for (said, why) in [
            (judged(|_| {}, Some("aaaaaaa")), "runs 012345678901, not aaaaaaa"),
            (judged(|it| it.status = None, None), "has no release yet"),
            (judged(|it| it.metadata.generation = Some(9), None), "which is Pending"),
            (
                judged(|it| rollout(it).phase = RolloutPhase::Soaking, None),
                "is not complete in Cluster dev: Soaking",
            ),
            (
                judged(|it| rollout(it).release = Some("sha256-old".to_owned()), None),
                "its rollout has not begun",
            ),
        ] {
            let said = said.unwrap_err();
            assert!(said.contains(why), "{why} is not in: {said}");
        }
    }

    #[test]
    fn an_approval_lists_each_hash_once() {
        let sender = fixtures::cluster("dev");
        let wanted = ReleaseArg { cluster: "dev".to_owned(), rev: None };
        let release = approvable(&sender, &wanted).unwrap();
        let approved = approval(release, "jane", Some("well tested")).unwrap();
        insta::assert_yaml_snapshot!(approved);
        let by_john = Approved { by: "john".to_owned(), comment: None, ..approved.clone() };
        assert!(same(&approved, &by_john));
        assert!(!same(&approved, &Approved { services: vec![], ..by_john }));
    }
}
