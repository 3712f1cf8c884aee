//! Every CEL rule, run without a cluster over the fixtures in `fixtures/<kind>/`:
//!
//! * `accept-<rule>.yaml` must pass, and be read by the Rust types without loss;
//! * `refuse-<rule>.yaml` must be refused with the text after `# message:`;
//! * two documents in one file are the object before and after an update;
//! * `refuse-schema-<what>.yaml` is refused by a bound or pattern, which only a real API server can
//!   tell; the end-to-end cases apply these, and all others, to one.
//!
//! The interpreter pairs the items of a list before and after an update by their place, where the API
//! server pairs them by their key: a fixture for such a rule keeps the order.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cim_crds::{Cluster, Domain, Kind, Machine, ObjectReplica, Service, crds};
use kube::core::cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use serde_json::Value;

struct Fixture {
    path: PathBuf,
    kind: String,
    /// The expected refusal; `None` for a fixture that must be accepted.
    message: Option<String>,
    /// The object, or the object before and after.
    objects: Vec<Value>,
}

impl Fixture {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let message = text.lines().find_map(|line| line.strip_prefix("# message: "));
        assert_eq!(message.is_some(), name.starts_with("refuse-"), "{}", path.display());
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!((1..=2).contains(&objects.len()), "{}: one or two documents", path.display());
        let kind = objects[0]["kind"].as_str().unwrap().to_owned();
        Self { message: message.map(str::to_owned), kind, objects, path }
    }

    fn is_schema_only(&self) -> bool {
        self.name().starts_with("refuse-schema-")
    }

    fn name(&self) -> &str {
        self.path.file_name().unwrap().to_str().unwrap()
    }

    /// What the rules say: nothing, or the messages of those that are broken.
    fn messages(&self, schema: &CompiledSchema) -> Vec<String> {
        let validator = Validator::new();
        let (new, old) = match &self.objects[..] {
            [old, new] => {
                let before = validator.validate_compiled(schema, old, None);
                assert!(before.is_ok(), "{}: the old object: {before:?}", self.path.display());
                (new, Some(old))
            }
            _ => (&self.objects[0], None),
        };
        let Err(errors) = validator.validate_compiled(schema, new, old) else { return Vec::new() };
        errors
            .into_vec()
            .into_iter()
            .map(|error| {
                let broken = matches!(error.kind, ErrorKind::ValidationFailure);
                assert!(broken, "{}: a rule cannot be evaluated: {error}", self.path.display());
                error.message
            })
            .collect()
    }
}

/// The manifests in a directory below the crate's, sorted.
fn manifests(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{}: no manifests", directory.display());
    paths
}

/// The fixtures, and the examples that people are told to apply.
fn fixtures() -> Vec<Fixture> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kinds = ["domain", "cluster", "machine", "service", "object-replica"];
    let fixtures = kinds.map(|kind| manifests(&root.join("tests/fixtures").join(kind)));
    let examples =
        ["home", "first-install"].map(|it| manifests(&root.join("../examples").join(it)));
    fixtures
        .into_iter()
        .flatten()
        .chain(examples.into_iter().flatten())
        .map(Fixture::read)
        .collect()
}

/// The schema of each kind.
fn schemas() -> BTreeMap<String, Value> {
    crds()
        .into_iter()
        .map(|crd| {
            let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref();
            (crd.spec.names.kind.clone(), serde_json::to_value(schema.unwrap()).unwrap())
        })
        .collect()
}

/// Each rule of a schema with its message, from the root down.
fn rules(schema: &Value, found: &mut Vec<(String, String)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        found.push((text("rule"), text("message")));
    }
    for property in schema["properties"].as_object().into_iter().flatten() {
        rules(property.1, found);
    }
    for child in ["items", "additionalProperties"] {
        if schema[child].is_object() {
            rules(&schema[child], found);
        }
    }
}

