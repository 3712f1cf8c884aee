//! Whether a Cluster runs what was asked for, by what its status says.

use cim_crds::{
    Cluster, Machine,
    cluster::rollout_status::RolloutPhase,
    conditions::{self, ConditionType},
    machine::system::DeliveryPhase,
};
use kube::ResourceExt;

/// What a Cluster is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// What was approved with this digest.
    Approval(String),
    /// That commit.
    Revision(String),
    /// Whatever its spec now means.
    Newest,
}

/// A Cluster and what it is to run.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: Option<String>,
    /// The spec that says so.
    generation: i64,
    wanted: Wanted,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every machine runs it.
    Reached,
    /// It will not without a person.
    Failed(String),
    /// It is on its way.
    Going(String),
}

/// A line of progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// `prod`, or `prod/host1`.
    pub(crate) name: String,
    pub(crate) done: u64,
    /// 0 if that is not known.
    pub(crate) expected: u64,
    pub(crate) state: String,
    /// Whether nothing more will happen.
    pub(crate) finished: bool,
}

impl Goal {
    pub(crate) fn new(cluster: &Cluster, wanted: Wanted) -> Self {
        Self {
            namespace: cluster.namespace().unwrap_or_default(),
            name: cluster.name_any(),
            uid: cluster.metadata.uid.clone(),
            generation: cluster.metadata.generation.unwrap_or_default(),
            wanted,
        }
    }

    pub(crate) fn title(&self) -> String {
        format!("Cluster {}/{}", self.namespace, self.name)
    }
}

/// Judges a Cluster.
pub(crate) fn judge(goal: &Goal, cluster: &Cluster) -> Verdict {
    let going = |state: &str| Verdict::Going(state.to_owned());
    let Some(status) = &cluster.status else {
        return going("the controller has not looked at it yet");
    };
    if status.common.observed_generation < goal.generation {
        return going("the controller has not looked at the change yet");
    }
    let conditions = &status.common.conditions;
    for (condition, bad) in
        [(ConditionType::Stalled, "True"), (ConditionType::SameAsApproved, "False")]
    {
        let found = conditions::find(conditions, condition).filter(|it| it.status == bad);
        // One of an earlier spec may be what this change is to put right.
        let current =
            found.filter(|it| it.observed_generation.is_none_or(|at| at >= goal.generation));
        if let Some(it) = current {
            return Verdict::Failed(format!("{}={bad}: {}", condition.as_str(), it.message));
        }
    }
    let ready = conditions::find(conditions, ConditionType::Ready);
    let why = ready.map(|ready| ready.message.as_str()).filter(|why| !why.is_empty());
    let Some(release) = &status.release else {
        return going(why.unwrap_or("it has no release yet"));
    };
    let is_wanted = match &goal.wanted {
        Wanted::Approval(digest) => {
            let approval = status.approval.as_ref().map(|approval| &approval.approved);
            approval.is_some_and(|it| it.digest == *digest && it.rev == release.rev)
        }
        Wanted::Revision(rev) => release.rev == *rev,
        Wanted::Newest => true,
    };
    let rollout = status.rollout.as_ref();
    let same = |it: &&cim_crds::cluster::rollout_status::RolloutStatus| {
        it.release.is_some() && it.release == release.digest
    };
    let Some(rollout) = rollout.filter(|_| is_wanted).filter(same) else {
        return going(why.unwrap_or("the release is being evaluated"));
    };
    let message = rollout.message.as_str();
    match rollout.phase {
        RolloutPhase::Complete => Verdict::Reached,
        RolloutPhase::Aborted => Verdict::Failed(format!("its rollout was aborted: {message}")),
        phase if message.is_empty() => Verdict::Going(format!("{phase:?}")),
        phase => Verdict::Going(format!("{phase:?}: {message}")),
    }
}

