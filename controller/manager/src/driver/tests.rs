//! The driver against a mock of the API server that keeps one object, and an outside of strings.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_crds::conditions::{ConditionType, find, is_true};
use cim_crds::{ObjectReplica, ObjectReplicaStatus};
use cim_plan::{Finding, Plan};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kube::runtime::controller::Action;
use serde_json::{Value, json};
use tower_test::mock;

use super::{Driver, Hold, Means, Reconciler, Report, Schedule, Step, Visit};
use crate::args::ScheduleArgs;
use crate::kube::Kube;
use crate::ops::metrics::Metrics;
use crate::outcome::{Class, Failure, Outcome};
use crate::result::Recorder;
use crate::status::Judgement;

/// The API server: one object, and every write that it was sent.
#[derive(Clone)]
struct Server {
    object: Arc<Mutex<Value>>,
    writes: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(spec: &Value) -> (Self, Client) {
        let object = json!({
            "apiVersion": "cim.dev/v1alpha1",
            "kind": "ObjectReplica",
            "metadata": {
                "name": "all", "namespace": "home", "uid": "u1", "generation": 1,
                "resourceVersion": "10", "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": spec,
            "status": { "observedGeneration": -1 },
        });
        let server = Self { object: Arc::new(Mutex::new(object)), writes: Arc::default() };
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        let answers = server.clone();
        tokio::spawn(async move {
            while let Some((request, answer)) = handle.next_request().await {
                answer.send_response(answers.answer(request).await);
            }
        });
        (server, Client::new(service, "home"))
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let bytes = body.collect().await.expect("body").to_bytes();
        let sent: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        self.writes.lock().expect("lock").push(format!("{} {path}", parts.method));
        let answer = if path.ends_with("/events") {
            sent
        } else {
            assert_eq!(parts.method, Method::PATCH, "{path}");
            let mut object = self.object.lock().expect("lock");
            if path.ends_with("/status") {
                object["status"] = sent["status"].clone();
            } else {
                object["metadata"]["finalizers"] = sent["metadata"]["finalizers"].clone();
            }
            let version: u64 = object["metadata"]["resourceVersion"]
                .as_str()
                .and_then(|version| version.parse().ok())
                .expect("a number");
            object["metadata"]["resourceVersion"] = json!((version + 1).to_string());
            object.clone()
        };
        let bytes = serde_json::to_vec(&answer).expect("JSON");
        Response::builder().status(StatusCode::OK).body(Body::from(bytes)).expect("response")
    }

    fn object(&self) -> Arc<ObjectReplica> {
        let object = self.object.lock().expect("lock").clone();
        Arc::new(serde_json::from_value(object).expect("fits the schema"))
    }

    /// The writes since the last call.
    fn writes(&self) -> Vec<String> {
        let writes = std::mem::take(&mut *self.writes.lock().expect("lock"));
        let short = |path: String| path.rsplit('/').next().unwrap_or_default().to_owned();
        writes.into_iter().map(short).collect()
    }

    fn change(&self, pointer: &str, value: Value) {
        let mut object = self.object.lock().expect("lock");
        *object.pointer_mut(pointer).expect("there") = value;
    }
}

/// The outside: what is there, and what is wrong with it.
#[derive(Default)]
struct Outside {
    there: BTreeSet<&'static str>,
    sight: Sight,
    refuses: Option<&'static str>,
    held: bool,
    calls: usize,
    /// What is written down before each effect, if anything.
    notes: Option<u64>,
    /// What the status said at each look.
    looks: Vec<u64>,
}

/// What comes of looking at the outside.
#[derive(Clone, Copy, Default, PartialEq)]
enum Sight {
    #[default]
    Clear,
    Blind,
    Slow,
    Panics,
}

#[derive(Clone, Default)]
struct Strings(Arc<Mutex<Outside>>);

const WANTED: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(&'static str);

impl Failure for Broken {
    fn reason(&self) -> &'static str {
        "Broken"
    }
    fn class(&self) -> Class {
        Class::Retry
    }
}

impl Reconciler for Strings {
    type Kind = ObjectReplica;
    type Inputs = ();
    type Desired = ();
    type Observed = BTreeSet<&'static str>;
    type Change = &'static str;
    type Failure = Broken;

    const CONDITIONS: &'static [ConditionType] = &[ConditionType::Satisfied];

    async fn gather(&self, _: &Visit<'_, ObjectReplica>) -> Step<(), Self> {
        Ok(())
    }

    fn validate(&self, object: &ObjectReplica, (): ()) -> Step<(), Self> {
        let told = object.status.as_ref().map_or(0, |status| status.objects);
        self.0.lock().expect("lock").looks.push(told);
        Ok(())
    }

