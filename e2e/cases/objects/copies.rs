//! Copies are made of every object, whoever put it, and stay while somebody relies on them.

use std::time::Duration;

use cim_e2e::lab::Lab;
use cim_objects::{Hasher, Profile, Replicas};
use cim_plan::DriftClass;
use tokio::io::AsyncReadExt;

use super::{NODES, Scene, bucket, noise};
use crate::harness::Outcome;

/// Small, exactly one block, and of several blocks.
fn bodies() -> [Vec<u8>; 4] {
    [Vec::new(), b"hello world".to_vec(), noise(1 << 20, 1), noise(3_000_000, 2)]
}

pub(crate) async fn copies_are_made_and_anybody_can_read_them(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "copies").await?;
    let mut cids = Vec::new();
    for body in bodies() {
        cids.push(scene.put("a", body).await?);
    }
    let (seen, done) = scene.converge().await?;
    assert_eq!((seen.stats.verified, seen.plan.count(DriftClass::Missing)), (4, 4));
    assert_eq!(done.len(), 8);
    let stats = scene.look().await.stats;
    assert_eq!((stats.verified, stats.missing, stats.satisfied), (12, 0, 4));
    for node in NODES {
        let stock = scene.stock(node).await?;
        for (cid, body) in cids.iter().zip(bodies()) {
            let mut read = Vec::new();
            stock.get(cid.to_string()).await?.read_to_end(&mut read).await?;
            assert_eq!(read.len(), body.len());
            assert_eq!(read, body, "the client library reads other bytes of {cid} in {node}");
            let info = stock.info(cid.to_string()).await?;
            assert_eq!(info.metadata.get("name").map(String::as_str), Some("case"));
        }
    }
    // Each bucket is where its tag puts it.
    for node in NODES {
        let info = scene.context.get_stream(format!("OBJ_{}", bucket(node))).await?;
        let leader = info.cached_info().cluster.as_ref().and_then(|c| c.leader.clone());
        assert_eq!(leader, Some(format!("nats-{node}")));
    }
    scene.remove().await
}

pub(crate) async fn an_object_of_another_client_gets_its_copies(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "stock").await?;
    let body = noise(2_500_000, 3);
    let mut hasher = Hasher::new(Profile::V1_2025);
    hasher.update(&body);
    let cid = hasher.finish().cid;
    scene.stock("b").await?.put(cid.to_string().as_str(), &mut body.as_slice()).await?;
    // Something that is not named by a CID is somebody else's.
    scene.stock("b").await?.put("notes.txt", &mut &b"mine"[..]).await?;
    let (_, done) = scene.converge().await?;
    assert_eq!(done.len(), 2);
    let seen = scene.look().await;
    assert_eq!((seen.stats.objects, seen.stats.verified), (1, 3));
    assert_eq!(seen.plan.count(DriftClass::Unexpected), 1);
    assert!(scene.stock("b").await?.info("notes.txt").await.is_ok());
    scene.remove().await
}

pub(crate) async fn a_copy_that_another_controller_relies_on_stays(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "locked").await?;
    let cid = scene.put("a", b"hello world".to_vec()).await?;
    scene.converge().await?;
    let lock = scene.store("b")?.lock(&cid, "another", Duration::from_mins(5)).await?;
    let again = scene.store("b")?.lock(&cid, "cases", Duration::from_mins(5)).await;
    let refused = again.err().ok_or("a copy was locked twice")?.to_string();
    assert!(refused.contains("locked by another until "), "{refused}");
    scene.desired.policy.replicas = Replicas::new(2, 2, 2)?;
    let (seen, applied) = scene.pass().await;
    assert_eq!((seen.plan.changes.len(), applied.done.len()), (1, 0));
    assert!(scene.store("b")?.head(&cid).await?.is_some());
    scene.store("b")?.unlock(lock).await?;
    let (_, done) = scene.converge().await?;
    assert_eq!(done.len(), 1);
    scene.remove().await
}
