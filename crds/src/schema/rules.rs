//! CEL rules. Each has a message that says what is wanted; the API server puts the path and the value
//! that it got before it.

use schemars::Schema;
use serde_json::{Map, Value, json};

/// Adds a CEL rule to this schema, with the message that says what is wanted.
pub(crate) fn rule(expression: &'static str, message: &'static str) -> impl Fn(&mut Schema) {
    move |schema| {
        add_rule(schema.ensure_object(), json!({"rule": expression, "message": message}));
    }
}

/// Refuses a duration of zero.
pub(crate) fn positive(schema: &mut Schema) {
    rule("!self.matches('^(0+[dhms])+$')", "must be longer than zero, such as 30s")(schema);
}

/// Appends to the rules of a schema.
pub(super) fn add_rule(object: &mut Map<String, Value>, rule: Value) {
    match object.get_mut("x-kubernetes-validations") {
        Some(Value::Array(rules)) => rules.push(rule),
        _ => {
            object.insert("x-kubernetes-validations".into(), Value::Array(vec![rule]));
        }
    }
}
