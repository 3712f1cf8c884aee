//! What two tokens say, without when they said it.
//!
//! The form works on the JSON rather than on the typed claims, so that a field which this crate does
//! not know is seen too when somebody adds it. In it
//! - `jti`, `iat` are left out, also of activation tokens inside imports;
//! - values that the Go library leaves out when it writes (`false`, 0, `""`, `[]`, `{}`, `null`) are
//!   left out: to every reader they are equal to absent;
//! - lists that are sets are sorted.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::account::AccountBody;
use super::activation::ActivationBody;
use super::claims::{Body, Claims};
use super::limits::NO_LIMIT;
use super::token::{Token, payload, to_json};
use crate::error::Result;

/// Claims in canonical form. Equal forms have the same effect on a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Canonical(BTreeMap<String, Value>);

/// The form of claims that are not signed yet. Set `iss` first if it is to be compared.
pub fn of_claims<B: Body>(claims: &Claims<B>) -> Result<Canonical> {
    Ok(Canonical::of(to_json(claims)?))
}

/// The form of an account token as it was found on a server.
pub fn of_token(token: &Token<AccountBody>) -> Result<Canonical> {
    Ok(Canonical::of(payload::<AccountBody>(token.as_str())?))
}

impl Canonical {
    fn of(mut json: Value) -> Self {
        if let Some(claims) = json.as_object_mut() {
            claims.remove("jti");
            claims.remove("iat");
        }
        let mut leaves = BTreeMap::new();
        normalise(&mut json);
        collect(String::new(), json, &mut leaves);
        Self(leaves)
    }

    /// Where `found` differs from `self`, which is wanted; sorted by path.
    pub fn differences(&self, found: &Self) -> Vec<Difference> {
        let mut paths: Vec<_> = self.0.keys().chain(found.0.keys()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
            .into_iter()
            .filter(|path| self.0.get(*path) != found.0.get(*path))
            .map(|path| Difference {
                path: path.clone(),
                wanted: self.0.get(path).map(short),
                found: found.0.get(path).map(short),
            })
            .collect()
    }
}

/// One value in which two claims differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where in the claims: `nats.limits.conn`.
    pub path: String,
    /// The wanted value, cut to 80 characters; absent: none is wanted.
    pub wanted: Option<String>,
    /// The value found, cut to 80 characters; absent: there is none.
    pub found: Option<String>,
}

/// Leaves out what is equal to absent, sorts sets, and opens activation tokens.
fn normalise(json: &mut Value) {
    match json {
        Value::Object(fields) => normalise_object(fields),
        Value::Array(items) => {
            items.iter_mut().for_each(normalise);
            items.sort_by_cached_key(ToString::to_string);
        }
        _ => {}
    }
}

fn normalise_object(fields: &mut Map<String, Value>) {
    if let Some(Value::String(token)) = fields.get("token")
        && let Ok(mut activation) = payload::<ActivationBody>(token)
    {
        if let Some(claims) = activation.as_object_mut() {
            claims.remove("jti");
            claims.remove("iat");
        }
        fields.insert("token".into(), activation);
    }
    if let Some(Value::Object(template)) = fields.get_mut("template") {
        // In a scope, and only there, an absent limit is read as unlimited, and 0 is not absent.
        for limit in ["subs", "data", "payload"] {
            match template.get_mut(limit) {
                Some(value) if *value == NO_LIMIT => *value = Value::Null,
                Some(value) if *value == 0 => *value = "0".into(),
                _ => {}
            }
        }
    }
    fields.values_mut().for_each(normalise);
    fields.retain(|_, value| !is_absent(value));
}

fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// The leaves by path. A list is one leaf: its items have no names to find them again by.
fn collect(path: String, json: Value, leaves: &mut BTreeMap<String, Value>) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                collect(path, value, leaves);
            }
        }
        leaf => {
            leaves.insert(path, leaf);
        }
    }
}

/// A value as JSON, cut to what a status line bears.
fn short(value: &Value) -> String {
    const MAX: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
