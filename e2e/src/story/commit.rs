//! A new commit in the flake reaches the machines without anybody's doing.

use std::time::Instant;

use super::{DEADLINE, Scene, truth};
use crate::lab::Result;

pub(super) async fn commit(scene: &Scene<'_>) -> Result<()> {
    let home = scene.home;
    truth::settled(home).await?;
    let (revision, message) = home.release().await?;
    let cause = Instant::now();
    home.eventually(&format!("the Cluster to see {revision}"), DEADLINE, async || {
        let cluster = home.object("clusters", "core").await.map_err(|e| e.to_string())?;
        let release = cluster.status()["release"]["rev"].as_str().unwrap_or("none");
        if release == revision { Ok(()) } else { Err(format!("its release is {release}")) }
    })
    .await?;
    let seen = cause.elapsed();
    for host in home.hosts() {
        truth::says(home, host, &message).await?;
        let what = format!("{} says {message:?}", host.name());
        scene.tell(what, Some(seen), Some(cause.elapsed()));
    }
    for host in home.hosts() {
        truth::runs(home, host, &revision).await?;
    }
    Ok(())
}
