//! An evaluation, as the status holds it.

use std::collections::BTreeMap;

use cim_crds::cluster::release::{NamedPath, Release, ReleaseMachine};
use cim_nixos::promotion::{Content, digest};
use cim_nixos::{Attribute, Configuration, Evaluation, LockedSource, StorePath};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::wanted::Wanted;
use crate::cluster::install;

/// The longest message of one machine, as the schema bounds it.
const ERROR_MAX: usize = 1000;

pub(super) fn release(
    wanted: &Wanted,
    locked: &LockedSource,
    evaluation: &Evaluation,
    now: &Time,
) -> Release {
    let content = content(locked, evaluation);
    let inventory_hash = evaluation.inventory.as_ref().map(|hash| hash.as_str().to_owned());
    let digest = digest(&content, inventory_hash.as_deref());
    let before = wanted.present.as_ref();
    let since = before.filter(|before| before.digest.as_ref() == Some(&digest));
    let since = since.and_then(|before| before.since.clone()).unwrap_or_else(|| now.clone());
    let machines = wanted.machines.iter().map(|(name, attribute)| {
        let output = wanted.installs.get(name);
        ReleaseMachine {
            install: output.and_then(|output| {
                let configuration = evaluation.configurations.get(attribute)?.as_ref().ok()?;
                Some(install::told(configuration.install.as_ref()?, output.as_ref()))
            }),
            ..machine(name, attribute, evaluation)
        }
    });
    let named = |(name, path): (&String, &StorePath)| NamedPath {
        name: name.clone(),
        out_path: path.to_string(),
    };
    Release {
        flake: wanted.flake.clone(),
        ref_: wanted.branch.clone(),
        rev: locked.rev.to_string(),
        short_rev: locked.rev.short().to_owned(),
        nar_hash: locked.nar_hash.to_string(),
        inventory_hash,
        digest: Some(digest),
        since: Some(since),
        machines: machines.collect(),
        services: content.services.iter().map(named).collect(),
    }
}

/// What the revision comes to. Two configurations may hold different closures of one service (for
/// two systems, say): then each is named with its configuration.
fn content(locked: &LockedSource, evaluation: &Evaluation) -> Content {
    let found: BTreeMap<&Attribute, &Configuration> = evaluation
        .configurations
        .iter()
        .filter_map(|(attribute, found)| Some((attribute, found.as_ref().ok()?)))
        .collect();
    let mut services: BTreeMap<String, StorePath> = BTreeMap::new();
    for (attribute, configuration) in &found {
        for (service, path) in &configuration.services {
            let first = services.entry(service.clone()).or_insert_with(|| path.clone());
            if first != path {
                services.insert(format!("{service}@{attribute}"), path.clone());
            }
        }
    }
    Content {
        rev: locked.rev.clone(),
        nar_hash: locked.nar_hash.clone(),
        configurations: found
            .iter()
            .map(|(attribute, it)| (attribute.to_string(), it.toplevel.closure.clone()))
            .collect(),
        services,
    }
}

/// What `name` is to run.
pub(super) fn machine(
    name: &str,
    attribute: &Attribute,
    evaluation: &Evaluation,
) -> ReleaseMachine {
    let entry = ReleaseMachine {
        name: name.to_owned(),
        configuration: attribute.to_string(),
        ..ReleaseMachine::default()
    };
    match evaluation.configurations.get(attribute) {
        Some(Ok(Configuration { toplevel, .. })) => ReleaseMachine {
            drv_path: Some(toplevel.derivation.to_string()),
            out_path: Some(toplevel.closure.to_string()),
            ..entry
        },
        Some(Err(error)) => ReleaseMachine { error: Some(short(&error.to_string())), ..entry },
        None => ReleaseMachine { error: Some("it was not evaluated".to_owned()), ..entry },
    }
}

fn short(text: &str) -> String {
    text[..text.floor_char_boundary(ERROR_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_between_characters_to_what_the_schema_admits() {
        let length = short(&"ü".repeat(2 * ERROR_MAX)).len();
        assert!((ERROR_MAX - 1..=ERROR_MAX).contains(&length), "{length}");
    }
}
