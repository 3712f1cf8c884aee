//! The last logs of an object's builds and activations, kept where `cimctl logs` reads them: a
//! ConfigMap that goes with the object.

use std::collections::BTreeMap;

use cim_crds::Kind as ObjectKind;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

use crate::kube::{Fate, Kube};
use crate::naming::object_name;
use crate::ops::telemetry::chain;

/// The label by which all of them are found.
const LABEL: &str = "cim.dev/log";
/// How much of a log is kept, in bytes: its end.
const KEPT: usize = 64 << 10;

/// Which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of a build.
    Build,
    /// Of an activation.
    Activation,
    /// Of a phase of the first installation.
    Install,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Activation => "activation",
            Self::Install => "install",
        }
    }
}

/// Keeps the end of `text` as the last log of that kind of `object`; `of` is what was built or
/// activated. Only explains, so failing to keep it is no error.
pub async fn keep<K: ObjectKind>(kube: &Kube, object: &K, kind: Kind, of: &str, text: &str) {
    let name = object_name(&["cim-log", &K::KIND.to_lowercase(), &object.name_any()]);
    let namespace = object.namespace().unwrap_or_default();
    let present = match kube.config_map(&namespace, &name).await {
        Ok(present) => present.unwrap_or_default(),
        Err(error) => {
            return tracing::warn!(error = chain(&error), "cannot read the log kept before");
        }
    };
    let mut metadata = Kube::owned(object, &name, Fate::Goes);
    metadata.labels.get_or_insert_default().insert(LABEL.to_owned(), "true".to_owned());
    let annotations = metadata.annotations.get_or_insert_default();
    // The log of the other kind stays as it is.
    let before = present.metadata.annotations.unwrap_or_default();
    annotations.extend(before.into_iter().filter(|(key, _)| is_ours(key)));
    let now = Timestamp::now().to_string();
    annotations.insert(format!("cim.dev/{}-of", kind.as_str()), of.to_owned());
    annotations.insert(format!("cim.dev/{}-at", kind.as_str()), now);
    let mut data: BTreeMap<String, String> = present.data.unwrap_or_default();
    data.insert(kind.as_str().to_owned(), end(text).to_owned());
    let log = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
    if let Err(error) = kube.apply_owned(&log).await {
        tracing::warn!(error = chain(&error), "cannot keep the log");
    }
}

fn is_ours(annotation: &str) -> bool {
    annotation.starts_with("cim.dev/")
        && (annotation.ends_with("-of") || annotation.ends_with("-at"))
}

/// The last [`KEPT`] bytes, from the beginning of a line if there is one.
fn end(text: &str) -> &str {
    let Some(from) = text.len().checked_sub(KEPT) else { return text };
    let tail = &text[text.ceil_char_boundary(from)..];
    tail.split_once('\n').map_or(tail, |(_, whole)| whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_log_is_kept_from_the_beginning_of_a_line() {
        assert_eq!(end("short\n"), "short\n");
        let long: String = (0..20_000).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
        let kept = end(&long);
        assert!(kept.len() <= KEPT && kept.starts_with("line ") && kept.ends_with("19999"));
        assert!(end(&"ü".repeat(KEPT)).len() <= KEPT, "one line");
    }
}
