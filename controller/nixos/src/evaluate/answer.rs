//! What the evaluator is asked, and its answer.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::Deserialize;

use super::{Attribute, AttributeError, Configuration, Installs, InventoryHash};
use crate::error::Error;
use crate::source::{LockedSource, NarHash, Rev};

const EXPRESSION: &str = include_str!("expression.nix");

/// The expression that evaluates `names` of a flake, as a set with `answer` and `uncaught`.
pub(super) fn expression(
    url: &str,
    inventory: Option<&InventoryHash>,
    names: &[Attribute],
    installs: &Installs,
) -> String {
    let installs: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let kexec = installs.get(name)?.as_ref();
            let kexec = kexec.map_or_else(|| "null".to_owned(), |output| nix_list(output.names()));
            Some(format!("{} = {kexec};", nix_string(name.as_str())))
        })
        .collect();
    let inventory = inventory.map_or_else(
        || "null".to_owned(),
        |hash| {
            let (hash, hex) = (nix_string(hash.as_str()), nix_string(&hash.hex()));
            format!("{{ hash = {hash}; hex = {hex}; }}")
        },
    );
    format!(
        "({EXPRESSION}) {{ url = {}; inventory = {inventory}; names = {}; installs = {{ {} }}; }}",
        nix_string(url),
        nix_list(names.iter().map(Attribute::as_str)),
        installs.join(" ")
    )
}

fn nix_list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<String> = texts.map(nix_string).collect();
    format!("[ {} ]", texts.join(" "))
}

/// `text` as a string literal of the Nix language.
fn nix_string(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', r#"\""#).replace("${", r"\${");
    format!("\"{escaped}\"")
}

/// What one run said.
pub(super) struct Answer {
    /// Whether the flake has `cimConfigurations` and was given an inventory.
    pub(super) takes_inventory: bool,
    pub(super) found: Vec<(Attribute, Found)>,
}

/// What was found out about one configuration.
pub(super) enum Found {
    Told(Result<Configuration, AttributeError>),
    /// It throws; another run has to tell the message.
    Caught,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    rev: Rev,
    nar_hash: NarHash,
    takes_inventory: bool,
    available: Vec<String>,
    machines: BTreeMap<Attribute, Evaluated>,
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "camelCase")]
enum Evaluated {
    #[serde(rename = "evaluated")]
    Paths(Configuration),
    Caught,
    Unknown,
}

/// Reads the JSON of `answer` in `expression.nix`, which must be about `source` and nothing else.
pub(super) fn read(source: &LockedSource, json: &str) -> Result<Answer, Error> {
    let raw: Raw = serde_json::from_str(json).map_err(|why| Error::BadOutput {
        what: format!("evaluating {}", source.url),
        why: why.to_string(),
    })?;
    let changed = |field, expected: &dyn Display, found: &dyn Display| Error::SourceChanged {
        url: source.url.clone(),
        field,
        expected: expected.to_string(),
        found: found.to_string(),
    };
    if raw.rev != source.rev {
        return Err(changed("rev", &source.rev, &raw.rev));
    }
    if raw.nar_hash != source.nar_hash {
        return Err(changed("narHash", &source.nar_hash, &raw.nar_hash));
    }
    let Raw { takes_inventory, available, machines, .. } = raw;
    let found = |(attribute, evaluated): (Attribute, Evaluated)| {
        let found = match evaluated {
            Evaluated::Paths(configuration) => Found::Told(Ok(configuration)),
            Evaluated::Caught => Found::Caught,
            Evaluated::Unknown => Found::Told(Err(AttributeError::Unknown {
                attribute: attribute.clone(),
                available: available.clone(),
            })),
        };
        (attribute, found)
    };
    Ok(Answer { takes_inventory, found: machines.into_iter().map(found).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> LockedSource {
        LockedSource {
            url: "git://h/r?ref=main&rev=4efca76eb731711a51effb354be563066c7b450b".to_owned(),
            rev: "4efca76eb731711a51effb354be563066c7b450b".parse().unwrap(),
            nar_hash: "sha256-aVSY/TASFLuZlot6o8KdD5sZF8vuiNvbT/TlLijOJHs=".parse().unwrap(),
        }
    }

    /// As Nix 2.26.3 printed it.
    const ANSWER: &str = r#"{"available":["host1","thrown"],"machines":{
        "host1":{"status":"evaluated","services":{"api":"/nix/store/3i08014lim3070x15lfy5v5bsvrd15cn-api"},
                 "toplevel":{"derivation":"/nix/store/3i08014lim3070x15lfy5v5bsvrd15cn-nixos-system-host1.drv",
                 "closure":"/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-nixos-system-host1"}},
        "nope":{"status":"unknown"},"thrown":{"status":"caught"}},
        "narHash":"sha256-aVSY/TASFLuZlot6o8KdD5sZF8vuiNvbT/TlLijOJHs=",
        "rev":"4efca76eb731711a51effb354be563066c7b450b","takesInventory":true}"#;

    #[test]
    fn each_machine_has_its_own_result() {
        let answer = read(&source(), ANSWER).unwrap();
        assert!(answer.takes_inventory);
        let found: BTreeMap<_, _> = answer.found.into_iter().collect();
        let of = |name: &str| &found[&name.parse::<Attribute>().unwrap()];
        let Found::Told(Ok(host1)) = of("host1") else { panic!("host1 was evaluated") };
        assert_eq!(host1.services["api"].name(), "api");
        assert!(matches!(of("thrown"), Found::Caught));
        let Found::Told(Err(error)) = of("nope") else { panic!("nope is unknown") };
        let wanted = "the flake has no configuration nope; it has host1, thrown";
        assert_eq!(error.to_string(), wanted);
    }

    #[test]
    fn another_tree_under_the_same_revision_is_refused() {
        let mut source = source();
        source.nar_hash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".parse().unwrap();
        let Err(error) = read(&source, ANSWER) else { panic!("accepted") };
        assert!(error.to_string().contains("narHash should be"), "{error}");
    }

    #[test]
    fn no_text_leaves_a_nix_string() {
        assert_eq!(nix_string(r#"a"b\c${d}$e"#), r#""a\"b\\c\${d}$e""#);
    }
}
