//! The committed YAML is what the types say, and what they say keeps the conventions of the house.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use cim_crds::crds;
use serde_json::{Value, json};

#[test]
fn the_committed_yaml_is_fresh() {
    let check = Command::new(env!("CARGO_BIN_EXE_crdgen")).arg("--check").output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

/// Calls `visit` with the path of each property and its schema.
fn properties(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        visit(&path, property);
        properties(&path, property, visit);
    }
    for (child, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[child].is_object() {
            let path = format!("{path}{mark}");
            visit(&path, &schema[child]);
            properties(&path, &schema[child], visit);
        }
    }
}

fn schema(crd: &Value) -> &Value {
    &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

fn all() -> Vec<Value> {
    let crds: Vec<Value> = crds().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
    assert_eq!(crds.len(), 5);
    crds
}

#[test]
fn names_and_subresources_are_those_of_the_house() {
    let names: Vec<String> = all()
        .iter()
        .map(|crd| {
            let spec = &crd["spec"];
            assert_eq!(spec["group"], "cim.dev");
            assert_eq!(spec["scope"], "Namespaced");
            assert_eq!(spec["names"]["categories"], json!(["cim"]));
            let version = &spec["versions"][0];
            assert_eq!(version["name"], "v1alpha1");
            assert_eq!(version["subresources"]["status"], json!({}));
            let status = &schema(crd)["properties"]["status"];
            assert_eq!(status["default"], json!({"observedGeneration": -1}));
            let conditions = &status["properties"]["conditions"];
            assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
            spec["names"]["shortNames"][0].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(names, ["dom", "cl", "mach", "csvc", "objr"]);
}

#[test]
fn columns_show_ready_drifted_and_age() {
    for crd in all() {
        let columns = crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array().unwrap();
        for name in ["Ready", "Drifted", "Age"] {
            let column = columns.iter().find(|column| column["name"] == name);
            assert!(column.is_some_and(|column| column["priority"].is_null()), "{name}");
        }
        for column in columns {
            let priority = &column["priority"];
            assert!(priority.is_null() || *priority == 10, "{column}");
        }
    }
}

#[test]
fn every_field_is_explained_and_bounded() {
    for crd in all() {
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        let mut seen = 0;
        properties(kind, schema(&crd), &mut |path, field| {
            seen += 1;
            let has = |key: &str| !field[key].is_null();
            assert!(
                has("description") || path.ends_with(']') || path.ends_with('}'),
                "{path}: no comment"
            );
            for keyword in ["nullable", "anyOf", "oneOf", "allOf", "not"] {
                // The API's own null: an object whose status was taken away.
                assert!(
                    !has(keyword) || path.ends_with(&format!("{kind}.status")),
                    "{path}: {keyword}"
                );
            }
            match field["type"].as_str() {
                Some("string") => assert!(
                    has("maxLength") || has("enum") || field["format"] == "date-time",
                    "{path}: a string without bound"
                ),
                Some("array") => {
                    assert!(has("maxItems"), "{path}: a list without bound");
                    assert!(has("x-kubernetes-list-type"), "{path}: how does it merge?");
                }
                Some("integer") => {
                    let format = field["format"].as_str();
                    assert!(matches!(format, Some("int32" | "int64")), "{path}: {format:?}");
                }
                Some("object") => {
                    let open = has("x-kubernetes-preserve-unknown-fields");
                    assert_eq!(open, path == "Service.spec.roles[].config", "{path}");
                    assert!(open || has("properties") || has("maxProperties"), "{path}: no fields");
                }
                Some("boolean") => {}
                other => panic!("{path}: type {other:?}"),
            }
        });
        assert!(seen > 50, "{kind}: the fields were not found");
    }
}
