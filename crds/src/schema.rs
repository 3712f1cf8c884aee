//! How the derived JSON Schema becomes the schema that Kubernetes wants.
//!
//! Two groups of `schemars` transforms:
//!
//! * for fields: [`text`], [`dns_label`], … bound a string (or each string of a list), [`set`],
//!   [`map`] and [`atomic`] bound a list and state how server-side apply merges it. Without bounds
//!   the API server must assume megabytes and refuses CEL rules as too expensive.
//! * for whole types: [`structural`], put on each spec and status, turns what `schemars` says of
//!   Rust enums, options and integers into the structural schema of
//!   <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>.

use schemars::Schema;
use serde_json::{Map, Value, json};

/// RFC 1123 label, lower case.
pub(crate) const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// Labels joined by dots, no trailing dot; underscores are left to service records.
pub(crate) const DNS_NAME: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Bounds a string, or each string of a list.
fn string(schema: &mut Schema, max: u32, pattern: Option<&str>) {
    let object = schema.ensure_object();
    let target = match object.get_mut("items") {
        Some(Value::Object(items)) => items,
        _ => object,
    };
    target.insert("maxLength".into(), json!(max));
    if let Some(pattern) = pattern {
        target.insert("pattern".into(), json!(pattern));
    }
}

/// Free text of at most `max` characters.
pub(crate) fn text(max: u32) -> impl Fn(&mut Schema) {
    move |schema| string(schema, max, None)
}

/// A string of at most `max` characters that matches `pattern`.
pub(crate) fn pattern(max: u32, regex: &'static str) -> impl Fn(&mut Schema) {
    move |schema| string(schema, max, Some(regex))
}

/// One DNS label (RFC 1123), lower case, at most 63 octets.
pub(crate) fn dns_label(schema: &mut Schema) {
    string(schema, 63, Some(DNS_LABEL));
}

/// A DNS name without trailing dot, lower case, at most 253 octets; also the name of an object.
pub(crate) fn dns_name(schema: &mut Schema) {
    string(schema, 253, Some(DNS_NAME));
}

/// A selector: a name in short or long form, optionally with a kind before it, or a label.
pub(crate) fn selector(schema: &mut Schema) {
    string(
        schema,
        317,
        Some(concat!(
            r"^(((domain|cluster|service|role|machine|interface|host)/)?",
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\.?",
            r"|label/[A-Za-z0-9]([A-Za-z0-9_./-]*[A-Za-z0-9])?(=[A-Za-z0-9_.-]{0,63})?)$",
        )),
    );
}

/// The name of a port: a service name of RFC 6335 §5.1, at most 15 characters with a letter.
pub(crate) fn port_name(schema: &mut Schema) {
    string(schema, 15, Some("^([0-9]+-?)*[a-z](-?[a-z0-9])*$"));
}

/// A NATS subject: tokens joined by dots, `*` as a token, `>` as the last one.
pub(crate) fn subject(schema: &mut Schema) {
    string(schema, 255, Some(r"^(>|(\*|[^\s.*>]+)(\.(\*|[^\s.*>]+))*(\.>)?)$"));
}

/// The name of a NATS account, stream or bucket.
pub(crate) fn nats_name(schema: &mut Schema) {
    string(schema, 64, Some("^[A-Za-z0-9_-]+$"));
}

/// Full hexadecimal id of a git commit.
pub(crate) fn git_rev(schema: &mut Schema) {
    string(schema, 40, Some("^[0-9a-f]{40}$"));
}

/// SRI hash of a NAR: `sha256-` and 32 octets in base64.
pub(crate) fn nar_hash(schema: &mut Schema) {
    string(schema, 51, Some("^sha256-[A-Za-z0-9+/]{43}=$"));
}

fn list(schema: &mut Schema, kind: &str, max: u32) {
    let object = schema.ensure_object();
    object.insert("maxItems".into(), json!(max));
    object.insert("x-kubernetes-list-type".into(), json!(kind));
}

/// A list without duplicates whose order means nothing, of at most `max` items.
pub(crate) fn set(max: u32) -> impl Fn(&mut Schema) {
    move |schema| list(schema, "set", max)
}

/// A list whose order matters and which one writer owns as a whole, of at most `max` items.
pub(crate) fn atomic(max: u32) -> impl Fn(&mut Schema) {
    move |schema| list(schema, "atomic", max)
}

/// A list of objects in which `key` is unique, of at most `max` items.
pub(crate) fn map(key: &'static str, max: u32) -> impl Fn(&mut Schema) {
    move |schema| {
        list(schema, "map", max);
        schema.ensure_object().insert("x-kubernetes-list-map-keys".into(), json!([key]));
    }
}

/// An object with arbitrary keys and values, kept as it is.
pub(crate) fn preserve(schema: &mut Schema) {
    let object = schema.ensure_object();
    object.insert("type".into(), json!("object"));
    object.remove("additionalProperties");
    object.insert("x-kubernetes-preserve-unknown-fields".into(), json!(true));
}

/// At least one item.
pub(crate) fn non_empty(schema: &mut Schema) {
    schema.ensure_object().insert("minItems".into(), json!(1));
}

/// A map from strings to strings with at most `max` keys.
pub(crate) fn labels(max: u32) -> impl Fn(&mut Schema) {
    move |schema| {
        let object = schema.ensure_object();
        object.insert("maxProperties".into(), json!(max));
        object.insert("additionalProperties".into(), json!({"type": "string", "maxLength": 253}));
    }
}

/// Adds a CEL rule to this schema, with the message that says what is wanted.
pub(crate) fn rule(expression: &'static str, message: &'static str) -> impl Fn(&mut Schema) {
    move |schema| {
        add_rule(schema.ensure_object(), json!({"rule": expression, "message": message}));
    }
}

fn add_rule(object: &mut Map<String, Value>, rule: Value) {
    match object.get_mut("x-kubernetes-validations") {
        Some(Value::Array(rules)) => rules.push(rule),
        _ => {
            object.insert("x-kubernetes-validations".into(), Value::Array(vec![rule]));
        }
    }
}

/// Refuses a duration of zero.
pub(crate) fn positive(schema: &mut Schema) {
    rule("!self.matches('^(0+[dhms])+$')", "must be longer than zero, such as 30s")(schema);
}

/// Makes the schema of a spec or status structural, from the leaves up.
pub(crate) fn structural(schema: &mut Schema) {
    visit(schema.ensure_object());
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
