//! Carrying out a Service's plan.

use std::time::SystemTime;

use cim_crds::Service;
use cim_nats::keys::UserSeed;
use cim_nats::{jetstream, scoped_user};
use cim_plan::Plan;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::change::Change;
use super::nats::{AccountWanted, CREDENTIALS_KEY, NatsWanted};
use super::observe::client;
use super::validate::Desired;
use super::{Reconciler, ServiceFailure};
use crate::driver::Visit;
use crate::kube::{Fate, Kube};

pub(super) async fn apply(
    reconciler: &Reconciler,
    visit: &Visit<'_, Service>,
    desired: &Desired,
    plan: &Plan<Change>,
) -> Result<(), ServiceFailure> {
    let Some(NatsWanted::Account(account)) = &desired.nats else { return Ok(()) };
    let mut streams = Vec::new();
    for change in &plan.changes {
        match change {
            Change::Issue { role, secret } => issue(visit, account, role, secret).await?,
            Change::Stream(change) => streams.push(change.clone()),
        }
    }
    if streams.is_empty() {
        return Ok(());
    }
    let client = client(reconciler, account).await?;
    let plan = Plan::new(streams, Vec::new());
    let making = jetstream::apply(&client, &plan);
    let failures = reconciler.metrics.external("nats", "apply", making).await?;
    if failures.is_empty() {
        return Ok(());
    }
    let told = |failure: &jetstream::Failure| format!("stream {}: {}", failure.stream, failure.why);
    Err(ServiceFailure::Streams(failures.iter().map(told).collect()))
}

async fn issue(
    visit: &Visit<'_, Service>,
    account: &AccountWanted,
    role: &str,
    secret: &str,
) -> Result<(), ServiceFailure> {
    let Some(role) = account.roles.iter().find(|wanted| wanted.role == role) else { return Ok(()) };
    let now = SystemTime::now().into();
    let creds = scoped_user(&account.key, &role.key, &role.user, UserSeed::generate()?, now, None)?;
    let object = Secret {
        metadata: Kube::owned(visit.object(), secret, Fate::Goes),
        type_: Some("Opaque".to_owned()),
        data: Some([(CREDENTIALS_KEY.to_owned(), ByteString(creds.reveal().into_bytes()))].into()),
        ..Secret::default()
    };
    visit.kube().apply_owned(&object).await?;
    Ok(())
}
