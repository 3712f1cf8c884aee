//! References between resources: the host of a guest, what a service depends on. They give nothing a
//! name, but one that leads nowhere or in a circle can never come true, and only a view of the whole
//! inventory shows it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Error, Problem, Source,
    cycle::shortest_cycle,
    inventory::{Inventory, Machine, Service},
};

pub(crate) fn check(inventory: &Inventory) -> Vec<Problem> {
    let hosts =
        |machine: &Machine| (machine.source.clone(), machine.host.clone().into_iter().collect());
    let needs = |service: &Service| (service.source.clone(), service.depends_on.clone());
    let mut problems = check_all("host", &inventory.machines.iter().map(hosts).collect());
    problems.extend(check_all("dependsOn", &inventory.services.iter().map(needs).collect()));
    problems
}

fn check_all(field: &str, references: &BTreeMap<Source, Vec<Source>>) -> Vec<Problem> {
    let edges: BTreeMap<&Source, BTreeSet<&Source>> =
        references.iter().map(|(from, to)| (from, to.iter().collect())).collect();
    let missing = references.iter().flat_map(|(from, to)| {
        let unknown = to.iter().filter(|wanted| !references.contains_key(wanted));
        unknown.map(move |wanted| (from, Error::NoReference { wanted: wanted.clone() }))
    });
    let circular = references.keys().filter_map(|from| {
        shortest_cycle(&edges, from).map(|path| (from, Error::ReferenceCycle { path }))
    });
    missing
        .chain(circular)
        .map(|(from, error)| Problem {
            source: from.clone(),
            field: field.to_owned(),
            element: None,
            error,
        })
        .collect()
}
