//! A server that is away makes its copies unknown, not missing.

use cim_e2e::lab::{Lab, wait_until};
use cim_objects::{Change, Replicas};
use cim_plan::DriftClass;

use super::{NODES, SOON, Scene, noise};
use crate::harness::Outcome;

pub(crate) async fn a_stopped_server_is_unknown_and_nothing_is_trimmed(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "stopped").await?;
    let cid = scene.put("a", noise(700_000, 7)).await?;
    scene.converge().await?;
    let server = &lab.nats()?.servers()[2];
    server.kill().await?;
    let (seen, applied) = scene.pass().await;
    let stats = &seen.stats;
    assert_eq!((stats.verified, stats.unknown, stats.missing, stats.lost), (2, 1, 0, 0));
    assert_eq!(seen.plan.count(DriftClass::Unverified), 1, "{:?}", seen.plan.findings);
    assert!(applied.done.is_empty(), "{applied:?}");

    // Fewer copies would do now. As long as a store is unknown, none goes.
    scene.desired.policy.replicas = Replicas::new(1, 1, 1)?;
    let (seen, applied) = scene.pass().await;
    assert_eq!(seen.stats.surplus, 1, "{:?}", seen.plan.findings);
    assert!(seen.plan.is_empty() && applied.done.is_empty(), "{applied:?}");
    server.restart().await?;
    let known = async || {
        let seen = scene.look().await;
        if seen.stats.unknown == 0 { Ok(seen) } else { Err(format!("{:?}", seen.stats)) }
    };
    wait_until("the store to be known again", SOON, known).await?;
    let (_, done) = scene.converge().await?;
    assert!(done.iter().all(|change| matches!(change, Change::Trim { .. })), "{done:?}");
    let mut left = 0;
    for node in NODES {
        left += usize::from(scene.store(node)?.head(&cid).await?.is_some());
    }
    assert_eq!((done.len(), left), (2, 1));
    scene.remove().await
}