    async fn observe(&self, _: &Visit<'_, ObjectReplica>, (): &()) -> Step<Self::Observed, Self> {
        let sight = self.0.lock().expect("lock").sight;
        match sight {
            Sight::Clear => Ok(self.0.lock().expect("lock").there.clone()),
            Sight::Blind => Err(Broken("cannot see").into()),
            Sight::Slow => {
                tokio::time::sleep(Duration::from_hours(1)).await;
                Err(Broken("too late").into())
            }
            Sight::Panics => panic!("asked to"),
        }
    }

    fn plan(&self, (): &(), there: &Self::Observed) -> Plan<&'static str> {
        let missing: Vec<_> = WANTED.into_iter().filter(|wanted| !there.contains(wanted)).collect();
        let foreign = there.iter().filter(|thing| !WANTED.contains(thing));
        let findings = missing
            .iter()
            .map(|thing| Finding::missing(*thing, "there"))
            .chain(foreign.map(|thing| Finding::unexpected(*thing, "there")));
        Plan::new(missing.clone(), findings.collect())
    }

    fn hold(&self, (): &(), _: &Self::Observed, _: &Plan<&'static str>) -> Option<Hold> {
        let held = self.0.lock().expect("lock").held;
        held.then(|| Hold { reason: "Held", message: "think again".into() })
    }

    async fn apply(
        &self,
        visit: &Visit<'_, ObjectReplica>,
        (): &(),
        _: &Self::Observed,
        plan: &Plan<&'static str>,
    ) -> Step<(), Self> {
        let notes = self.0.lock().expect("lock").notes;
        if let Some(note) = notes {
            visit.progress_with("Making", "making", |status| status.objects = note).await;
        }
        let mut outside = self.0.lock().expect("lock");
        for change in &plan.changes {
            if outside.refuses == Some(*change) {
                return Err(Broken("refused").into());
            }
            outside.there.insert(change);
            outside.calls += 1;
        }
        Ok(())
    }

    async fn report(
        &self,
        _: &Visit<'_, ObjectReplica>,
        (): &(),
        there: &Self::Observed,
        _: &Plan<&'static str>,
        status: &mut ObjectReplicaStatus,
    ) -> Report<Broken> {
        status.objects = u64::try_from(there.len()).expect("few");
        let satisfied = Judgement::new(ConditionType::Satisfied, true, "Because", "");
        Report::new(vec![satisfied], Ok(Outcome::done("all is there")))
    }

    async fn cleanup(&self, _: &Visit<'_, ObjectReplica>) -> Step<Outcome, Self> {
        let mut outside = self.0.lock().expect("lock");
        if outside.sight == Sight::Blind {
            return Err(Broken("cannot see").into());
        }
        outside.there.clear();
        Ok(Outcome::done("gone"))
    }
}

struct Bench {
    server: Server,
    outside: Strings,
    driver: Arc<Driver<Strings>>,
    metrics: Metrics,
}

impl Bench {
    fn new(spec: &Value) -> Self {
        let (server, client) = Server::start(spec);
        let metrics = Metrics::new(true).expect("metrics");
        let deadline = Duration::from_secs(5);
        let recorder = Recorder::new(client.clone(), "test".into(), deadline, metrics.clone());
        let schedule = Schedule::from(&ScheduleArgs {
            min_interval: Duration::from_secs(5),
            backoff_base: Duration::from_secs(1),
            backoff_max: Duration::from_mins(5),
            debounce: Duration::from_millis(1),
            domain_concurrency: 1,
            cluster_concurrency: 1,
            machine_concurrency: 1,
            service_concurrency: 1,
            object_replica_concurrency: 1,
        });
        let kube = Kube::new(client, deadline);
        let means = Means { kube, metrics: metrics.clone(), recorder, schedule };
        let outside = Strings::default();
        let driver = Arc::new(Driver::new(outside.clone(), means, Duration::from_mins(1)));
        Self { server, outside, driver, metrics }
    }

    fn correct() -> Self {
        Self::new(&json!({ "select": { "all": true } }))
    }

    async fn visit(&self) -> Action {
        Arc::clone(&self.driver).reconcile(self.server.object()).await
    }

    fn outside(&self, change: impl FnOnce(&mut Outside)) {
        change(&mut self.outside.0.lock().expect("lock"));
    }

    fn there(&self) -> Vec<&'static str> {
        self.outside.0.lock().expect("lock").there.iter().copied().collect()
    }

    /// The status, reason of a condition.
    fn condition(&self, condition: ConditionType) -> (String, String) {
        let status = self.server.object().status.clone().expect("status");
        let found = find(&status.common.conditions, condition).expect("condition").clone();
        (found.status, found.reason)
    }
}