#[test]
fn accepted_fixtures_are_accepted_and_refused_ones_refused_with_their_message() {
    let schemas: BTreeMap<String, CompiledSchema> =
        schemas().iter().map(|(kind, schema)| (kind.clone(), compile_schema(schema))).collect();
    for fixture in fixtures().iter().filter(|fixture| !fixture.is_schema_only()) {
        let messages = fixture.messages(&schemas[&fixture.kind]);
        let path = fixture.path.display();
        match &fixture.message {
            None => assert!(messages.is_empty(), "{path}: {messages:?}"),
            Some(expected) => {
                // Exactly one: a fixture that breaks several rules proves none of them.
                assert_eq!(messages.len(), 1, "{path}: {messages:?}");
                assert!(messages[0].starts_with(expected.as_str()), "{path}: {messages:?}");
            }
        }
    }
}

#[test]
fn each_rule_has_an_accepted_and_a_refused_fixture() {
    let fixtures = fixtures();
    for (kind, schema) in schemas() {
        let mut rules_of_kind = Vec::new();
        rules(&schema, &mut rules_of_kind);
        let messages: BTreeSet<&String> =
            rules_of_kind.iter().map(|(_, message)| message).collect();
        for message in messages {
            let refused: Vec<&Fixture> = fixtures
                .iter()
                .filter(|fixture| fixture.kind == kind && !fixture.is_schema_only())
                .filter(|fixture| {
                    fixture
                        .message
                        .as_ref()
                        .is_some_and(|expected| message.starts_with(expected.as_str()))
                })
                .collect();
            assert!(!refused.is_empty(), "{kind}: no fixture is refused with {message:?}");
            let accepted = refused.iter().any(|fixture| {
                let twin = fixture.name().replacen("refuse-", "accept-", 1);
                fixture.path.with_file_name(twin).exists()
            });
            assert!(accepted, "{kind}: no accept- fixture beside {}", refused[0].path.display());
        }
    }
}

#[test]
fn every_rule_compiles_and_says_what_is_wanted() {
    for (kind, schema) in schemas() {
        let compiled = compile_schema(&schema);
        assert!(!compiled.has_errors(), "{kind}: {:?}", compiled.compilation_errors());
        let mut all = Vec::new();
        rules(&schema, &mut all);
        assert!(all.len() > 5, "{kind}: the rules were not found");
        for (rule, message) in all {
            assert!(!message.is_empty(), "{kind}: {rule} has no message");
        }
    }
}

/// Reads the object by its Rust type and writes it again.
fn round_trip<K: Kind>(object: &Value) -> Value {
    let typed: K = serde_json::from_value(object.clone()).unwrap();
    serde_json::to_value(typed).unwrap()
}

/// Every field of `written` is in `read` with the same value. The types add defaults.
fn assert_kept(written: &Value, read: &Value, path: &str) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (key, value) in written {
                let path = format!("{path}.{key}");
                match read.get(key) {
                    Some(kept) => assert_kept(value, kept, &path),
                    None => panic!("{path} is lost: no field of the type reads it"),
                }
            }
        }
        (Value::Array(written), Value::Array(read)) => {
            assert_eq!(written.len(), read.len(), "{path}");
            for (index, (written, read)) in written.iter().zip(read).enumerate() {
                assert_kept(written, read, &format!("{path}[{index}]"));
            }
        }
        // Durations are written in their shortest form: 60s as 1m.
        (Value::String(written), Value::String(read)) if written != read => {
            let duration = |text: &str| text.parse::<cim_crds::Duration>().ok();
            assert_eq!(duration(written), duration(read), "{path}: {written} became {read}");
            assert!(duration(written).is_some(), "{path}: {written} became {read}");
        }
        _ => assert_eq!(written, read, "{path}"),
    }
}

#[test]
fn the_types_read_every_accepted_fixture_without_loss() {
    for fixture in fixtures().iter().filter(|fixture| fixture.message.is_none()) {
        for object in &fixture.objects {
            let read = match fixture.kind.as_str() {
                "Domain" => round_trip::<Domain>(object),
                "Cluster" => round_trip::<Cluster>(object),
                "Machine" => round_trip::<Machine>(object),
                "Service" => round_trip::<Service>(object),
                "ObjectReplica" => round_trip::<ObjectReplica>(object),
                kind => panic!("{}: unknown kind {kind}", fixture.path.display()),
            };
            assert_kept(object, &read, &fixture.name().replace(".yaml", ""));
        }
    }
}
