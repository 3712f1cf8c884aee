//! From a locked flake to the closure of each machine.
//!
//! All machines are evaluated in one run of Nix: what they share (nixpkgs, modules) is then parsed
//! and evaluated once. A machine whose configuration is broken does not take the others with it,
//! see [`Nix::evaluate`].

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ParseError};
use crate::nix::Nix;
use crate::process::{Output, strip_ansi};
use crate::source::{LockedSource, NarHash, Rev, input_error, one_line};
use crate::store_path::{DerivationPath, StorePath};

const EXPRESSION: &str = include_str!("evaluate.nix");

/// The name of a machine's configuration: `<name>` in the flake's `nixosConfigurations.<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Attribute(String);

impl Attribute {
    /// As given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Attribute {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if (1..=253).contains(&text.len()) && text.bytes().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new("configuration", text, "1 to 253 of A-Z a-z 0-9 . _ -"))
        }
    }
}

impl TryFrom<String> for Attribute {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Attribute> for String {
    fn from(attribute: Attribute) -> Self {
        attribute.0
    }
}

impl Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a machine shall run, and how it is built.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Toplevel {
    /// How it is built.
    pub derivation: DerivationPath,
    /// The NixOS closure; known before it is built.
    pub closure: StorePath,
}

/// Why one machine's configuration gives no closure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// The flake has no such configuration.
    #[error("the flake has no nixosConfigurations.{attribute}; it has {}", list(.available))]
    Unknown {
        /// The one asked for.
        attribute: Attribute,
        /// Those that exist.
        available: Vec<String>,
    },
    /// The configuration is broken.
    #[error("nixosConfigurations.{attribute} cannot be evaluated: {message}")]
    Failed {
        /// The one asked for.
        attribute: Attribute,
        /// What Nix said.
        message: String,
    },
}

impl AttributeError {
    /// The class of this error as a condition's reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "UnknownConfiguration",
            Self::Failed { .. } => "EvaluationFailed",
        }
    }
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 20;
    match names {
        [] => "none at all".to_owned(),
        _ if names.len() > SHOWN => {
            format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN)
        }
        _ => names.join(", "),
    }
}

/// The closure of each machine, or why there is none.
pub type Evaluation = BTreeMap<Attribute, Result<Toplevel, AttributeError>>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    rev: Rev,
    nar_hash: NarHash,
    available: Vec<String>,
    machines: BTreeMap<Attribute, Evaluated>,
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "camelCase")]
enum Evaluated {
    #[serde(rename = "evaluated")]
    Paths(Toplevel),
    Caught,
    Unknown,
}

impl Nix {
    /// Evaluates `nixosConfigurations.<attribute>` for all `attributes`, in one run.
    ///
    /// A configuration that throws (also by a failed NixOS assertion) is caught within that run;
    /// one more run tells its message. An error that the language cannot catch ends the run; the
    /// list is then halved until the culprit stands alone, so k broken of n machines cost in the
    /// order of k·log n runs, and none when nothing is broken.
    ///
    /// # Errors
    /// For faults of the flake as a whole: [`Error::LockMismatch`], [`Error::Unlocked`],
    /// [`Error::FlakeBroken`], [`Error::SourceUnreachable`], [`Error::SourceChanged`],
    /// [`Error::Timeout`].
    pub async fn evaluate(
        &self,
        source: &LockedSource,
        attributes: &[Attribute],
    ) -> Result<Evaluation, Error> {
        let mut evaluation = Evaluation::new();
        let mut names: Vec<Attribute> = attributes.to_vec();
        names.sort();
        names.dedup();
        let mut flake_is_sound = false;
        // A batch that fails is split and never repeated, so this ends after at most 2n runs.
        let mut batches = vec![names];
        while let Some(mut batch) = batches.pop() {
            let output = self.evaluate_batch(source, &batch).await?;
            if output.success() {
                for (attribute, found) in read(source, &output)? {
                    let result = match found {
                        Found::Told(result) => result,
                        Found::Caught => Err(self.failure(source, &attribute).await?),
                    };
                    evaluation.insert(attribute, result);
                }
                continue;
            }
            // An input that cannot be had says nothing about the machine that asked for it.
            if let Some(error) = input_error(&source.url, &strip_ansi(&output.stderr)) {
                return Err(error);
            }
            if !flake_is_sound {
                self.require_sound(source).await?;
                flake_is_sound = true;
            }
            if batch.len() > 1 {
                batches.push(batch.split_off(batch.len() / 2));
                batches.push(batch);
            } else if let Some(attribute) = batch.pop() {
                let message = one_line(&output.stderr);
                let error = AttributeError::Failed { attribute: attribute.clone(), message };
                evaluation.insert(attribute, Err(error));
            }
        }
        Ok(evaluation)
    }

    /// Tells a fault that all machines share, where asking for fewer would not help, from one of a
    /// machine: the flake without any machine evaluates, or it does not.
    async fn require_sound(&self, source: &LockedSource) -> Result<(), Error> {
        let output = self.evaluate_batch(source, &[]).await?;
        if output.success() {
            return Ok(());
        }
        let (url, stderr) = (source.url.clone(), strip_ansi(&output.stderr));
        Err(input_error(&url, &stderr)
            .unwrap_or_else(|| Error::FlakeBroken { url, detail: one_line(&stderr) }))
    }

