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
        KindArg::Cluster => request::<Cluster>(access, &name, how).await,
        KindArg::Machine => request::<Machine>(access, &name, how).await,
        _ if retry => Err(Error::Usage(format!(
            "a {kind} has nothing to retry: it is tried again by itself; --retry is for a Machine or Cluster"
        ))),
        KindArg::Domain => request::<Domain>(access, &name, how).await,
        KindArg::Service => request::<Service>(access, &name, how).await,
        KindArg::ObjectReplica => request::<ObjectReplica>(access, &name, how).await,
    }
}

#[derive(Clone, Copy, Debug)]
struct How {
    retry: bool,
    deadline: Option<Duration>,
}

async fn request<K: Kind>(
    access: &Access,
    name: &str,
    How { retry, deadline }: How,
) -> Result<Requested, Error> {
    let namespace = access.one_namespace("reconcile")?;
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
        let object = Object::of(&object);
        match until {
            Some((until, after)) if !handled => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    let hint = suspended_hint(&object);
                    return Err(Error::NotHandled { object: title(), after, hint });
                }
                tokio::time::sleep(left.min(POLL)).await;
            }
            _ => return Ok(Requested { token, handled, object }),
        }
    }
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
        format!("{title}: handled; {word}{reason}, {drift}\n")
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
                let requested =
                    |handled| Requested { token: "t".to_owned(), handled, object: object.clone() };
                [requested(false).table(false), requested(true).table(false)]
            })
            .collect();
        insta::assert_snapshot!(lines);
    }
}
