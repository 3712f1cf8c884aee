//! What a Service should be, in the capability crates' own types.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cim_crds::cluster::rollout_status::RolloutPhase;
use cim_crds::{Cluster, Service, names};
use cim_names::{Fqdn, Hierarchy, Kind, Problem};

use kube::ResourceExt;

use super::ServiceFailure;
use super::gather::{Inputs, Told};
use super::nats::{NatsWanted, nats_wanted};
use crate::checks::Check;

/// What a Service should be.
pub struct Desired {
    pub(super) fqdn: Option<Fqdn>,
    /// Each role of the spec, in its order.
    pub(super) roles: Vec<Placement>,
    /// What is wrong with its names.
    pub(super) problems: Vec<String>,
    /// The kind of the first problem.
    pub(super) reason: Option<&'static str>,
    pub(super) nats: Option<NatsWanted>,
    /// For each machine (name of the object) of its roles: where it is reached.
    pub(super) machines: BTreeMap<String, Option<IpAddr>>,
    /// What must hold, in the order of the spec.
    pub(super) checks: Vec<Check>,
    /// By machine: what its own visits saw of them.
    pub(super) told: BTreeMap<String, Told>,
    /// How many machines may be unavailable.
    pub(super) may_lack: usize,
    /// Why its public endpoints may not be published, apart from its own checks.
    pub(super) unsettled: Option<String>,
}

/// Where a role is.
pub(super) struct Placement {
    pub(super) name: String,
    /// Names of the Machine objects.
    pub(super) machines: BTreeSet<String>,
    pub(super) addresses: BTreeSet<IpAddr>,
    pub(super) error: Option<String>,
}

pub(super) fn validate(service: &Service, inputs: Inputs) -> Result<Desired, ServiceFailure> {
    let hierarchy = &inputs.hierarchy;
    let source = names::source(service);
    let ours = |kind: Kind| {
        let source = &source;
        hierarchy
            .elements()
            .filter(move |element| element.kind == kind && element.source == *source)
    };
    let fqdn = ours(Kind::Service).map(|element| element.name.clone()).next();
    let problems: Vec<&Problem> = hierarchy.problems_of(&source).collect();
    let mut machines = BTreeMap::new();
    let roles = service
        .spec
        .roles
        .iter()
        .enumerate()
        .map(|(index, role)| {
            let name = fqdn.as_ref().and_then(|fqdn| child(hierarchy, fqdn, &role.name));
            place(hierarchy, name.as_ref(), index, &role.name, &problems, &mut machines)
        })
        .collect();
    let nats = match &service.spec.nats {
        Some(nats) => Some(nats_wanted(service, nats, &inputs)?),
        None => None,
    };
    let max_unavailable = inputs.cluster.spec.rollout.max_unavailable;
    Ok(Desired {
        fqdn,
        roles,
        reason: problems.first().map(|problem| problem.error.reason()),
        problems: problems.into_iter().map(told).collect(),
        nats,
        machines,
        checks: inputs.checks,
        told: inputs.told,
        may_lack: usize::try_from(max_unavailable).unwrap_or(usize::MAX),
        unsettled: unsettled(&inputs.cluster),
    })
}

/// What was not seen to work with the release is not shown to the public.
fn unsettled(cluster: &Cluster) -> Option<String> {
    let status = cluster.status.as_ref();
    let rolled_out = status.and_then(|status| status.rollout.as_ref());
    let complete = rolled_out.is_some_and(|rollout| rollout.phase == RolloutPhase::Complete);
    let delivers = cluster.spec.source.is_some() || cluster.spec.promotion.is_some();
    (delivers && !complete)
        .then(|| format!("Cluster {} does not run its release everywhere yet", cluster.name_any()))
}

fn told(problem: &Problem) -> String {
    format!("{}: {}", names::spec_path(&problem.field), problem.error)
}

fn child(hierarchy: &Hierarchy, service: &Fqdn, role: &str) -> Option<Fqdn> {
    let service = hierarchy.element(service)?;
    let label = format!("{role}.{}", service.name);
    hierarchy
        .children(service)
        .find(|child| child.name.as_str() == label)
        .map(|child| child.name.clone())
}

fn place(
    hierarchy: &Hierarchy,
    name: Option<&Fqdn>,
    index: usize,
    role: &str,
    problems: &[&Problem],
    machines: &mut BTreeMap<String, Option<IpAddr>>,
) -> Placement {
    let field = format!("roles[{index}]");
    let of_role = problems.iter().filter(|problem| {
        problem.field == field || problem.field.starts_with(&format!("{field}."))
    });
    let error: Vec<String> = of_role.map(|problem| told(problem)).collect();
    let mut placement = Placement {
        name: role.to_owned(),
        machines: BTreeSet::new(),
        addresses: BTreeSet::new(),
        error: (!error.is_empty()).then(|| error.join("; ")),
    };
    let Some(found) = name.and_then(|name| hierarchy.role(name)) else { return placement };
    for member in found.members.values() {
        let machine = member.source.as_str().rsplit('/').next().unwrap_or_default().to_owned();
        let reached = machines.entry(machine.clone()).or_default();
        *reached = reached.or_else(|| member.addresses.first().copied());
        placement.machines.insert(machine);
        placement.addresses.extend(&member.addresses);
    }
    placement
}
