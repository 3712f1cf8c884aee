//! `logs`: the last build, activation and installation log of an object, as the controller keeps them.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use serde::Serialize;

use super::one;
use crate::{
    Console, access::Access, error::Error, kinds::KindArg, output::Report, style::Tone,
    table::Cell, target::One,
};

/// How often a followed log is read.
const POLL: Duration = Duration::from_secs(1);

/// The logs of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Logs {
    object: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<Log>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation: Option<Log>,
    #[serde(skip_serializing_if = "Option::is_none")]
    install: Option<Log>,
}

/// One log: the end of it, at most 64 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    /// The derivation that was built, or the store path that was activated.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    /// When, as in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    text: String,
}

/// Which logs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Which {
    pub(crate) build: bool,
    pub(crate) activation: bool,
    pub(crate) install: bool,
}

pub(crate) async fn run(access: &Access, target: &One, which: Which) -> Result<Logs, Error> {
    let namespace = access.one_namespace("logs")?;
    let (kind, name) = one(access, target).await?;
    let logs = read(access, namespace, (kind, &name), which).await?;
    match logs {
        Some(logs) => Ok(logs),
        None => Err(missing(access, namespace, (kind, &name), which).await?),
    }
}

/// Prints the logs and then whatever comes, until the reader has enough or the object is gone.
pub(crate) async fn follow(
    access: &Access,
    console: &mut Console<'_>,
    target: &One,
    which: Which,
    colour: bool,
) -> Result<(), Error> {
    let namespace = access.one_namespace("logs")?;
    let (kind, name) = one(access, target).await?;
    let mut told = Logs::default();
    let mut waiting = false;
    loop {
        match read(access, namespace, (kind, &name), which).await? {
            Some(logs) => {
                let text = since(&told, &logs, colour);
                console.out.write_all(text.as_bytes())?;
                console.out.flush()?;
                told = logs;
            }
            None if !waiting => {
                let reason = missing(access, namespace, (kind, &name), which).await?;
                if matches!(reason, Error::NoSuchObject { .. }) {
                    return Err(reason);
                }
                writeln!(console.err, "{kind} {namespace}/{name} has no log yet; waiting for one")?;
                waiting = true;
            }
            None => {}
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn read(
    access: &Access,
    namespace: &str,
    (kind, name): (KindArg, &str),
    which: Which,
) -> Result<Option<Logs>, Error> {
    let map = format!("cim-log-{}-{name}", kind.kind().to_lowercase());
    let map = access.config_map(namespace, &map).await?;
    let logs = map.map(|map| logs(format!("{kind}/{name}"), &map, which));
    Ok(logs.filter(|logs| {
        [&logs.build, &logs.activation, &logs.install].iter().any(|log| log.is_some())
    }))
}

/// Why there is no log: an error of its own when there is no such object either.
async fn missing(
    access: &Access,
    namespace: &str,
    (kind, name): (KindArg, &str),
    which: Which,
) -> Result<Error, Error> {
    let world = crate::world::World::fetch(access, &[kind]).await?;
    let aim = crate::target::Aim::Object(kind, name.to_owned());
    let object = match super::objects_of(access, &world, &aim) {
        Ok(_) => format!("{kind} {namespace}/{name}"),
        Err(missing) => return Ok(missing),
    };
    let what = match which {
        Which { build: true, .. } => "build log",
        Which { activation: true, .. } => "activation log",
        Which { install: true, .. } => "installation log",
        _ => "log",
    };
    Ok(Error::NoLog { object, what })
}

fn logs(object: String, map: &ConfigMap, which: Which) -> Logs {
    let log = |key: &str| {
        let text = map.data.as_ref()?.get(key)?.clone();
        let annotation = |of: &str| map.annotations().get(&format!("cim.dev/{key}-{of}")).cloned();
        Some(Log { of: annotation("of"), at: annotation("at"), text })
    };
    let all = !which.build && !which.activation && !which.install;
    Logs {
        object,
        build: log("build").filter(|_| which.build || all),
        activation: log("activation").filter(|_| which.activation || all),
        install: log("install").filter(|_| which.install || all),
    }
}

impl Report for Logs {
    fn table(&self, colour: bool) -> String {
        since(&Self::default(), self, colour)
    }
}

/// What is new: a heading where another log begins, and the text that was not there before.
fn since(before: &Logs, now: &Logs, colour: bool) -> String {
    let part = |title: &str, before: &Option<Log>, now: &Option<Log>| {
        let Some(now) = now else { return String::new() };
        let same = before.as_ref().filter(|before| before.of == now.of);
        let old = same.map(|before| before.text.as_str());
        let fresh = new_text(old.unwrap_or_default(), &now.text);
        let Some(fresh) = fresh else {
            // Not the same log: the text does not go on where it was.
            return heading(title, now, colour) + &printable(&now.text);
        };
        let heading = if old.is_some() { String::new() } else { heading(title, now, colour) };
        heading + &printable(fresh)
    };
    part("build", &before.build, &now.build)
        + &part("activation", &before.activation, &now.activation)
        + &part("installation: phase", &before.install, &now.install)
}

fn heading(title: &str, log: &Log, colour: bool) -> String {
    let of = log.of.as_ref().map(|of| format!(" of {of}")).unwrap_or_default();
    let at = log.at.as_ref().map(|at| format!(", {at}")).unwrap_or_default();
    let text = format!("==> {title}{of}{at} <==");
    Tone::Heading.paint(Cell::from(text).plain(), colour) + "\n"
}

/// What stands in `now` behind that which was in `before`; `None` if nothing of it is there any more.
/// The beginning of a log may have been cut off meanwhile.
fn new_text<'n>(before: &str, now: &'n str) -> Option<&'n str> {
    let mut begins = before.char_indices().map(|(at, _)| at).chain([before.len()]);
    let overlap = begins.find_map(|at| now.strip_prefix(&before[at..]).map(|rest| (at, rest)));
    match overlap {
        // Only the empty end of what was there is in it.
        Some((at, _)) if at == before.len() && !before.is_empty() => None,
        other => other.map(|(_, rest)| rest),
    }
}

/// The text without what a terminal would obey, ended by a newline.
fn printable(text: &str) -> String {
    let mut out: String =
        text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BOTH: Which = Which { build: false, activation: false, install: false };

    fn map() -> ConfigMap {
        serde_json::from_value(json!({
            "metadata": {"name": "cim-log-machine-host1", "annotations": {
                "cim.dev/build-of": "/nix/store/a-system.drv", "cim.dev/build-at": "2026-01-01T00:00:00Z",
                "cim.dev/activation-of": "/nix/store/b-system",
            }},
            "data": {"build": "building\nerror: \u{1b}[31mno\n", "activation": "setting up /etc"},
        }))
        .unwrap()
    }

    #[test]
    fn each_log_has_a_heading_and_obeys_no_escape() {
        insta::assert_snapshot!(logs("Machine/host1".to_owned(), &map(), BOTH).table(false));
    }

    #[test]
    fn one_of_them_may_be_asked_for() {
        let only = logs(String::new(), &map(), Which { build: true, ..BOTH });
        assert!(only.build.is_some() && only.activation.is_none());
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        assert_eq!(new_text("", "a\n"), Some("a\n"));
        assert_eq!(new_text("a\nb\n", "a\nb\n"), Some(""));
        assert_eq!(new_text("a\nb\n", "a\nb\nc\n"), Some("c\n"));
        assert_eq!(new_text("a\nb\n", "b\nc\n"), Some("c\n"), "the beginning was cut off");
        assert_eq!(new_text("a\nb\n", "x\n"), None);
        let mut before = logs(String::new(), &map(), BOTH);
        let now = before.clone();
        assert_eq!(since(&before, &now, false), "");
        before.activation = None;
        assert_eq!(
            since(&before, &now, false),
            "==> activation of /nix/store/b-system <==\nsetting up /etc\n"
        );
    }
}
