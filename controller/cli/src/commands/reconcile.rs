//! `reconcile`: have the controller look at an object now.

use std::{collections::BTreeMap, time::Duration};

use cim_crds::{
    Cluster, Domain, Kind, Machine, ObjectReplica, Service,
    annotations::{REQUESTED_AT, RETRY},
};
use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;
use tokio::time::Instant;

use super::one;
use crate::{
    access::Access,
    error::Error,
    kinds::KindArg,
    output::Report,
    state::{Object, Phase},
    target::One,
};

/// How often the status is read while waiting.
const POLL: Duration = Duration::from_millis(500);

/// The outcome of a request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Requested {
    /// The value of the annotation, echoed in `status.lastHandledReconcileAt`.
    #[serde(rename = "requestedAt")]
    token: String,
    /// Whether the controller has handled it; false when that was not waited for.
    handled: bool,
    /// Whether what had failed is begun again; false where there is nothing to try again. Absent when
    /// that was not asked for, or not waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    retried: Option<bool>,
    /// The object as it was last seen.
    object: Object,
}

pub(crate) async fn run(
    access: &Access,
    target: &One,
    retry: bool,
    deadline: Option<Duration>,
) -> Result<Requested, Error> {
    access.one_namespace("reconcile")?;
    let (kind, name) = one(access, target).await?;
    let how = How { retry, deadline };
    match kind {
        KindArg::Cluster => request::<Cluster>(access, &name, how, RETRY_OF_CLUSTER).await,
        KindArg::Machine => request::<Machine>(access, &name, how, RETRY_OF_MACHINE).await,
        _ if retry => Err(Error::Usage(format!(
            "a {kind} has nothing to retry: it is tried again by itself; --retry is for a Machine or Cluster"
        ))),
        KindArg::Domain => request::<Domain>(access, &name, how, Retry::none()).await,
        KindArg::Service => request::<Service>(access, &name, how, Retry::none()).await,
        KindArg::ObjectReplica => request::<ObjectReplica>(access, &name, how, Retry::none()).await,
    }
}

#[derive(Clone, Copy, Debug)]
struct How {
    retry: bool,
    deadline: Option<Duration>,
}

/// What a kind says of trying again.
struct Retry<K> {
    /// Whether there is something that failed.
    failed: fn(&K) -> bool,
    /// The last wish to try again that was heard: that is begun, or found to be needless.
    heard: fn(&K) -> Option<&str>,
}

impl<K> Retry<K> {
    fn none() -> Self {
        Self { failed: |_| false, heard: |_| None }
    }
}

const RETRY_OF_CLUSTER: Retry<Cluster> = Retry {
    failed: |cluster| cluster.status.as_ref().is_some_and(|status| status.rollout.is_some()),
    heard: |cluster| cluster.status.as_ref()?.rollout.as_ref()?.retry.as_deref(),
};

/// What failed and is not wanted any more, since its release was taken back, is nothing to try again.
const RETRY_OF_MACHINE: Retry<Machine> = Retry {
    failed: |machine| {
        let Some(status) = &machine.status else { return false };
        let wanted = status.target.as_ref().and_then(|target| target.out_path.as_ref());
        let failed = status.failed.as_ref().map(|failed| &failed.out_path);
        failed.is_some() && failed == wanted
            || status.install.as_ref().is_some_and(|install| install.failed.is_some())
    },
    heard: |machine| {
        let status = machine.status.as_ref()?;
        match status.install.as_ref().filter(|_| machine.awaits_install()) {
            None => status.retry.as_deref(),
            // It is gone as soon as the phase is begun again.
            Some(install) => match &install.failed {
                None => machine.annotations().get(RETRY).map(String::as_str),
                Some(failed) => failed.retry.as_deref(),
            },
        }
    },
};

