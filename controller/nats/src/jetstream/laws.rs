//! The laws of the plan, over a model of an account's streams.

use std::time::Duration;

use cim_plan::{DriftClass, Plan, testkit};
use proptest::prelude::*;
use serde_json::json;

use super::client::{FoundStream, Observed};
use super::config::{Discard, KeyValue, ObjectStore, Resource, Retention, Storage, Stream};
use super::plan::{Change, Desired, plan};

fn apply(model: &mut Observed, change: &Change) {
    let (Change::Create { stream, config } | Change::Update { stream, config }) = change;
    let mut config = config.clone();
    // As the server does: it adds metadata and leaves out what is false.
    config["metadata"]["_nats.level"] = "1".into();
    config.retain(|_, value| *value != false);
    let messages = model.streams.get(stream).map_or(0, |found| found.messages);
    model.streams.insert(stream.clone(), FoundStream { config, messages });
}

fn resource() -> impl Strategy<Value = Resource> {
    let storage = prop_oneof![Just(Storage::File), Just(Storage::Memory)];
    let ttl = proptest::option::of((1..500_u64).prop_map(Duration::from_secs));
    let bytes = proptest::option::of(1..9_u64);
    (0..3_u8, 0..3_u8, storage, 1..4_u32, ttl, bytes).prop_map(
        |(sort, name, storage, replicas, ttl, max_bytes)| {
            let name = format!("S{name}").parse().unwrap();
            match sort {
                0 => Resource::Stream(Stream {
                    name,
                    subjects: vec!["a.>".parse().unwrap(), "b".parse().unwrap()],
                    retention: if replicas == 1 { Retention::Limits } else { Retention::Interest },
                    discard: Discard::New,
                    storage,
                    replicas,
                    max_age: ttl,
                    max_bytes,
                    max_messages: max_bytes,
                }),
                1 => Resource::KeyValue(KeyValue {
                    name,
                    history: replicas,
                    ttl,
                    storage,
                    replicas,
                    max_bytes,
                }),
                _ => Resource::ObjectStore(ObjectStore { name, ttl, storage, replicas, max_bytes }),
            }
        },
    )
}

/// Resources of different names.
fn resources() -> impl Strategy<Value = Vec<Resource>> {
    prop::collection::vec(resource(), 0..5).prop_map(|mut resources| {
        resources.sort_by_key(Resource::stream);
        resources.dedup_by_key(|resource| resource.stream());
        resources
    })
}

fn desired(owner: &str, resources: Vec<Resource>) -> Desired {
    Desired { owner: owner.into(), resources, adopt: [].into() }
}

fn planned(desired: &Desired, model: &Observed) -> Plan<Change> {
    plan(desired, model).unwrap()
}

/// An account in which `owner` once wanted something else.
fn account(owner: &str, resources: Vec<Resource>) -> Observed {
    let mut model = Observed::default();
    for change in planned(&desired(owner, resources), &model).changes {
        apply(&mut model, &change);
    }
    model
}

proptest! {
    #[test]
    fn any_prefix_converges(before in resources(), after in resources()) {
        let model = account("vault", before);
        let desired = desired("vault", after);
        testkit::assert_converges(&model, |model| planned(&desired, model), apply);
    }

    #[test]
    fn the_streams_of_others_are_reported_and_left_alone(theirs in resources(), ours in resources()) {
        let model = account("other", theirs);
        let plan = planned(&desired("vault", ours), &model);
        let touched = plan.changes.iter().filter(|change| model.streams.contains_key(change.stream()));
        prop_assert_eq!(touched.count(), 0);
    }

    #[test]
    fn nothing_is_ever_deleted(before in resources()) {
        let model = account("vault", before);
        let plan = planned(&desired("vault", vec![]), &model);
        prop_assert!(plan.is_empty());
        prop_assert_eq!(plan.count(DriftClass::Unexpected), model.streams.len());
    }
}

fn bucket(replicas: u32, storage: Storage) -> Resource {
    let name = "CFG".parse().unwrap();
    Resource::KeyValue(KeyValue { name, history: 1, ttl: None, storage, replicas, max_bytes: None })
}

#[test]
fn an_update_keeps_the_fields_of_others() {
    let mut model = account("vault", vec![bucket(1, Storage::File)]);
    let found = model.streams.get_mut("KV_CFG").unwrap();
    found.config.insert("placement".into(), json!({ "cluster": "east" }));
    let plan = planned(&desired("vault", vec![bucket(3, Storage::File)]), &model);
    let [Change::Update { config, .. }] = plan.changes.as_slice() else { panic!("{plan}") };
    assert_eq!(config["placement"]["cluster"], "east");
    assert_eq!(config["metadata"]["_nats.level"], "1");
    assert_eq!(config["num_replicas"], 3);
}

#[test]
fn what_a_server_cannot_change_is_said_and_not_tried() {
    let model = account("vault", vec![bucket(1, Storage::File)]);
    let plan = planned(&desired("vault", vec![bucket(1, Storage::Memory)]), &model);
    assert!(plan.is_empty());
    let found = plan.findings[0].found.as_deref().unwrap();
    assert!(found.contains("storage \"file\"") && found.contains("cannot change"), "{found}");
}

#[test]
fn a_stream_is_taken_over_only_where_that_is_allowed() {
    let mut model = account("vault", vec![bucket(1, Storage::File)]);
    model.streams.get_mut("KV_CFG").unwrap().config.remove("metadata");
    let mut desired = desired("vault", vec![bucket(1, Storage::File)]);
    let refused = planned(&desired, &model);
    assert!(refused.is_empty());
    assert_eq!(refused.findings[0].found.as_deref(), Some("exists, made by somebody else"));
    desired.adopt.insert("KV_CFG".into());
    let adopted = planned(&desired, &model);
    let [Change::Update { config, .. }] = adopted.changes.as_slice() else { panic!("{adopted}") };
    assert_eq!(config["metadata"], json!({ "cim.dev/owner": "vault" }));
}

#[test]
fn two_resources_of_one_stream_are_refused() {
    let Resource::KeyValue(bucket) = bucket(1, Storage::File) else { unreachable!() };
    let stream = Resource::Stream(Stream {
        name: "KV_CFG".parse().unwrap(),
        subjects: vec!["a".parse().unwrap()],
        retention: Retention::Limits,
        discard: Discard::Old,
        storage: Storage::File,
        replicas: 1,
        max_age: None,
        max_bytes: None,
        max_messages: None,
    });
    let both = desired("vault", vec![Resource::KeyValue(bucket), stream]);
    let error = plan(&both, &Observed::default()).unwrap_err().to_string();
    assert!(error.contains("KV_CFG"), "{error}");
}

#[test]
fn a_stream_whose_servers_are_silent_is_not_created_anew() {
    let model = Observed { silent: ["KV_CFG".into()].into(), ..Observed::default() };
    let plan = planned(&desired("vault", vec![bucket(1, Storage::File)]), &model);
    assert!(plan.is_empty());
    assert_eq!(plan.findings[0].class, DriftClass::Unverified);
}
