//! The Secrets that the examples refer to, with the keys that `examples/home/README.md` names.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Value, json};

use super::Estate;
use crate::lab::{
    Lab, Result,
    servers::dns::{KEY_ALGORITHM, KEY_NAME},
};

/// All of them, as one list for `kubectl apply`.
pub(super) fn all(lab: &Lab, estate: &Estate) -> Result<String> {
    let secret = |name: &str, data: &BTreeMap<String, String>| secret(estate.namespace, name, data);
    let mut known_hosts = String::new();
    for host in lab.hosts() {
        // Writing to a string cannot fail.
        let _ = writeln!(known_hosts, "{},{} {}", host.name(), host.address(), host.host_key());
    }
    let tsig = [("name", KEY_NAME), ("algorithm", KEY_ALGORITHM), ("secret", lab.dns()?.secret())];
    let mut items = vec![
        secret("tsig", &pairs(tsig)),
        secret("deploy-key", &pairs([("ssh-privatekey", &lab.deploy_key().private)])),
        secret("nix-signing-key", &pairs([("signing-key", &lab.nix_key().secret)])),
        secret("host-keys", &pairs([("known_hosts", &known_hosts)])),
    ];
    if estate.nats {
        items.push(secret("nats-operator", &lab.nats()?.operator().to_data()));
    }
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn secret(namespace: &str, name: &str, data: &BTreeMap<String, String>) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": data,
        "metadata": {"name": name, "namespace": namespace},
    })
}
