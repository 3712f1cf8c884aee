//! From what `schemars` says of Rust enums, options and integers to a structural schema.

use schemars::Schema;
use serde_json::{Map, Value, json};

use super::rules::add_rule;

/// Makes the schema of a spec or status structural, from the leaves up.
pub(crate) fn structural(schema: &mut Schema) {
    visit(schema.ensure_object());
}

/// Makes the schema of a status structural. A fresh object has the generation -1, and nothing else: a
/// count that nobody has made yet is absent, not 0.
pub(crate) fn observed(schema: &mut Schema) {
    structural(schema);
    let object = schema.ensure_object();
    without_defaults(object);
    object.insert("default".into(), json!({"observedGeneration": -1}));
}

fn without_defaults(object: &mut Map<String, Value>) {
    object.remove("default");
    let properties = object.get_mut("properties").and_then(Value::as_object_mut);
    for child in properties.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
        without_defaults(child);
    }
    if let Some(Value::Object(items)) = object.get_mut("items") {
        without_defaults(items);
    }
}

fn visit(object: &mut Map<String, Value>) {
    flatten_option(object);
    for key in ["properties", "patternProperties"] {
        if let Some(Value::Object(children)) = object.get_mut(key) {
            children.values_mut().filter_map(Value::as_object_mut).for_each(visit);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(Value::Object(child)) = object.get_mut(key) {
            visit(child);
        }
    }
    if let Some(Value::Array(variants)) = object.get_mut("oneOf") {
        variants.iter_mut().filter_map(Value::as_object_mut).for_each(visit);
        flatten_enum(object);
    }
    describe(object);
    integer(object);
    object.remove("title");
}

/// `Option<T>` is `T` that may be left out: an explicit `null` is pruned by the API server before
/// defaults apply, so a CEL rule never meets one.
fn flatten_option(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get("type") {
        let kept = types.iter().find(|t| *t != "null").cloned();
        if let Some(kept) = kept {
            object.insert("type".into(), kept);
        }
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    let inner = match object.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
        Some([Value::Object(inner), null]) if null["type"] == "null" => inner.clone(),
        _ => return,
    };
    object.remove("anyOf");
    for (key, value) in inner {
        // The comment on the field says more than that on the type.
        object.entry(key).or_insert(value);
    }
}

/// Enums: unit variants become `enum`, with their comments in the description; the variants of a
/// union become properties of which a rule wants exactly one.
fn flatten_enum(object: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = object.remove("oneOf") else { return };
    let mut values = Vec::new();
    let mut properties = Map::new();
    let mut notes = Vec::new();
    for variant in &variants {
        let note = variant["description"].as_str().map(one_paragraph);
        let mut name = |value: &Value| {
            if let (Some(value), Some(note)) = (value.as_str(), &note) {
                notes.push(format!("{value}: {note}"));
            }
            values.push(value.clone());
        };
        if let Some(value) = variant.get("const") {
            name(value);
        } else if let Some(Value::Array(plain)) = variant.get("enum") {
            plain.iter().for_each(name);
        } else if let Some(Value::Object(tagged)) = variant.get("properties") {
            for (key, value) in tagged {
                let mut value = value.clone();
                if let (Some(note), Some(value)) = (&note, value.as_object_mut()) {
                    value.insert("description".into(), json!(note));
                }
                properties.insert(key.clone(), value);
            }
        }
    }
    if properties.is_empty() {
        object.insert("type".into(), json!("string"));
        object.insert("enum".into(), Value::Array(values));
        if !notes.is_empty() {
            let text = object.get("description").and_then(Value::as_str).unwrap_or_default();
            let text = format!("{text}\n\n{}", notes.join("\n\n"));
            object.insert("description".into(), json!(text.trim()));
        }
        return;
    }
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    let present: Vec<String> = names.iter().map(|name| format!("has(self.{name})")).collect();
    let message = match names[..] {
        [only] => format!("{only} must be set"),
        [ref most @ .., last] => {
            format!("exactly one of {} and {last} must be set", most.join(", "))
        }
        [] => return,
    };
    let rule = json!({
        "rule": format!("[{}].exists_one(given, given)", present.join(", ")),
        "message": message,
    });
    add_rule(object, rule);
    object.insert("type".into(), json!("object"));
    object.insert("properties".into(), Value::Object(properties));
}

/// Doc comments are wrapped for the editor; `kubectl explain` wraps for the terminal.
fn describe(object: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = one_paragraph(text);
    }
}

fn one_paragraph(text: &str) -> String {
    let paragraphs = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// Kubernetes knows int32 and int64 only; Rust's unsigned types become these with their bounds.
fn integer(object: &mut Map<String, Value>) {
    let (format, max) = match object.get("format").and_then(Value::as_str) {
        Some("uint8") => ("int32", 255),
        Some("uint16") => ("int32", 65_535),
        Some("uint32") => ("int32", i64::from(i32::MAX)),
        // Bounds are doubles in the CRD: 2^60 (an exbibyte) is exact, 2^63-1 is not.
        Some("uint64") => ("int64", 1 << 60),
        _ => return,
    };
    object.insert("format".into(), json!(format));
    object.entry("maximum").or_insert(json!(max));
}