fn is(found: &(String, String), status: &str, reason: &str) -> bool {
    found.0 == status && found.1 == reason
}

#[tokio::test]
async fn a_new_object_is_first_not_known_and_then_made_true() {
    let bench = Bench::correct();
    bench.visit().await;
    // Unknown, then Ready, then two Events: corrected and ready.
    assert_eq!(bench.server.writes(), ["status", "status", "events", "events"]);
    assert_eq!(bench.there(), WANTED);
    let status = bench.server.object().status.clone().expect("status");
    assert_eq!((status.common.observed_generation, status.objects), (1, 3));
    assert!(is_true(&status.common.conditions, ConditionType::Ready));
    assert_eq!(status.common.drift, None);
}

#[tokio::test]
async fn what_a_visit_has_written_counts_in_its_next_round() {
    let bench = Bench::correct();
    bench.outside(|outside| outside.notes = Some(7));
    bench.visit().await;
    assert_eq!(bench.outside.0.lock().expect("lock").looks, [0, 7]);
}

#[tokio::test]
async fn an_unchanged_world_is_written_nothing() {
    let bench = Bench::correct();
    bench.visit().await;
    bench.server.writes();
    for _ in 0..5 {
        bench.visit().await;
    }
    assert_eq!(bench.server.writes(), Vec::<String>::new());
    assert_eq!(bench.outside.0.lock().expect("lock").calls, 3);
}

