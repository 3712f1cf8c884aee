//! The streams and buckets of a service.

use cim_e2e::lab::{Lab, wait_until};
use cim_nats::{
    jetstream::{self, AccountClient, KeyValue, Resource, Storage},
    system::Deadlines,
};
use cim_plan::{DriftClass, Plan};

use super::{Result, SOON, Scene, connect};
use crate::harness::Outcome;

pub(crate) async fn streams_are_made_repaired_and_those_of_others_left_alone(lab: &Lab) -> Outcome {
    let scene = Scene::pushed(lab, "streams").await?;
    let urls = lab.nats()?.urls();
    let client =
        AccountClient::connect(&urls, &scene.control()?, "cases", Deadlines::default()).await?;
    let bucket = |name: &str, replicas| -> Result<Resource> {
        let (name, storage) = (name.parse()?, Storage::File);
        let bucket = KeyValue { name, history: 1, ttl: None, storage, replicas, max_bytes: None };
        Ok(Resource::KeyValue(bucket))
    };
    let desired = jetstream::Desired {
        owner: "default/vault".into(),
        resources: vec![bucket("CFG", 3)?],
        adopt: [].into(),
    };
    let converge = async |desired: &jetstream::Desired| -> Result<Plan<jetstream::Change>> {
        let plan = jetstream::plan(desired, &client.observe().await?)?;
        assert_eq!(jetstream::apply(&client, &plan).await?, []);
        Ok(plan)
    };
    // A new account's JetStream takes a moment to be known to all.
    wait_until("the bucket to be made", SOON, async || match converge(&desired).await {
        Ok(plan) if plan.is_empty() && plan.findings.is_empty() => Ok(()),
        Ok(plan) => Err(plan.to_string()),
        Err(error) => Err(error.to_string()),
    })
    .await?;

    // Somebody shrinks it.
    let (by_hand, _) = connect(lab, &scene.control()?).await?;
    let found = client.observe().await?;
    let mut config = found.streams["KV_CFG"].config.clone();
    config.insert("max_bytes".into(), 4096.into());
    let body = serde_json::to_vec(&config)?;
    by_hand.request("$JS.API.STREAM.UPDATE.KV_CFG", body.into()).await?;
    let plan = converge(&desired).await?;
    assert_eq!(plan.findings[0].found.as_deref(), Some("max_bytes 4096"));
    assert!(converge(&desired).await?.is_empty());

    // Another service wants the same name.
    let other = jetstream::Desired { owner: "default/other".into(), ..desired.clone() };
    let plan = converge(&other).await?;
    assert!(plan.is_empty());
    assert_eq!(plan.findings[0].found.as_deref(), Some("exists, made by default/vault"));

    // What nobody wants any more stays, with its messages.
    let none = jetstream::Desired { resources: vec![], ..desired };
    assert_eq!(converge(&none).await?.count(DriftClass::Unexpected), 1);
    assert!(client.observe().await?.streams.contains_key("KV_CFG"));
    scene.remove().await
}
