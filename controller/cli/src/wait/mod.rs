//! Waiting until Clusters run what was asked for.

mod judge;
mod show;

use std::time::Duration;

use cim_crds::{Cluster, Machine};
use kube::ResourceExt;
use tokio::time::Instant;

pub(crate) use self::judge::{Goal, Wanted};
use self::{
    judge::{Verdict, judge, progress},
    show::Show,
};
use crate::{Console, access::Access, error::Error};

/// How often the statuses are read.
const POLL: Duration = Duration::from_secs(1);

/// Waits until all goals are reached; an error as soon as one cannot be, or at the deadline.
pub(crate) async fn until(
    access: &Access,
    console: &mut Console<'_>,
    goals: &[Goal],
    deadline: Duration,
) -> Result<(), Error> {
    let end = Instant::now() + deadline;
    let mut show = Show::new(console.err_terminal);
    let mut left: Vec<&Goal> = goals.iter().collect();
    while !left.is_empty() {
        let (machines, _) = access.list::<Machine>().await?;
        let (mut rows, mut open, mut last) = (Vec::new(), Vec::new(), String::new());
        for goal in left {
            let cluster: Option<Cluster> = access.get(&goal.namespace, &goal.name).await?;
            let Some(cluster) = cluster.filter(|it| it.metadata.uid == goal.uid) else {
                return Err(Error::Gone { object: goal.title() });
            };
            let ours = machines.iter().filter(|machine| {
                machine.namespace() == cluster.namespace() && machine.spec.cluster == goal.name
            });
            let verdict = judge(goal, &cluster);
            rows.extend(progress(goal, &cluster, &verdict, ours));
            match verdict {
                Verdict::Reached => {}
                Verdict::Failed(why) => {
                    show.update(&rows, console.err)?;
                    return Err(Error::Failed { object: goal.title(), why });
                }
                Verdict::Going(state) => {
                    last = format!("{}: {state}", goal.title());
                    open.push(goal);
                }
            }
        }
        show.update(&rows, console.err)?;
        left = open;
        let remaining = end.saturating_duration_since(Instant::now());
        if !left.is_empty() && remaining.is_zero() {
            return Err(Error::NotReached { after: deadline, last });
        }
        if !left.is_empty() {
            tokio::time::sleep(remaining.min(POLL)).await;
        }
    }
    Ok(())
}