    async fn evaluate_batch(
        &self,
        source: &LockedSource,
        batch: &[Attribute],
    ) -> Result<Output, Error> {
        let names: Vec<String> = batch.iter().map(|name| nix_string(name.as_str())).collect();
        let expression =
            format!("({EXPRESSION}) {} [ {} ]", nix_string(&source.url), names.join(" "));
        // Without the trace, Nix does not tell an input that it could not fetch.
        let args = ["eval", "--json", "--show-trace", "--expr", &expression];
        let what = format!("evaluating {} of {}", count(batch.len()), source.url);
        self.nix(args, self.limits().evaluate, what).run().await
    }

    /// The message of a configuration known to throw: uncaught, Nix prints it.
    async fn failure(
        &self,
        source: &LockedSource,
        attribute: &Attribute,
    ) -> Result<AttributeError, Error> {
        let expression = format!(
            "(builtins.getFlake {}).nixosConfigurations.{}.config.system.build.toplevel.drvPath",
            nix_string(&source.url),
            nix_string(attribute.as_str()),
        );
        let args = ["eval", "--raw", "--expr", &expression];
        let what = format!("evaluating {attribute} of {}", source.url);
        let output = self.nix(args, self.limits().evaluate, what).run().await?;
        let message = one_line(&output.stderr);
        Ok(AttributeError::Failed { attribute: attribute.clone(), message })
    }
}

enum Found {
    Told(Result<Toplevel, AttributeError>),
    Caught,
}

fn read(source: &LockedSource, output: &Output) -> Result<Vec<(Attribute, Found)>, Error> {
    let answer: Answer = serde_json::from_str(&output.stdout).map_err(|why| Error::BadOutput {
        what: format!("evaluating {}", source.url),
        why: why.to_string(),
    })?;
    let changed = |field, expected: &dyn Display, found: &dyn Display| Error::SourceChanged {
        url: source.url.clone(),
        field,
        expected: expected.to_string(),
        found: found.to_string(),
    };
    if answer.rev != source.rev {
        return Err(changed("rev", &source.rev, &answer.rev));
    }
    if answer.nar_hash != source.nar_hash {
        return Err(changed("narHash", &source.nar_hash, &answer.nar_hash));
    }
    let Answer { available, machines, .. } = answer;
    let found = |(attribute, evaluated): (Attribute, Evaluated)| {
        let found = match evaluated {
            Evaluated::Paths(toplevel) => Found::Told(Ok(toplevel)),
            Evaluated::Caught => Found::Caught,
            Evaluated::Unknown => Found::Told(Err(AttributeError::Unknown {
                attribute: attribute.clone(),
                available: available.clone(),
            })),
        };
        (attribute, found)
    };
    Ok(machines.into_iter().map(found).collect())
}

/// `text` as a string literal of the Nix language.
fn nix_string(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', r#"\""#).replace("${", r"\${");
    format!("\"{escaped}\"")
}

fn count(n: usize) -> String {
    if n == 1 { "1 machine".to_owned() } else { format!("{n} machines") }
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
        "host1":{"status":"evaluated","derivation":"/nix/store/3i08014lim3070x15lfy5v5bsvrd15cn-nixos-system-host1.drv",
                 "closure":"/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-nixos-system-host1"},
        "nope":{"status":"unknown"},"thrown":{"status":"caught"}},
        "narHash":"sha256-aVSY/TASFLuZlot6o8KdD5sZF8vuiNvbT/TlLijOJHs=",
        "rev":"4efca76eb731711a51effb354be563066c7b450b"}"#;

    fn output(stdout: &str, stderr: &str) -> Output {
        Output { code: Some(0), stdout: stdout.to_owned(), stderr: stderr.to_owned() }
    }

    #[test]
    fn each_machine_has_its_own_result() {
        let found: BTreeMap<_, _> =
            read(&source(), &output(ANSWER, "")).unwrap().into_iter().collect();
        let of = |name: &str| &found[&name.parse::<Attribute>().unwrap()];
        assert!(matches!(of("host1"), Found::Told(Ok(_))));
        assert!(matches!(of("thrown"), Found::Caught));
        let Found::Told(Err(error)) = of("nope") else { panic!("nope is unknown") };
        assert_eq!(
            error.to_string(),
            "the flake has no nixosConfigurations.nope; it has host1, thrown"
        );
    }

    #[test]
    fn another_tree_under_the_same_revision_is_refused() {
        let mut source = source();
        source.nar_hash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".parse().unwrap();
        let Err(error) = read(&source, &output(ANSWER, "")) else { panic!("accepted") };
        assert!(error.to_string().contains("narHash should be"), "{error}");
    }

    #[test]
    fn no_text_leaves_a_nix_string() {
        assert_eq!(nix_string(r#"a"b\c${d}$e"#), r#""a\"b\\c\${d}$e""#);
    }

    #[test]
    fn attribute_names_cannot_leave_a_nix_string() {
        assert!("host1.core-a_b".parse::<Attribute>().is_ok());
        for evil in ["", "a\"b", "${x}", "a b", "a\\", "a'"] {
            assert!(evil.parse::<Attribute>().is_err(), "{evil}");
        }
    }
}
