//! Servers that are away: unverified, not missing, and equal again once they are back.

use cim_e2e::lab::{Lab, wait_until};
use cim_nats::{
    Error, OperatorBundle,
    sync::Change,
    system::{Deadlines, SystemClient},
};
use cim_plan::DriftClass;

use super::{SERVERS, SOON, Scene, now};
use crate::harness::Outcome;

pub(crate) async fn a_server_that_is_down_is_unverified_and_catches_up(lab: &Lab) -> Outcome {
    let mut scene = Scene::pushed(lab, "down").await?;
    let server = &lab.nats()?.servers()[2];
    server.kill().await?;
    let fewer = async || match scene.observe().await {
        Ok(observed) if observed.servers.len() < SERVERS => Ok(()),
        Ok(_) => Err("it still answers".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    wait_until("two servers to be left", SOON, fewer).await?;
    scene.account.description = "changed while a server was down".into();
    scene.apply(&scene.desired()?).await?;
    let plan = scene.plan(&scene.desired()?).await?;
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(plan.count(DriftClass::Unverified), 1);
    assert_eq!(plan.count(DriftClass::Missing), 0, "what does not answer is not missing");
    server.restart().await?;
    wait_until("it to be as the others", SOON, async || match scene.converge().await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    })
    .await?;
    scene.remove().await
}

pub(crate) async fn nobody_there_is_an_error_that_names_whom_we_tried(lab: &Lab) -> Outcome {
    let creds = lab.nats()?.operator().system_creds();
    let nobody = ["nats://127.0.0.1:1".to_owned()];
    let error = SystemClient::connect(&nobody, creds, "cases", Deadlines::default()).await;
    let Err(error @ Error::Unreachable { .. }) = error else { return Err("it is there".into()) };
    assert!(error.to_string().contains("nats://127.0.0.1:1"), "{error}");

    // Another operator's user is refused, and does not wait for ever.
    let stranger = OperatorBundle::generate("stranger", now())?;
    let urls = lab.nats()?.urls();
    let creds = stranger.system_creds();
    let error = SystemClient::connect(&urls, creds, "cases", Deadlines::default()).await;
    let error = error.err().ok_or("a stranger was let in")?.to_string();
    assert!(error.contains("authorization violation"), "{error}");

    // A user of an account that is not the system's can ask nothing.
    let scene = Scene::pushed(lab, "asker").await?;
    let deadlines = Deadlines::default();
    let client = SystemClient::connect(&urls, &scene.control()?, "cases", deadlines).await?;
    let error = client.servers().await.err().ok_or("it was answered")?.to_string();
    assert!(error.contains("system account"), "{error}");
    scene.remove().await
}

pub(crate) async fn a_deleted_account_stays_deleted_though_a_server_was_away(lab: &Lab) -> Outcome {
    let mut scene = Scene::pushed(lab, "ghost").await?;
    let mut live = scene.live().await?;
    let server = &lab.nats()?.servers()[2];
    server.kill().await?;
    let deletion = scene.deletion()?;
    let plan = wait_until("two servers to be left", SOON, async || {
        let plan = scene.plan(&deletion).await.map_err(|error| error.to_string())?;
        if plan.changes.len() == 1 { Ok(plan) } else { Err(plan.to_string()) }
    })
    .await?;
    let [Change::Tombstone { .. }] = plan.changes.as_slice() else {
        return Err(format!("deleted while a server is away:\n{plan}").into());
    };
    scene.apply(&deletion).await?;
    // Users are out at once, whatever the server that is away may think.
    live.hears("disconnected").await?;
    server.restart().await?;
    wait_until("all servers to have let go", SOON, async || -> Outcome {
        scene.apply(&scene.deletion()?).await?;
        let gone = scene.observe().await?.is_gone(&scene.key(), SERVERS);
        if gone { Ok(()) } else { Err("not yet".into()) }
    })
    .await?;
    Ok(())
}
