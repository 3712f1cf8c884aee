//! What is damaged or missing is made good from a good copy, and without one nothing is removed.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use cim_e2e::lab::{Lab, wait_until};
use cim_objects::{Change, Item, Rehash, StrayKind};
use cim_plan::DriftClass;
use tokio::io::AsyncReadExt;

use super::{NODES, Result, SOON, Scene, bucket, noise};
use crate::harness::Outcome;

pub(crate) async fn a_damaged_copy_is_repaired_from_a_good_one(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "damaged").await?;
    let body = noise(3_000_000, 4);
    let cid = scene.put("a", body.clone()).await?;
    scene.converge().await?;
    let head = async |scene: &Scene<'_>, node: &str| -> Result<_> {
        Ok(scene.store(node)?.head(&cid).await?.ok_or("no copy")?.version)
    };
    let ways: [&str; 4] = ["a chunk is gone", "a chunk is another", "overwritten", "unreadable"];
    for (node, way) in ["a", "b", "c", "a"].into_iter().zip(ways) {
        let version = head(&scene, node).await?;
        let stream = scene.context.get_stream(format!("OBJ_{}", bucket(node))).await?;
        match way {
            "a chunk is gone" => drop(stream.delete_message(version.tail - 2).await?),
            "a chunk is another" => {
                // Same size, same place, one bit: only reading finds that it is wrong.
                let last = stream.get_raw_message(version.tail).await?;
                stream.delete_message(version.tail).await?;
                let mut payload = last.payload.to_vec();
                payload[0] ^= 1;
                scene.context.publish(last.subject, payload.into()).await?.await?;
            }
            "overwritten" => {
                let other = &b"something else"[..];
                drop(scene.stock(node).await?.put(cid.to_string().as_str(), &mut { other }).await?);
            }
            _ => {
                let meta = stream.get_raw_message(version.head).await?;
                scene.context.publish(meta.subject, "not json".into()).await?.await?;
            }
        }
        let (seen, done) = scene.converge().await?;
        assert_eq!((seen.stats.corrupt, seen.plan.count(DriftClass::Changed)), (1, 1), "{way}");
        assert!(matches!(&done[..], [Change::Repair { .. }]), "{way}: {done:?}");
        let mut read = Vec::new();
        scene.stock(node).await?.get(cid.to_string()).await?.read_to_end(&mut read).await?;
        assert_eq!(read, body, "{way}");
    }

    // What was damaged was moved aside first, and goes once nobody looks at it any more.
    let quarantined = async |scene: &Scene<'_>| -> Result<usize> {
        let mut count = 0;
        for node in NODES {
            let mut each = |item| {
                if let Item::Stray(stray) = item {
                    count += usize::from(matches!(stray.kind, StrayKind::Quarantined { .. }));
                }
            };
            scene.store(node)?.list(&mut each).await?;
        }
        Ok(count)
    };
    assert_eq!(quarantined(&scene).await?, 3);
    scene.desired.policy.trash = Duration::ZERO;
    let (_, done) = scene.converge().await?;
    assert!(done.iter().all(|change| matches!(change, Change::Expunge { .. })), "{done:?}");
    assert_eq!((done.len(), quarantined(&scene).await?), (3, 0));
    scene.remove().await
}

pub(crate) async fn a_missing_copy_is_made_again(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "missing").await?;
    let cid = scene.put("a", noise(700_000, 5)).await?;
    scene.converge().await?;
    scene.stock("a").await?.delete(cid.to_string()).await?;
    let (seen, done) = scene.converge().await?;
    assert_eq!((seen.stats.missing, done.len()), (1, 1));
    scene.context.get_stream("OBJ_CAS_B").await?.purge().await?;
    let (seen, done) = scene.converge().await?;
    assert_eq!((seen.stats.missing, done.len()), (1, 1));
    scene.context.delete_stream("OBJ_CAS_C").await?;
    let (seen, done) = scene.converge().await?;
    assert_eq!(seen.plan.count(DriftClass::Missing), 2, "a bucket and a copy");
    assert!(matches!(&done[..], [Change::CreateStore { .. }, Change::Copy { .. }]), "{done:?}");
    scene.remove().await
}

pub(crate) async fn when_no_good_copy_is_left_nothing_is_removed(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "lost").await?;
    let body = noise(700_000, 6);
    let cid = scene.put("a", body.clone()).await?;
    scene.converge().await?;
    for node in NODES {
        scene.stock(node).await?.put(cid.to_string().as_str(), &mut &b"other"[..]).await?;
    }
    let (seen, applied) = scene.pass().await;
    assert_eq!((seen.stats.lost, seen.stats.corrupt), (1, 3));
    assert!(applied.done.is_empty() && applied.failed.is_empty(), "{applied:?}");
    let said = seen.plan.findings.iter().filter_map(|finding| finding.found.as_deref());
    assert!(said.into_iter().any(|said| said.contains("LOST")), "{:?}", seen.plan.findings);
    for node in NODES {
        let size = scene.stock(node).await?.info(cid.to_string()).await?.size;
        assert_eq!(size, 5, "what is left in {node} was touched");
    }
    // Whoever still has it puts it again.
    assert_eq!(scene.put("b", body).await?, cid);
    let (_, done) = scene.converge().await?;
    assert_eq!(done.len(), 2);
    scene.remove().await
}

/// Nothing that the server is asked shows this; reading does.
pub(crate) async fn rot_on_the_disk_is_found_by_reading(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "rot").await?;
    scene.put("a", noise(3_000_000, 8)).await?;
    scene.converge().await?;
    // A server that was stopped in order trusts its index, and has nothing in memory.
    let server = &lab.nats()?.servers()[0];
    server.stop().await?;
    flip_a_bit_of("OBJ_CAS_A", &server.dir().join("jetstream"))?;
    server.restart().await?;
    let known = async || match scene.look().await.stats {
        stats if stats.unknown == 0 => Ok(stats),
        stats => Err(format!("{stats:?}")),
    };
    let stats = wait_until("the store to be known again", SOON, known).await?;
    assert_eq!(
        (stats.verified, stats.corrupt),
        (3, 0),
        "unchanged stores are read when it is time"
    );
    let seen = scene.look_with(Rehash::All).await;
    assert_eq!((seen.stats.verified, seen.stats.corrupt), (2, 1));
    let applied = scene.act(&seen).await;
    assert!(matches!(&applied.done[..], [Change::Repair { .. }]), "{applied:?}");
    assert_eq!(scene.look_with(Rehash::All).await.stats.satisfied, 1);
    scene.remove().await
}

/// Changes one bit in the middle of the largest block of the stream `name` below `dir`.
fn flip_a_bit_of(name: &str, dir: &Path) -> Outcome {
    let mut dirs = vec![dir.to_owned()];
    let mut largest: Option<(u64, PathBuf)> = None;
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let size = path.metadata()?.len();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "blk")
                && path.components().any(|part| part.as_os_str() == name)
                && largest.as_ref().is_none_or(|(most, _)| *most < size)
            {
                largest = Some((size, path));
            }
        }
    }
    let (_, path) = largest.ok_or_else(|| format!("no block of {name} in {}", dir.display()))?;
    let mut bytes = std::fs::read(&path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(std::fs::write(&path, bytes)?)
}
