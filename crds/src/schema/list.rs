//! Bounds of lists and maps, and how server-side apply merges them.

use schemars::Schema;
use serde_json::json;

fn list(schema: &mut Schema, kind: &str, max: usize) {
    let object = schema.ensure_object();
    object.insert("maxItems".into(), json!(max));
    object.insert("x-kubernetes-list-type".into(), json!(kind));
}

/// A list without duplicates whose order means nothing, of at most `max` items.
pub(crate) fn set(max: usize) -> impl Fn(&mut Schema) {
    move |schema| list(schema, "set", max)
}

/// A list whose order matters and which one writer owns as a whole, of at most `max` items.
pub(crate) fn atomic(max: usize) -> impl Fn(&mut Schema) {
    move |schema| list(schema, "atomic", max)
}

/// A list of objects in which `key` is unique, of at most `max` items.
pub(crate) fn map(key: &'static str, max: usize) -> impl Fn(&mut Schema) {
    move |schema| {
        list(schema, "map", max);
        schema.ensure_object().insert("x-kubernetes-list-map-keys".into(), json!([key]));
    }
}

/// At least one item.
pub(crate) fn non_empty(schema: &mut Schema) {
    schema.ensure_object().insert("minItems".into(), json!(1));
}

/// A map from strings to strings with at most `max` keys.
pub(crate) fn labels(max: usize) -> impl Fn(&mut Schema) {
    move |schema| {
        let object = schema.ensure_object();
        object.insert("maxProperties".into(), json!(max));
        object.insert("additionalProperties".into(), json!({"type": "string", "maxLength": 253}));
    }
}

/// An object with arbitrary keys and values, kept as it is.
pub(crate) fn preserve(schema: &mut Schema) {
    let object = schema.ensure_object();
    object.insert("type".into(), json!("object"));
    object.remove("additionalProperties");
    object.insert("x-kubernetes-preserve-unknown-fields".into(), json!(true));
}