/// A row for the Cluster, and one for each machine on which something happens.
pub(crate) fn progress<'m>(
    goal: &Goal,
    cluster: &Cluster,
    verdict: &Verdict,
    machines: impl Iterator<Item = &'m Machine>,
) -> Vec<Row> {
    let status = cluster.status.as_ref();
    let rollout = status.and_then(|status| status.rollout.as_ref());
    let (state, finished) = match verdict {
        Verdict::Reached => ("complete".to_owned(), true),
        Verdict::Failed(why) => (why.clone(), true),
        Verdict::Going(state) => (state.clone(), false),
    };
    let building = status.and_then(|status| status.progress.as_ref());
    let (done, expected, state) = match (building, rollout) {
        (Some(progress), _) if !finished => {
            (progress.done, progress.expected, format!("{} {}", progress.step, progress.unit))
        }
        (_, Some(rollout)) => (rollout.updated.into(), rollout.total.into(), state),
        (_, None) => (0, 0, state),
    };
    let mut rows = vec![Row { name: goal.name.clone(), done, expected, state, finished }];
    rows.extend(machines.filter_map(|machine| {
        let status = machine.status.as_ref()?;
        let phase = status.delivery_phase?;
        let progress = status.progress.as_ref();
        let finished = matches!(
            phase,
            DeliveryPhase::Complete | DeliveryPhase::Failed | DeliveryPhase::RolledBack
        );
        Some(Row {
            name: format!("{}/{}", goal.name, machine.name_any()),
            done: progress.map_or(u64::from(phase == DeliveryPhase::Complete), |it| it.done),
            expected: progress.map_or(u64::from(finished), |it| it.expected),
            state: format!("{phase:?}"),
            finished,
        })
    }));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    /// Judges prod after a change of its status.
    fn judged(wanted: Wanted, change: impl FnOnce(&mut cim_crds::ClusterStatus)) -> Verdict {
        let mut prod = fixtures::cluster("prod");
        let goal = Goal::new(&prod, wanted);
        change(prod.status.as_mut().unwrap());
        judge(&goal, &prod)
    }

    fn approved() -> Wanted {
        let prod = fixtures::cluster("prod");
        let approved = prod.spec.promotion.and_then(|promotion| promotion.approved);
        Wanted::Approval(approved.unwrap().digest)
    }

    #[test]
    fn only_a_complete_rollout_of_the_wanted_release_is_enough() {
        let going = |verdict: Verdict, state: &str| {
            assert!(matches!(&verdict, Verdict::Going(it) if it.contains(state)), "{verdict:?}");
        };
        going(judged(approved(), |_| {}), "WaitingForWindow: wave 2 of 2");
        let complete = |status: &mut cim_crds::ClusterStatus| {
            status.rollout.as_mut().unwrap().phase = RolloutPhase::Complete;
        };
        assert_eq!(judged(approved(), complete), Verdict::Reached);
        assert_eq!(judged(Wanted::Newest, complete), Verdict::Reached);
        let other = Wanted::Revision("0123456789012345678901234567890123456789".to_owned());
        going(judged(other, complete), "2 of 4 machines");
        let stale = |status: &mut cim_crds::ClusterStatus| {
            complete(status);
            status.common.observed_generation = 2;
        };
        going(judged(approved(), stale), "not looked at the change");
        let old = |status: &mut cim_crds::ClusterStatus| {
            complete(status);
            status.rollout.as_mut().unwrap().release = Some("sha256-old".to_owned());
        };
        going(judged(approved(), old), "2 of 4 machines");
    }

    #[test]
    fn what_needs_a_person_ends_the_wait() {
        let aborted = judged(approved(), |status| {
            let rollout = status.rollout.as_mut().unwrap();
            rollout.phase = RolloutPhase::Aborted;
            rollout.message = "prod4 failed".to_owned();
        });
        assert_eq!(aborted, Verdict::Failed("its rollout was aborted: prod4 failed".to_owned()));
        let another = |at: i64| {
            judged(approved(), |status| {
                let mut condition = status.common.conditions[0].clone();
                condition.type_ = "SameAsApproved".to_owned();
                condition.message = "rev: approved a, evaluated b".to_owned();
                condition.observed_generation = Some(at);
                status.common.conditions.push(condition);
            })
        };
        assert!(matches!(another(3), Verdict::Failed(why) if why.contains("evaluated b")));
        assert!(matches!(another(2), Verdict::Going(_)));
    }

    #[test]
    fn each_machine_has_a_row() {
        let world = fixtures::releases();
        let prod = fixtures::cluster("prod");
        let goal = Goal::new(&prod, approved());
        let rows = progress(&goal, &prod, &judge(&goal, &prod), world.machines.iter());
        insta::assert_debug_snapshot!(rows);
    }
}
