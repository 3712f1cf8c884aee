//! Messages whose content is an object.

use std::sync::Arc;

use async_nats::{HeaderMap, jetstream};
use cim_comms::{
    About, ClaimStore, Envelope, Error as CommsError, Kind, Outbox, Payload, Route, Stamp,
};
use cim_e2e::lab::{Lab, wait_until};
use cim_objects::{Cid, StoreId};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::{Result, SOON, Scene, bucket};
use crate::harness::Outcome;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Scanned {
    page: String,
}

impl Payload for Scanned {
    const KIND: Kind = Kind::Event;
    const TYPE: &'static str = "PageScanned";
    const SCHEMA: u32 = 1;
}

pub(crate) async fn large_messages_travel_by_reference(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "messages").await?;
    let config = jetstream::stream::Config {
        name: "EVENTS_HOME".into(),
        subjects: vec!["evt.home.>".into()],
        ..Default::default()
    };
    scene.context.create_stream(config).await?;
    let store = Arc::clone(scene.stores.get(&"a".parse::<StoreId>()?).ok_or("no store")?);
    let claims = ClaimStore::new(store, bucket("a"), ClaimStore::THRESHOLD, ClaimStore::MAX);
    let outbox = Outbox::new(scene.context.clone(), Some(claims), SOON);
    let plain = Outbox::new(scene.context.clone(), None, SOON);
    let route = Route { domain: "home".parse()?, aggregate: "scan".parse()?, id: "7".parse()? };
    let about = About { route, owner: "home".parse()?, source: "scanner".parse()? };
    let page = |letters| Scanned { page: "x".repeat(letters) };

    let root = Envelope::root(Stamp::now(), about.clone(), page(100));
    // The stream is new, and a message before it is known to all would find nobody.
    let first = wait_until("the stream", SOON, async || outbox.publish(&root).await).await?;
    let again = outbox.publish(&root).await?;
    assert_eq!((again.sequence, again.duplicate), (first.sequence, true));
    let caused = root.cause(Stamp::now(), about.clone(), page(2 << 20));
    let sent = outbox.publish(&caused).await?;
    assert_eq!(outbox.fetch::<Scanned>("EVENTS_HOME", first.sequence).await?, root);
    assert_eq!(outbox.fetch::<Scanned>("EVENTS_HOME", sent.sequence).await?, caused);
    let stream = scene.context.get_stream("EVENTS_HOME").await?;
    let raw = stream.get_raw_message(sent.sequence).await?;
    assert!(raw.payload.len() < 1000, "{} bytes travelled", raw.payload.len());
    let cid: Cid = header(&raw.headers, "CIM-Content-Cid")?.parse()?;
    assert_eq!(header(&raw.headers, "CIM-Correlation-Id")?, root.stamp.id.to_string());

    // The content is an object like any other: it gets its copies.
    let (seen, _) = scene.converge().await?;
    assert_eq!((seen.stats.objects, scene.look().await.stats.verified), (1, 3));
    let mut names = scene.stock("c").await?.list().await?;
    assert_eq!(names.next().await.ok_or("no object")??.name, cid.to_string());

    let lonely = plain.fetch::<Scanned>("EVENTS_HOME", sent.sequence).await;
    assert!(matches!(lonely, Err(CommsError::NoStore { .. })), "{lonely:?}");
    let large = plain.publish(&Envelope::root(Stamp::now(), about, page(2 << 20))).await;
    assert!(matches!(large, Err(CommsError::TooLarge { .. })), "{large:?}");
    scene.remove().await
}

fn header(headers: &HeaderMap, name: &str) -> Result<String> {
    Ok(headers.get(name).ok_or_else(|| format!("no header {name}"))?.to_string())
}
