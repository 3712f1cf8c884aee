//! What an account may, on all servers and for clients that are connected.

use cim_e2e::lab::{Lab, wait_until};
use cim_nats::{account::Inbox, login, system::Deadlines};
use cim_plan::DriftClass;

use super::{ELSEWHERE, SERVERS, SOON, Scene, copies, only};
use crate::harness::Outcome;

pub(crate) async fn an_account_is_made_equal_on_all_servers(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "made").await?;
    let findings = scene.converge().await?;
    let missing = only(&findings, DriftClass::Missing)?;
    assert_eq!(missing.expected.as_deref(), Some("on nats-a, nats-b, nats-c"));
    let observed = scene.observe().await?;
    let ids: Vec<_> = copies(&observed, &scene.key())
        .iter()
        .filter_map(|copy| copy.token().map(|token| token.claims().jti.clone()))
        .collect();
    assert_eq!(ids.len(), SERVERS);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(scene.plan(&scene.desired()?).await?.is_empty());
    scene.remove().await
}

pub(crate) async fn creds_do_what_they_may_and_nothing_else(lab: &Lab) -> Outcome {
    let mut scene = Scene::pushed(lab, "creds").await?;
    let mut live = scene.live().await?;
    assert!(live.may_publish("evt.vault.sealed").await?);
    assert!(!live.may_publish(ELSEWHERE).await?);
    live.hears("Permissions Violation for Publish to \"audit.vault\"").await?;
    let _secret = live.client.subscribe("cmd.vault.open").await?;
    live.hears("Permissions Violation for Subscription to \"cmd.vault.open\"").await?;

    // The server itself says what the user may, as soon as it has heard of a change.
    let urls = lab.nats()?.urls();
    for (inbox, subscribe) in [(Inbox::Private, "cmd.vault.>"), (Inbox::Shared, "cmd.> workers")] {
        let role = scene.account.roles.values_mut().next().ok_or("no role")?;
        let before = role.clone();
        role.inbox = inbox;
        role.subscribe = vec![subscribe.parse()?];
        let access = role.clone();
        scene.converge().await?;
        let login = login(&urls, &scene.user()?, Deadlines::default()).await?;
        assert_eq!(login.account, scene.key());
        assert!(login.is(&access), "{login:?}");
        assert!(!login.is(&before), "{login:?}");
    }
    scene.remove().await
}

pub(crate) async fn a_changed_role_reaches_a_live_client(lab: &Lab) -> Outcome {
    let mut scene = Scene::pushed(lab, "role").await?;
    let mut live = scene.live().await?;
    assert!(!live.may_publish(ELSEWHERE).await?);
    let role = scene.account.roles.values_mut().next().ok_or("no role")?;
    role.publish.push("audit.>".parse()?);
    let findings = scene.converge().await?;
    let found = format!("{:?}", only(&findings, DriftClass::Changed)?);
    assert!(found.contains("signing_keys[vault.api].template.pub.allow[audit.>]"), "{found}");
    // The client is cut off for a moment and comes back with the credentials that it has.
    wait_until("the new permission to hold", SOON, async || {
        match live.may_publish(ELSEWHERE).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("refused".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await?;
    // Without its signing key a role is nobody's.
    scene.account.roles.clear();
    scene.converge().await?;
    live.hears("disconnected").await?;
    scene.remove().await
}
