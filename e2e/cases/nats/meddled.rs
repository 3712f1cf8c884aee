//! Accounts that somebody deleted, changed or would take over: put right, or refused.

use std::time::Duration;

use cim_e2e::lab::Lab;
use cim_nats::{
    jwt::{Claims, DeleteBody, Token},
    keys::OperatorSeed,
    sync::Desired,
};
use cim_plan::DriftClass;

use super::{SERVERS, Scene, now, only};
use crate::harness::Outcome;

pub(crate) async fn an_account_deleted_by_hand_comes_back(lab: &Lab) -> Outcome {
    let mut scene = Scene::pushed(lab, "deleted").await?;
    let mut live = scene.live().await?;

    // From all servers, by somebody who has the operator's key.
    let signing = scene.operator()?.signing();
    let body = DeleteBody { accounts: vec![scene.key()] };
    let token = Token::sign(Claims::new("", signing.public(), body), now(), signing)?;
    let acks = scene.client.delete(&token, SERVERS).await?;
    assert_eq!(acks.iter().filter(|ack| ack.outcome.is_ok()).count(), SERVERS);
    live.hears("disconnected").await?;
    only(&scene.converge().await?, DriftClass::Missing)?;
    live.hears("connected").await?;
    assert!(live.may_publish("evt.vault.sealed").await?);

    // From one, by somebody who has its disk.
    let server = &lab.nats()?.servers()[1];
    let file = server.dir().join("resolver").join(format!("{}.jwt", scene.key()));
    std::fs::remove_file(&file)?;
    let findings = scene.converge().await?;
    let missing = only(&findings, DriftClass::Missing)?;
    assert_eq!(missing.expected.as_deref(), Some("on nats-b"));
    assert!(file.exists());
    scene.remove().await
}

pub(crate) async fn a_jwt_changed_by_hand_is_put_right(lab: &Lab) -> Outcome {
    let mut scene = Scene::pushed(lab, "changed").await?;
    let desired = scene.desired()?;
    let signing = scene.operator()?.signing();
    let mut theirs = desired.accounts[&scene.key()].clone();
    theirs.nats.limits.conn = 1;
    // Much later than ours: what follows must be later still.
    let later = now().plus(Duration::from_hours(24));
    let token = Token::sign(theirs, later, signing)?;
    scene.client.push(&[token], SERVERS).await?;
    let findings = scene.converge().await?;
    let changed = only(&findings, DriftClass::Changed)?;
    assert_eq!(changed.found.as_deref(), Some("limits.conn 1"));
    assert_eq!(scene.issued[&scene.key()], later.next());

    // Rubbish on one disk is not read by anybody until somebody needs it.
    let server = &lab.nats()?.servers()[2];
    let file = server.dir().join("resolver").join(format!("{}.jwt", scene.key()));
    std::fs::write(&file, "rubbish")?;
    only(&scene.converge().await?, DriftClass::Changed)?;
    scene.remove().await
}

pub(crate) async fn another_operator_is_refused_before_anything_is_pushed(lab: &Lab) -> Outcome {
    let scene = Scene::pushed(lab, "rogue").await?;
    let before = scene.observe().await?;
    let rogue = OperatorSeed::generate()?;
    let desired = Desired { signer: rogue.public(), ..scene.desired()? };
    let plan = scene.plan(&desired).await?;
    assert!(plan.is_empty(), "{plan}");
    let refusals: Vec<_> = plan
        .findings
        .iter()
        .filter(|finding| finding.subject.ends_with("trusted operator keys"))
        .map(|finding| (finding.expected.as_deref(), finding.found.as_deref()))
        .collect();
    let signing = scene.operator()?.signing().public();
    assert_eq!(refusals, [(Some(rogue.public().as_str()), Some(signing.as_str())); SERVERS]);

    // Why this matters: the servers would have taken it, and answered that all is well.
    let theirs = desired.accounts[&scene.key()].clone();
    let acks = scene.client.push(&[Token::sign(theirs, now(), &rogue)?], SERVERS).await?;
    assert!(acks[0].iter().all(|ack| ack.outcome.is_ok()), "{acks:?}");
    assert_ne!(scene.observe().await?.accounts, before.accounts);
    let mut scene = scene;
    only(&scene.converge().await?, DriftClass::Changed)?;
    scene.remove().await
}
