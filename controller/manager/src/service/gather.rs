//! What a Service refers to in the cluster, read now.

use std::collections::BTreeMap;
use std::sync::Arc;

use cim_crds::conditions::{ConditionType, is_true, reasons};
use cim_crds::machine::service_checks::CheckTrouble;
use cim_crds::{Cluster, Domain, Machine, Service};
use cim_names::Hierarchy;
use kube::ResourceExt;

use super::{Reconciler, ServiceFailure};
use crate::checks::{Check, Resolver};
use crate::domain::account_secret;
use crate::driver::Visit;
use crate::inventory::hierarchy;
use crate::naming::object_name;
use crate::outcome::{Stop, Wait};
use crate::secret::SecretData;

/// What was read in the cluster.
pub struct Inputs {
    pub(super) cluster: Arc<Cluster>,
    pub(super) domain: Arc<Domain>,
    pub(super) hierarchy: Hierarchy,
    /// The keys of its account; `None` while the Domain has not made them.
    pub(super) keys: Option<SecretData>,
    /// For each role, in the order of the spec: its credentials as they are.
    pub(super) credentials: Vec<Option<SecretData>>,
    /// Its checks, in the order of the spec.
    pub(super) checks: Vec<Check>,
    /// By Machine: what its own visits saw of them, where that is of now.
    pub(super) told: BTreeMap<String, Told>,
}

/// What the visits to a Machine say of the Service's checks.
pub(super) enum Told {
    /// The checks that do not hold, of the present spec.
    Seen(Vec<CheckTrouble>),
    /// Nothing, for the reason given.
    Nothing(&'static str),
}

/// The name of the Secret with a role's credentials.
pub(super) fn credentials_secret(service: &str, role: &str) -> String {
    object_name(&[service, role, "nats"])
}

pub(super) async fn gather(
    reconciler: &Reconciler,
    visit: &Visit<'_, Service>,
) -> Result<Inputs, Stop<ServiceFailure>> {
    let spec = &visit.object().spec;
    let (kube, namespace) = (visit.kube(), visit.namespace());
    let missing = |field: &str, kind: &str, name: &str| {
        let message = format!("{field}: there is no {kind} {name} in this namespace");
        Wait::new(reasons::REFERENCE_NOT_FOUND, message)
    };
    let caches = &reconciler.caches;
    let cluster = caches
        .clusters
        .get(namespace, &spec.cluster)
        .ok_or_else(|| missing("spec.cluster", "Cluster", &spec.cluster))?;
    let domain = caches
        .domains
        .get(namespace, &cluster.spec.domain)
        .ok_or_else(|| missing("spec.domain of its Cluster", "Domain", &cluster.spec.domain))?;
    let hierarchy = hierarchy(caches, &domain).map_err(ServiceFailure::from)?;
    let mut keys = None;
    let mut credentials = Vec::new();
    if let Some(nats) = &spec.nats {
        let secret = account_secret(&cluster.spec.domain, &nats.account);
        keys = SecretData::find(kube, namespace, &secret).await.map_err(ServiceFailure::from)?;
        for role in &spec.roles {
            let secret = credentials_secret(visit.name(), &role.name);
            let found = SecretData::find(kube, namespace, &secret).await;
            credentials.push(found.map_err(ServiceFailure::from)?);
        }
    }
    let account = spec.nats.as_ref().map(|nats| nats.account.as_str());
    let resolver = Resolver { kube, namespace, domain: Some(&domain), account };
    let checks = resolver.resolve(&spec.checks).await.map_err(ServiceFailure::from)?;
    let told = told(reconciler, visit);
    Ok(Inputs { cluster, domain, hierarchy, keys, credentials, checks, told })
}

/// Only a Machine has the connection over which commands run, so its own visits make them.
fn told(reconciler: &Reconciler, visit: &Visit<'_, Service>) -> BTreeMap<String, Told> {
    let service = visit.object();
    let machines = reconciler.caches.machines.list(visit.namespace());
    let ours = machines.iter().filter(|machine| machine.spec.cluster == service.spec.cluster);
    ours.map(|machine| (machine.name_any(), seen(service, machine))).collect()
}

fn seen(service: &Service, machine: &Machine) -> Told {
    if machine.spec.ssh.is_none() {
        return Told::Nothing("nobody logs in to this machine: it has no spec.ssh");
    }
    let Some(status) = &machine.status else { return Told::Nothing("it was not looked at yet") };
    if !is_true(&status.common.conditions, ConditionType::Reachable) {
        return Told::Nothing("the machine does not answer");
    }
    let name = service.name_any();
    let seen = status.services.iter().find(|seen| seen.name == name);
    match seen.filter(|seen| Some(seen.generation) == service.metadata.generation) {
        Some(seen) => Told::Seen(seen.troubles.clone()),
        None => Told::Nothing("the machine's next visit makes it"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object<K: serde::de::DeserializeOwned>(kind: &str, rest: &Value) -> K {
        let mut object = json!({
            "apiVersion": "cim.dev/v1alpha1", "kind": kind,
            "metadata": {"name": "x", "namespace": "home", "generation": 2},
        });
        for (key, value) in rest.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        serde_json::from_value(object).expect("an object")
    }

    fn told(ssh: bool, reachable: &str, generation: i64) -> Result<usize, &'static str> {
        let service: Service =
            object("Service", &json!({"spec": {"cluster": "core", "roles": []}}));
        let ssh = ssh.then(|| json!({"keySecretRef": {"name": "k"}, "hostKeys": ["k"]}));
        let trouble = json!({"check": 1, "result": "Failing", "message": "exit 3"});
        let machine: Machine = object(
            "Machine",
            &json!({
                "spec": {"cluster": "core", "provider": {"metal": {}}, "ssh": ssh},
                "status": {
                    "services": [{"name": "x", "generation": generation, "troubles": [trouble]}],
                    "conditions": [{"type": "Reachable", "status": reachable, "reason": "R",
                        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                },
            }),
        );
        match seen(&service, &machine) {
            Told::Seen(troubles) => Ok(troubles.len()),
            Told::Nothing(why) => Err(why),
        }
    }

    #[test]
    fn what_a_machine_saw_counts_if_it_is_of_now() {
        assert_eq!(told(true, "True", 2), Ok(1));
        assert!(told(true, "True", 1).is_err_and(|why| why.contains("next visit")));
        assert!(told(true, "False", 2).is_err_and(|why| why.contains("does not answer")));
        assert!(told(false, "True", 2).is_err_and(|why| why.contains("spec.ssh")));
    }
}
