//! What the controller does, by the crate that it uses.

use std::time::{Duration, Instant};

use cim_e2e::lab::targets::Target;
use cim_nixos::{
    Action, Attempt, BuildOptions, Delivery, Desired, EvaluationStats, Health, Source, StorePath,
    SyncState, Toplevel, apply, assess, observe, plan, probe,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{fleet::Fleet, wire::Interface};
use crate::Try;

/// Machines that are delivered to at a time, as in the loop by hand.
pub(super) const WIDTH: usize = 10;
/// Machines that are looked at at a time.
pub(super) const PASS_WIDTH: usize = 16;
/// More than a delivery takes.
const PASSES: usize = 6;

/// A rollout that went well.
pub(super) struct Rollout {
    /// The closure of each target, in order.
    pub(super) release: Vec<StorePath>,
    pub(super) total: Duration,
    pub(super) stages: Stages,
    pub(super) evaluation: EvaluationStats,
    /// What went over the interface while it was delivered.
    pub(super) bytes: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Stages {
    pub(super) evaluate: Duration,
    pub(super) build: Duration,
    pub(super) deliver: Duration,
}

/// From a commit to its activation on all targets, each confirmed after a login over a new
/// connection.
pub(super) async fn roll_out(fleet: &Fleet<'_>, rev: &str) -> Try<Rollout> {
    let began = Instant::now();
    let source = Source::parse(&fleet.repository.url(), Some("main"), None)?;
    let source = fleet.nix.resolve(&source).await?;
    if source.rev.as_str() != rev {
        return Err(format!("resolved {} instead of {rev}", source.rev.as_str()).into());
    }
    let attributes = fleet.attributes()?;
    let mut evaluation = fleet.nix.evaluate(&source, None, &attributes).await?;
    let mut toplevels = Vec::with_capacity(attributes.len());
    for attribute in &attributes {
        let found = evaluation.configurations.remove(attribute).ok_or("not evaluated")?;
        toplevels.push(found?.toplevel);
    }
    let evaluated = Instant::now();
    build(fleet, &toplevels).await?;
    let built = Instant::now();
    let before = Interface::read()?;
    stream::iter(fleet.targets.iter().zip(&toplevels))
        .map(|(target, toplevel)| deliver(fleet, target, &toplevel.closure))
        .buffer_unordered(WIDTH)
        .try_collect::<()>()
        .await?;
    Ok(Rollout {
        release: toplevels.into_iter().map(|toplevel| toplevel.closure).collect(),
        total: began.elapsed(),
        stages: Stages {
            evaluate: evaluated - began,
            build: built - evaluated,
            deliver: built.elapsed(),
        },
        evaluation: evaluation.stats,
        bytes: before.since()?,
    })
}

async fn build(fleet: &Fleet<'_>, toplevels: &[Toplevel]) -> Try<()> {
    let builds: Vec<_> = toplevels.iter().map(|it| (it, BuildOptions::default())).collect();
    fleet.nix.build_all(&builds).await.into_iter().collect::<Result<(), _>>()?;
    let closures: Vec<_> = toplevels.iter().map(|it| &it.closure).collect();
    Ok(fleet.nix.sign_all(&fleet.signer, &closures).await?)
}

async fn deliver(fleet: &Fleet<'_>, target: &Target, closure: &StorePath) -> Try<()> {
    let host = fleet.host(target)?;
    let limits = fleet.nix.limits();
    let desired = desired(closure);
    let delivery = Delivery { nix: &fleet.nix, signer: &fleet.signer, host: &host, progress: None };
    let mut observed = observe(&host, limits, Some(closure)).await;
    let mut health = Health::Unasked;
    for _ in 0..PASSES {
        let sync = assess(&desired, &observed).sync;
        if sync == SyncState::InSync {
            return Ok(());
        }
        if sync == SyncState::Confirming {
            probe(&host, limits.command).await?;
            health = Health::Passing;
        }
        let plan = plan(&desired, &observed, &health);
        let applied = apply(delivery, &plan, Some(closure)).await?;
        if applied.outcome.as_ref().is_some_and(|outcome| !outcome.is_success()) {
            return Err(format!("{}: {applied:?}", target.name()).into());
        }
        observed = applied.observed;
    }
    Err(format!("{} is not in sync: {observed:?}", target.name()).into())
}

/// Looks at all targets, of which none has anything to do.
pub(super) async fn pass(fleet: &Fleet<'_>, release: &[StorePath]) -> Try<Duration> {
    let began = Instant::now();
    stream::iter(fleet.targets.iter().zip(release))
        .map(async |(target, closure)| -> Try<()> {
            let host = fleet.host(target)?;
            let observed = observe(&host, fleet.nix.limits(), Some(closure)).await;
            let plan = plan(&desired(closure), &observed, &Health::Unasked);
            if observed.state().is_none() || !plan.is_empty() {
                return Err(format!("{}: {observed:?}, {plan:?}", target.name()).into());
            }
            Ok(())
        })
        .buffer_unordered(PASS_WIDTH)
        .try_collect::<()>()
        .await?;
    Ok(began.elapsed())
}

fn desired(closure: &StorePath) -> Desired {
    Desired {
        closure: closure.clone(),
        known: vec![],
        action: Action::Switch,
        confirm_timeout: Duration::from_mins(2),
        may_reboot: false,
        attempt: Attempt::First,
    }
}
