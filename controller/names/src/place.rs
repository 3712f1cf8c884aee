//! Placing roles: from selectors to members.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    Element, Error, Fqdn, Kind, Member, Problem, Role, Selector, Source, cycle::shortest_cycle,
    inventory, tree::Tree,
};

/// A role that has a name, and no members yet.
#[derive(Debug)]
pub(crate) struct Unplaced<'a> {
    pub(crate) name: Fqdn,
    pub(crate) service: Fqdn,
    pub(crate) source: &'a Source,
    /// Where it stands in its service, such as `roles[0]`.
    pub(crate) field: String,
    pub(crate) role: &'a inventory::Role,
    /// Those of its ports that have a usable name.
    pub(crate) ports: Vec<inventory::Port>,
}

/// What the selectors of one role name.
#[derive(Default)]
struct Targets<'t> {
    hosts: Vec<&'t Element>,
    roles: BTreeSet<&'t Fqdn>,
    /// Whether something went wrong, so that the members would not be all.
    broken: bool,
}

/// Places every role, or says why not.
pub(crate) fn place(
    tree: &Tree,
    unplaced: &[Unplaced<'_>],
) -> (BTreeMap<Fqdn, Role>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut targets: BTreeMap<&Fqdn, Targets<'_>> = unplaced
        .iter()
        .map(|role| (&role.name, resolve_selectors(tree, role, &mut problems)))
        .collect();

    let selects: BTreeMap<&Fqdn, BTreeSet<&Fqdn>> =
        targets.iter().map(|(name, targets)| (*name, targets.roles.clone())).collect();
    for role in unplaced {
        if let Some(path) = shortest_cycle(&selects, &role.name) {
            problems.push(role.problem("selectors", Error::SelectorCycle { path }));
            if let Some(targets) = targets.get_mut(&role.name) {
                // Breaks the cycle, so that the loop below ends.
                targets.roles.clear();
                targets.broken = true;
            }
        }
    }

    let mut placed: BTreeMap<Fqdn, Role> = BTreeMap::new();
    let mut waiting: VecDeque<&Unplaced<'_>> = unplaced.iter().collect();
    // Without cycles each pass over the queue places at least one role.
    while let Some(role) = waiting.pop_front() {
        let Some(targets) = targets.get(&role.name) else { continue };
        if targets.roles.iter().all(|other| placed.contains_key(*other)) {
            let done = gather(tree, role, targets, &placed, &mut problems);
            placed.insert(role.name.clone(), done);
        } else {
            waiting.push_back(role);
        }
    }
    (placed, problems)
}

impl Unplaced<'_> {
    fn problem(&self, part: &str, error: Error) -> Problem {
        Problem {
            source: self.source.clone(),
            field: format!("{}.{part}", self.field),
            element: Some((Kind::Role, self.name.clone())),
            error,
        }
    }
}

/// Selectors stand in the role's service, so that a role may share its name with a machine and
/// still be placed on it; for the same reason a role never means itself.
fn resolve_selectors<'t>(
    tree: &'t Tree,
    role: &Unplaced<'_>,
    problems: &mut Vec<Problem>,
) -> Targets<'t> {
    let mut targets = Targets::default();
    for (index, written) in role.role.selectors.iter().enumerate() {
        let found = written
            .parse::<Selector>()
            .and_then(|selector| tree.find(&selector, &role.service, Some(&role.name)));
        let outcome = match found {
            Ok(elements) => elements.into_iter().try_for_each(|element| targets.add(tree, element)),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            targets.broken = true;
            problems.push(role.problem(&format!("selectors[{index}]"), error));
        }
    }
    targets
}

impl<'t> Targets<'t> {
    fn add(&mut self, tree: &'t Tree, element: &'t Element) -> Result<(), Error> {
        match element.kind {
            Kind::Role => _ = self.roles.insert(&element.name),
            Kind::Service => {
                self.roles.extend(tree.children(element, Kind::Role).map(|role| &role.name));
                // One of its roles got no name and is missing from the union.
                if !element.settled {
                    return Err(Error::BrokenTarget { name: element.name.clone() });
                }
            }
            _ => self.hosts.push(element),
        }
        Ok(())
    }
}

/// Collects the members of a role whose selected roles are all placed, and counts them.
fn gather(
    tree: &Tree,
    role: &Unplaced<'_>,
    targets: &Targets<'_>,
    placed: &BTreeMap<Fqdn, Role>,
    problems: &mut Vec<Problem>,
) -> Role {
    let by_name = |member: Member| (member.name.clone(), member);
    let mut members: BTreeMap<Fqdn, Member> =
        targets.hosts.iter().flat_map(|element| tree.hosts(element)).map(by_name).collect();
    let mut fine = !targets.broken;
    for other in targets.roles.iter().filter_map(|name| placed.get(*name)) {
        members.extend(other.members.clone());
        if !other.placed {
            let error = Error::BrokenTarget { name: other.name.clone() };
            problems.push(role.problem("selectors", error));
            fine = false;
        }
    }
    let mut result = Role {
        name: role.name.clone(),
        service: role.service.clone(),
        source: role.source.clone(),
        placed: fine,
        members,
        cardinality: role.role.cardinality,
        ports: role.ports.clone(),
    };
    // Counting what is known to be incomplete would only blame the wrong field.
    if fine && let Some(error) = miscounted(&result) {
        problems.push(role.problem("cardinality", error));
        result.placed = false;
    }
    result
}

fn miscounted(role: &Role) -> Option<Error> {
    let inventory::Cardinality { min, max } = role.cardinality;
    let got = role.count();
    let at_most = |max: u32| usize::try_from(max).unwrap_or(usize::MAX);
    match max {
        Some(max) if max < min => Some(Error::BadCardinality { min, max }),
        _ if got < at_most(min) || max.is_some_and(|max| got > at_most(max)) => {
            Some(Error::Cardinality {
                role: role.name.clone(),
                min,
                max,
                got,
                members: role.members.keys().map(ToString::to_string).collect(),
            })
        }
        _ => None,
    }
}