#[tokio::test]
async fn a_cache_that_lags_behind_our_own_write_causes_no_second_one() {
    let bench = Bench::correct();
    let old = bench.server.object();
    bench.visit().await;
    bench.server.writes();
    Arc::clone(&bench.driver).reconcile(old).await;
    assert_eq!(bench.server.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn observe_and_plan_change_nothing_outside() {
    for (mode, shown) in [("Observe", 0), ("Plan", 3)] {
        let bench = Bench::new(&json!({ "select": { "all": true }, "mode": mode }));
        bench.visit().await;
        assert_eq!(bench.there(), Vec::<&str>::new(), "{mode}");
        let status = bench.server.object().status.clone().expect("status");
        let plan = status.common.plan.map_or(0, |plan| plan.changes.len());
        assert_eq!(plan, shown, "{mode}");
        assert!(is(&bench.condition(ConditionType::Drifted), "True", "Missing"), "{mode}");
        assert_eq!(bench.condition(ConditionType::Ready).0, "True", "{mode}");
    }
}

#[tokio::test]
async fn a_held_plan_waits_for_its_own_hash() {
    let bench = Bench::correct();
    bench.outside(|outside| outside.held = true);
    bench.visit().await;
    assert_eq!(bench.there(), Vec::<&str>::new());
    assert!(is(&bench.condition(ConditionType::Stalled), "True", "Held"));
    let plan = bench.server.object().status.clone().and_then(|status| status.common.plan);
    let hash = plan.and_then(|plan| plan.hash).expect("a hash");
    for (confirmed, made) in [("0123456789abcdef", 0), (hash.as_str(), 3)] {
        bench.server.change("/metadata", {
            let mut metadata = bench.server.object.lock().expect("lock")["metadata"].clone();
            metadata["annotations"] = json!({ "cim.dev/confirm": confirmed });
            metadata
        });
        bench.visit().await;
        assert_eq!(bench.there().len(), made, "{confirmed}");
    }
}

#[tokio::test]
async fn what_is_foreign_is_told_and_does_not_harm() {
    let bench = Bench::correct();
    bench.outside(|outside| _ = outside.there.insert("z"));
    bench.visit().await;
    assert_eq!(bench.there(), ["a", "b", "c", "z"]);
    assert!(is(&bench.condition(ConditionType::Drifted), "True", "Unexpected"));
    assert_eq!(bench.condition(ConditionType::Ready).0, "True");
}

#[tokio::test]
async fn a_failure_half_way_is_told_with_what_was_read_back_and_tried_again_later() {
    let bench = Bench::correct();
    bench.outside(|outside| outside.refuses = Some("b"));
    let first = bench.visit().await;
    assert_eq!(bench.there(), ["a"]);
    assert!(is(&bench.condition(ConditionType::Ready), "False", "Broken"));
    assert!(is(&bench.condition(ConditionType::Reconciling), "True", "ProgressingWithRetry"));
    let drift = bench.server.object().status.clone().and_then(|status| status.common.drift);
    assert_eq!(drift.map(|drift| drift.count), Some(2));
    assert_ne!(first, Action::await_change());
    bench.server.writes();
    bench.visit().await;
    assert_eq!(bench.server.writes(), Vec::<String>::new(), "the same failure is told once");
    bench.outside(|outside| outside.refuses = None);
    bench.visit().await;
    assert_eq!(bench.there(), WANTED);
    assert_eq!(bench.condition(ConditionType::Ready).0, "True");
}

#[tokio::test]
async fn a_panic_ends_one_visit_and_nothing_else() {
    let bench = Bench::correct();
    bench.outside(|outside| outside.sight = Sight::Panics);
    let visited = tokio::spawn({
        let (driver, object) = (Arc::clone(&bench.driver), bench.server.object());
        async move { driver.reconcile(object).await }
    });
    assert_ne!(visited.await.expect("the panic was caught"), Action::await_change());
    assert!(is(&bench.condition(ConditionType::Ready), "False", "Panicked"));
}

#[tokio::test(start_paused = true)]
async fn a_visit_ends_at_its_deadline() {
    let bench = Bench::correct();
    bench.outside(|outside| outside.sight = Sight::Slow);
    bench.visit().await;
    assert!(is(&bench.condition(ConditionType::Ready), "False", "DeadlineExceeded"));
}

#[tokio::test]
async fn a_suspended_object_is_left_alone_and_says_so() {
    let bench = Bench::new(&json!({ "select": { "all": true }, "suspend": true }));
    let action = bench.visit().await;
    assert_eq!(bench.there(), Vec::<&str>::new());
    assert!(is(&bench.condition(ConditionType::Paused), "True", "Suspended"));
    assert_eq!(bench.condition(ConditionType::Ready).0, "Unknown");
    assert_eq!(action, Action::await_change());
}

#[tokio::test]
async fn the_wish_to_reconcile_now_is_echoed() {
    let bench = Bench::correct();
    let mut metadata = bench.server.object.lock().expect("lock")["metadata"].clone();
    metadata["annotations"] = json!({ "cim.dev/requestedAt": "token-1" });
    bench.server.change("/metadata", metadata);
    bench.visit().await;
    let status = bench.server.object().status.clone().expect("status");
    assert_eq!(status.common.last_handled_reconcile_at.as_deref(), Some("token-1"));
}

/// An object with policy Delete that was made true and is now being deleted.
async fn deleting(spec: &Value) -> Bench {
    let bench = Bench::new(spec);
    bench.visit().await;
    assert_eq!(bench.server.object().metadata.finalizers.clone().expect("some").len(), 1);
    let mut metadata = bench.server.object.lock().expect("lock")["metadata"].clone();
    metadata["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
    bench.server.change("/metadata", metadata);
    bench.server.writes();
    bench
}

fn finalizers(bench: &Bench) -> usize {
    bench.server.object().metadata.finalizers.clone().unwrap_or_default().len()
}

#[tokio::test]
async fn deletion_removes_what_was_made_and_ends_the_series() {
    let spec = json!({ "select": { "all": true }, "deletionPolicy": "Delete" });
    let bench = deleting(&spec).await;
    bench.outside(|outside| outside.sight = Sight::Blind);
    bench.visit().await;
    assert_eq!(finalizers(&bench), 1, "not let go while it cannot be cleaned up");
    assert!(is(&bench.condition(ConditionType::Ready), "False", "Broken"));
    bench.outside(|outside| outside.sight = Sight::Clear);
    bench.visit().await;
    assert_eq!((finalizers(&bench), bench.there().len()), (0, 0));
    let text = bench.metrics.encode().expect("text");
    assert!(!text.contains(r#"name="all""#), "{text}");
}

#[tokio::test]
async fn deletion_ends_with_a_blind_outside_when_a_person_says_orphan() {
    let spec = json!({ "select": { "all": true }, "deletionPolicy": "Delete" });
    let bench = deleting(&spec).await;
    bench.outside(|outside| outside.sight = Sight::Blind);
    bench.visit().await;
    assert_eq!(finalizers(&bench), 1);
    bench.server.change("/spec/deletionPolicy", json!("Orphan"));
    bench.visit().await;
    assert_eq!((finalizers(&bench), bench.there().len()), (0, 3));
}

#[tokio::test]
async fn a_suspended_object_is_let_go_and_its_things_stay() {
    let spec = json!({ "select": { "all": true }, "deletionPolicy": "Delete", "suspend": false });
    let bench = deleting(&spec).await;
    bench.server.change("/spec/suspend", json!(true));
    bench.visit().await;
    assert_eq!((finalizers(&bench), bench.there().len()), (0, 3));
}
