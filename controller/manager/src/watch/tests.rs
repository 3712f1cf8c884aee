//! What a watch makes of the events that it gets.

use std::sync::mpsc::{Receiver, channel};

use http::{Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::client::Body;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::{Fingerprint, Seen, Watch, digest};
use crate::ops::metrics::Metrics;

/// The object itself cares for its data, its dependents for its labels.
fn fingerprint(object: &ConfigMap) -> Fingerprint {
    let data = format!("{:?}", object.data);
    Fingerprint { own: digest(&data), dependents: digest(&object.metadata.labels) }
}

fn watch() -> (Watch<ConfigMap>, Receiver<String>) {
    let (service, _handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let client = Client::new(service, "home");
    let metrics = Metrics::new(false).expect("metrics");
    let (sender, receiver) = channel();
    let watch = Watch::new("ConfigMap", client, None, fingerprint, metrics).tell(move |seen| {
        let name = |object: &ConfigMap| object.metadata.name.clone().unwrap_or_default();
        let told = match seen {
            Seen::Changed { object, own, dependents } => {
                format!("{} own={own} dependents={dependents}", name(object))
            }
            Seen::Gone { object } => format!("{} gone", name(object)),
        };
        sender.send(told).expect("listening");
    });
    (watch, receiver)
}

fn object(name: &str, data: &Value, label: &str) -> DeserializeGuard<ConfigMap> {
    let value = json!({
        "metadata": { "name": name, "namespace": "home", "labels": { "is": label },
                      "managedFields": [{ "manager": "somebody" }] },
        "data": data,
    });
    serde_json::from_value(value).expect("at least its metadata can be read")
}

fn good(name: &str, value: &str) -> DeserializeGuard<ConfigMap> {
    object(name, &json!({ "key": value }), "x")
}

fn bad(name: &str) -> DeserializeGuard<ConfigMap> {
    object(name, &json!("no map"), "x")
}

fn list(watch: &mut Watch<ConfigMap>, objects: Vec<DeserializeGuard<ConfigMap>>) {
    watch.handle(Event::Init);
    for object in objects {
        watch.handle(Event::InitApply(object));
    }
    assert!(watch.handle(Event::InitDone), "a complete list is told");
}

fn told(receiver: &Receiver<String>) -> Vec<String> {
    let mut told: Vec<String> = receiver.try_iter().collect();
    told.sort();
    told
}

#[tokio::test]
async fn only_what_changes_something_that_somebody_reads_is_told() {
    let (mut watch, receiver) = watch();
    list(&mut watch, vec![good("a", "1"), good("b", "1")]);
    assert_eq!(told(&receiver), ["a own=true dependents=true", "b own=true dependents=true"]);
    watch.handle(Event::Apply(good("a", "1")));
    assert_eq!(told(&receiver), Vec::<String>::new());
    watch.handle(Event::Apply(good("a", "2")));
    assert_eq!(told(&receiver), ["a own=true dependents=false"]);
    watch.handle(Event::Apply(object("a", &json!({ "key": "2" }), "y")));
    assert_eq!(told(&receiver), ["a own=false dependents=true"]);
    // The same list again, after a lost connection.
    list(&mut watch, vec![object("a", &json!({ "key": "2" }), "y"), good("b", "1")]);
    assert_eq!(told(&receiver), Vec::<String>::new());
}

#[tokio::test]
async fn deletions_are_told_also_those_that_nobody_watched() {
    let (mut watch, receiver) = watch();
    list(&mut watch, vec![good("a", "1"), good("b", "1"), good("c", "1")]);
    told(&receiver);
    watch.handle(Event::Delete(good("a", "1")));
    assert_eq!(told(&receiver), ["a gone"]);
    list(&mut watch, vec![good("c", "1")]);
    assert_eq!(told(&receiver), ["b gone"]);
    assert_eq!(watch.cache().list("home").len(), 1);
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_named_and_not_taken_for_gone() {
    let (mut watch, receiver) = watch();
    list(&mut watch, vec![good("a", "1"), bad("b")]);
    let cache = watch.cache();
    assert_eq!(cache.unreadable("home"), ["b"]);
    assert_eq!(told(&receiver), ["a own=true dependents=true"]);
    watch.handle(Event::Apply(bad("a")));
    assert_eq!(cache.unreadable("home"), ["a", "b"]);
    list(&mut watch, vec![bad("a"), bad("b")]);
    assert_eq!(told(&receiver), Vec::<String>::new());
    assert!(cache.get("home", "a").is_some(), "what was read before stays");
    watch.handle(Event::Apply(good("b", "1")));
    assert_eq!(cache.unreadable("home"), ["a"]);
    watch.handle(Event::Delete(bad("a")));
    assert_eq!(cache.unreadable("home"), Vec::<String>::new());
    assert!(cache.get("home", "a").is_none());
}

#[tokio::test]
async fn everybody_who_waits_for_the_first_list_is_told() {
    let (mut watch, _receiver) = watch();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let cache = watch.cache();
            tokio::spawn(async move { cache.synced().await })
        })
        .collect();
    tokio::task::yield_now().await;
    list(&mut watch, vec![good("a", "1")]);
    for waiting in waiting {
        assert!(waiting.await.expect("joined"));
    }
}

#[tokio::test]
async fn bookkeeping_of_field_managers_is_not_kept() {
    let (mut watch, _receiver) = watch();
    list(&mut watch, vec![good("a", "1")]);
    let object = watch.cache().get("home", "a").expect("cached");
    assert_eq!(object.metadata.managed_fields.clone().unwrap_or_default(), []);
}
