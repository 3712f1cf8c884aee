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

/// The form of a token as it was found, fields that this crate does not know included.
pub fn of_token<B: Body>(token: &Token<B>) -> Result<Canonical> {
    Ok(Canonical::of(payload::<B>(token.as_str())?))
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
                path: path.trim_start_matches("nats.").to_owned(),
                wanted: self.0.get(path).map(short),
                found: found.0.get(path).map(short),
            })
            .collect()
    }
}

/// One value in which two claims differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where in the claims: `limits.conn`, `signing_keys[vault.api].template.pub.allow[evt.>]`.
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
    if let Some(Value::Object(responses)) = fields.get_mut("resp") {
        // Its presence alone, be it all zero, allows to respond.
        responses.insert("granted".into(), true.into());
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

/// The leaves by path. Items of a list are found again by what names them, not by their position:
/// `signing_keys[vault.api].template.pub.allow[evt.vault.>]`.
fn collect(path: String, json: Value, leaves: &mut BTreeMap<String, Value>) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                collect(path, value, leaves);
            }
        }
        Value::Array(items) => {
            let mut seen = BTreeMap::<String, usize>::new();
            for item in items {
                let label = label(&item);
                let twins = seen.entry(label.clone()).or_default();
                *twins += 1;
                let nth = if *twins > 1 { format!("#{twins}") } else { String::new() };
                let path = format!("{path}[{label}{nth}]");
                match item {
                    Value::Object(_) => collect(path, item, leaves),
                    // Its value is in the path.
                    _ => drop(leaves.insert(path, Value::from("present"))),
                }
            }
        }
        leaf => {
            leaves.insert(path, leaf);
        }
    }
}

/// What names an item of a list: the role of a signing key, type and subject of an export or import.
fn label(item: &Value) -> String {
    match item {
        Value::Object(fields) => ["type", "role", "subject"]
            .iter()
            .filter_map(|name| fields.get(*name)?.as_str())
            .collect::<Vec<_>>()
            .join(" "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A value, cut to what a status line bears.
fn short(value: &Value) -> String {
    const MAX: usize = 80;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::{
        AccountBody, AccountLimits, Export, ExportKind, Permissions, ScopeKind, SigningKey,
    };
    use crate::jwt::{ResponsePermission, Template, UserScope};
    use crate::keys::{AccountSeed, OperatorSeed};
    use crate::time::UnixTime;

    fn claims() -> Claims<AccountBody> {
        let key = AccountSeed::generate().unwrap().public();
        let mut body = AccountBody::new(AccountLimits::unlimited());
        let mut permissions = Permissions::default();
        permissions.r#pub.allow = vec!["evt.a.>".into(), "evt.b.>".into()];
        body.signing_keys = vec![SigningKey::Scoped(Box::new(UserScope {
            kind: ScopeKind::User,
            key: key.clone(),
            role: "vault.api".into(),
            description: String::new(),
            template: Template::unlimited(permissions),
        }))];
        body.exports = vec![Export::new(ExportKind::Stream, "a", "evt.>")];
        Claims::new("comms", key, body)
    }

    fn paths(wanted: &Claims<AccountBody>, found: &Claims<AccountBody>) -> Vec<String> {
        let (wanted, found) = (of_claims(wanted).unwrap(), of_claims(found).unwrap());
        wanted
            .differences(&found)
            .into_iter()
            .map(|d| format!("{}: {:?} → {:?}", d.path, d.wanted, d.found))
            .collect()
    }

    fn scope(claims: &mut Claims<AccountBody>) -> &mut Template {
        match &mut claims.nats.signing_keys[0] {
            SigningKey::Scoped(scope) => &mut scope.template,
            SigningKey::Plain(_) => unreachable!(),
        }
    }

    #[test]
    fn equal_but_for_the_time_of_issue_is_equal() {
        let operator = OperatorSeed::generate().unwrap();
        let mut claims = claims();
        let early = Token::sign(claims.clone(), UnixTime(1), &operator).unwrap();
        let late = Token::sign(claims.clone(), UnixTime(2), &operator).unwrap();
        assert_ne!(early.claims().jti, late.claims().jti);
        assert_eq!(of_token(&early).unwrap(), of_token(&late).unwrap());
        claims.iss = Some(operator.public().into());
        assert_eq!(of_claims(&claims).unwrap(), of_token(&late).unwrap());
    }

    #[test]
    fn the_order_of_a_set_is_no_difference() {
        let (wanted, mut found) = (claims(), claims());
        let found_key = found.sub.clone();
        found.sub = wanted.sub.clone();
        if let SigningKey::Scoped(scope) = &mut found.nats.signing_keys[0] {
            assert_eq!(scope.key, found_key);
            scope.key = wanted.sub.clone();
        }
        scope(&mut found).permissions.r#pub.allow.reverse();
        assert_eq!(paths(&wanted, &found), Vec::<String>::new());
    }

    #[test]
    fn a_difference_names_the_role_and_the_subject() {
        let wanted = claims();
        let mut found = wanted.clone();
        scope(&mut found).permissions.r#pub.allow[1] = ">".into();
        found.nats.limits.conn = 5;
        assert_eq!(
            paths(&wanted, &found),
            [
                "limits.conn: Some(\"-1\") → Some(\"5\")",
                "signing_keys[vault.api].template.pub.allow[>]: None → Some(\"present\")",
                "signing_keys[vault.api].template.pub.allow[evt.b.>]: Some(\"present\") → None",
            ]
        );
    }

    #[test]
    fn unlimited_and_forbidden_are_not_the_same_in_a_scope() {
        let wanted = claims();
        let mut found = wanted.clone();
        scope(&mut found).subs = 0;
        assert_eq!(paths(&wanted, &found).len(), 1);
    }

    #[test]
    fn leave_to_respond_is_a_difference_though_all_its_fields_are_zero() {
        let wanted = claims();
        let mut found = wanted.clone();
        scope(&mut found).permissions.resp = Some(ResponsePermission { max: 0, ttl: 0 });
        assert_eq!(paths(&wanted, &found).len(), 1);
    }

    #[test]
    fn a_field_that_we_do_not_know_is_a_difference() {
        let wanted = claims();
        let mut json = to_json(&wanted).unwrap();
        json["nats"]["cluster_traffic"] = "owner".into();
        json["nats"]["authorization"] = serde_json::json!({ "auth_users": [] });
        let found = Canonical::of(json);
        let differences = of_claims(&wanted).unwrap().differences(&found);
        assert_eq!(differences.len(), 1);
        assert_eq!(differences[0].path, "cluster_traffic");
    }
}