async fn request<K: Kind>(
    access: &Access,
    name: &str,
    How { retry, deadline }: How,
    Retry { failed, heard }: Retry<K>,
) -> Result<Requested, Error> {
    let namespace = access.one_namespace("reconcile")?;
    // As it was before anybody could begin.
    let tries = retry && access.get::<K>(namespace, name).await?.is_some_and(|it| failed(&it));
    let token = Timestamp::now().to_string();
    let mut annotations = BTreeMap::from([(REQUESTED_AT, token.as_str())]);
    if retry {
        annotations.insert(RETRY, &token);
    }
    if access.annotate::<K>(namespace, name, &annotations).await?.is_none() {
        let (objects, _) = access.list::<K>().await?;
        let known = objects.iter().map(ResourceExt::name_any).collect();
        let (kind, name, namespace) = (K::KIND, name.to_owned(), namespace.to_owned());
        return Err(Error::NoSuchObject { kind, name, namespace, known });
    }
    let until = deadline.map(|after| (Instant::now() + after, after));
    loop {
        let title = || format!("{} {namespace}/{name}", K::KIND);
        let Some(object) = access.get::<K>(namespace, name).await? else {
            return Err(Error::Gone { object: title() });
        };
        let echo = object.status_common().and_then(|s| s.last_handled_reconcile_at.as_deref());
        let handled = echo == Some(&*token);
        // Looking at it is not trying it again: that begins when a revoke has ended, say.
        let waits = tries && heard(&object) != Some(&*token);
        let retried = (retry && handled && !waits).then_some(tries);
        let object = Object::of(&object);
        match until {
            Some((until, after)) if !handled || waits => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(late(title(), after, handled, &object));
                }
                tokio::time::sleep(left.min(POLL)).await;
            }
            _ => return Ok(Requested { token, handled, retried, object }),
        }
    }
}

fn late(title: String, after: Duration, handled: bool, object: &Object) -> Error {
    if handled {
        let why = object.state.message.clone();
        return Error::NotRetried { object: title, after, why };
    }
    Error::NotHandled { object: title, after, hint: suspended_hint(object) }
}

fn suspended_hint(object: &Object) -> &'static str {
    if object.state.phase == Phase::Suspended { " (it is suspended)" } else { "" }
}

impl Report for Requested {
    fn table(&self, colour: bool) -> String {
        let Object { kind, namespace, name, state, .. } = &self.object;
        let title = format!("{kind} {namespace}/{name}");
        if !self.handled {
            return format!("{title}: requested{}\n", suspended_hint(&self.object));
        }
        let reason =
            if state.reason.is_empty() { String::new() } else { format!(" ({})", state.reason) };
        let drift = match self.object.drift_count() {
            Some(0) => "nothing differs".to_owned(),
            Some(1) => "1 thing differs".to_owned(),
            Some(count) => format!("{count} things differ"),
            None => "drift not evaluated".to_owned(),
        };
        let word = state.phase.tone().paint(&state.phase.to_string(), colour);
        let retried = match self.retried {
            Some(true) => ", to be tried again",
            Some(false) => ", nothing to try again",
            None => "",
        };
        format!("{title}: handled{retried}; {word}{reason}, {drift}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_outcome_is_one_line() {
        let lines: String = fixtures::world()
            .objects()
            .into_iter()
            .flat_map(|object| {
                let requested = |handled| {
                    let (token, object) = ("t".to_owned(), object.clone());
                    Requested { token, handled, retried: None, object }
                };
                [requested(false).table(false), requested(true).table(false)]
            })
            .collect();
        insta::assert_snapshot!(lines);
    }

    #[test]
    fn a_retry_is_heard_where_there_is_something_to_try_again() {
        let cluster = |status: serde_json::Value| -> Cluster {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "cim.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "c"},
                "spec": {"domain": "d"}, "status": status,
            }))
            .expect("a cluster")
        };
        let machine = |status: serde_json::Value| -> Machine {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "cim.dev/v1alpha1", "kind": "Machine", "metadata": {"name": "m"},
                "spec": {"cluster": "c", "provider": {"metal": {}}, "delivery": "None"},
                "status": status,
            }))
            .expect("a machine")
        };
        let rollout = serde_json::json!({"rollout": {"phase": "Revoking", "retry": "1"}});
        let Retry { failed, heard } = RETRY_OF_CLUSTER;
        let aborted = cluster(rollout);
        assert!(failed(&aborted) && heard(&aborted) == Some("1"));
        assert!(!failed(&cluster(serde_json::json!({}))));

        let Retry { failed, heard } = RETRY_OF_MACHINE;
        let of = |wanted: &str| {
            machine(serde_json::json!({
                "retry": "1", "target": {"rev": "r", "outPath": wanted},
                "failed": {"outPath": "/nix/store/new", "reason": "RolledBack", "message": ""},
            }))
        };
        let held = of("/nix/store/new");
        assert!(failed(&held) && heard(&held) == Some("1"));
        assert!(!failed(&of("/nix/store/old")), "its release was taken back");
        assert!(!failed(&machine(serde_json::json!({"target": {"rev": "r"}}))));
        let failed_phase = serde_json::json!({"phase": "Disko", "message": "", "generation": 1});
        let install = serde_json::json!({"install": {"phase": "Failed", "failed": failed_phase}});
        assert!(failed(&machine(install)));
    }
}
