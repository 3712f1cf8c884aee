//! `tree`: the hierarchy, each element with its state.

use std::{collections::BTreeMap, net::IpAddr};

use cim_crds::{Cluster, Domain, Machine, Service, names::source};
use cim_names::{Fqdn, Hierarchy, Node, Problem, Source};
use kube::ResourceExt;
use serde::Serialize;

use super::{in_manifest, nothing, unreadable};
use crate::{
    access::Access,
    error::Error,
    kinds::KindArg,
    output::{Report, cut},
    state::{Object, Phase},
    style::Tone,
    table::{Cell, Table},
    world::World,
};

/// How much of a message a table shows.
const MAX_DETAIL: usize = 72;

/// Everything that has a name, and what has none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Forest {
    /// One tree per Domain.
    domains: Vec<Tree>,
    /// Objects whose references lead to no Domain.
    strays: Vec<Stray>,
    /// ObjectReplicas, which have no name in the hierarchy.
    object_replicas: Vec<Object>,
    #[serde(skip)]
    remarks: Vec<String>,
}

/// One Domain.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tree {
    namespace: String,
    /// Absent when the suffix is no name; then `problems` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<Branch>,
    problems: Vec<Problem>,
}

/// An element with its state and all below it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Branch {
    kind: cim_names::Kind,
    name: Fqdn,
    /// The name without that of the parent.
    label: String,
    /// The state of the resource, for an element that is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<Object>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<IpAddr>,
    /// Whether the addresses are all.
    settled: bool,
    /// What else there is to say in a few words.
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<Branch>,
}

/// An object that belongs nowhere.
#[derive(Debug, Serialize)]
struct Stray {
    source: Source,
    why: String,
}

/// The states of the resources, with what their kind alone has to say.
type States = BTreeMap<Source, (Object, String)>;

pub(crate) async fn run(access: &Access) -> Result<Forest, Error> {
    let world = World::fetch(access, &KindArg::ALL).await?;
    let mut forest = forest(&world);
    forest.remarks = unreadable(&world);
    if forest.is_empty() {
        forest.remarks.push(nothing(access));
    }
    Ok(forest)
}

fn forest(world: &World) -> Forest {
    let states = states(world);
    let domains = world.domains.iter().map(|domain| tree(world, domain, &states)).collect();
    let strays = world.strays().into_iter().map(|(source, why)| Stray { source, why }).collect();
    let object_replicas = world.replicas.iter().map(Object::of).collect();
    Forest { domains, strays, object_replicas, remarks: vec![] }
}

fn tree(world: &World, domain: &Domain, states: &States) -> Tree {
    let hierarchy = world.hierarchy(domain);
    Tree {
        namespace: domain.namespace().unwrap_or_default(),
        root: hierarchy.tree().map(|root| branch(&hierarchy, &root, states)),
        problems: hierarchy.problems().iter().map(in_manifest).collect(),
    }
}

fn branch(hierarchy: &Hierarchy, node: &Node<'_>, states: &States) -> Branch {
    use cim_names::Kind;
    let element = node.element;
    let is_resource =
        matches!(element.kind, Kind::Domain | Kind::Cluster | Kind::Service | Kind::Machine);
    let state = states.get(&element.source).filter(|_| is_resource);
    let of_role = hierarchy.role(&element.name).map(|role| match (role.placed, role.count()) {
        (false, _) => "not placed".to_owned(),
        (true, 1) => "1 member".to_owned(),
        (true, n) => format!("{n} members"),
    });
    let parent = element.parent.as_ref().and_then(|parent| element.name.relative_to(parent));
    Branch {
        kind: element.kind,
        name: element.name.clone(),
        label: parent.unwrap_or(element.name.as_str()).to_owned(),
        object: state.map(|(object, _)| object.clone()),
        addresses: element.addresses.iter().copied().collect(),
        settled: element.settled,
        detail: of_role.or(state.map(|(_, detail)| detail.clone())).unwrap_or_default(),
        children: node.children.iter().map(|child| branch(hierarchy, child, states)).collect(),
    }
}

fn states(world: &World) -> States {
    let domains = world.domains.iter().map(|d| (source(d), (Object::of(d), String::new())));
    let clusters = world.clusters.iter().map(|c| (source(c), (Object::of(c), cluster_detail(c))));
    let machines = world.machines.iter().map(|m| (source(m), (Object::of(m), machine_detail(m))));
    let services = world.services.iter().map(|s| (source(s), (Object::of(s), service_detail(s))));
    domains.chain(clusters).chain(machines).chain(services).collect()
}

fn cluster_detail(cluster: &Cluster) -> String {
    let Some(status) = &cluster.status else { return String::new() };
    let release = status.release.as_ref().map(|release| format!("at {}", release.short_rev));
    let counts = status.machine_count.iter().map(|count| format!("{count} machines"));
    let services = status.service_count.iter().map(|count| format!("{count} services"));
    counts.chain(services).chain(release).collect::<Vec<_>>().join(", ")
}

fn machine_detail(machine: &Machine) -> String {
    let Some(status) = &machine.status else { return String::new() };
    let state = status.state.map(|state| format!("{state:?}"));
    let target = status.target.as_ref().map(|target| target.short_rev.clone());
    state.into_iter().chain(target).collect::<Vec<_>>().join(" ")
}

fn service_detail(service: &Service) -> String {
    let count = service.status.as_ref().and_then(|status| status.machine_count.as_ref());
    count.map(|count| format!("{count} machines")).unwrap_or_default()
}

impl Forest {
    fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.strays.is_empty() && self.object_replicas.is_empty()
    }
}

impl Report for Forest {
    fn table(&self, colour: bool) -> String {
        let mut sections: Vec<String> = Vec::new();
        let namespaces = self.domains.iter().map(|tree| &tree.namespace);
        let several = namespaces.clone().min() != namespaces.max();
        for tree in &self.domains {
            let mut section = String::new();
            if several {
                let title = format!("namespace {}\n", tree.namespace);
                section.push_str(&Tone::Faint.paint(&title, colour));
            }
            if let Some(root) = &tree.root {
                let mut table =
                    Table::new(["NAME", "KIND", "STATE", "DRIFT", "ADDRESSES", "DETAIL"]);
                grow(&mut table, root, "", "");
                section.push_str(&table.render(colour));
            }
            sections.push(section);
            let problems: Vec<_> = tree.problems.iter().map(ToString::to_string).collect();
            sections.extend(list("Problems with names:", &problems, colour));
        }
        sections.extend(self.replicas_section(colour));
        let strays: Vec<_> =
            self.strays.iter().map(|stray| format!("{}: {}", stray.source, stray.why)).collect();
        sections.extend(list("In no Domain:", &strays, colour));
        sections.retain(|section| !section.is_empty());
        sections.join("\n")
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }
}

impl Forest {
    fn replicas_section(&self, colour: bool) -> Option<String> {
        if self.object_replicas.is_empty() {
            return None;
        }
        let mut table = Table::new(["OBJECT REPLICA", "STATE", "DRIFT", "DETAIL"]);
        for object in &self.object_replicas {
            let name = format!("{}/{}", object.namespace, object.name);
            let [state, drift] = state_cells(Some(object));
            table.push([name.into(), state, drift, detail(Some(object), "")]);
        }
        Some(table.render(colour))
    }
}

fn list(title: &str, lines: &[String], colour: bool) -> Option<String> {
    if lines.is_empty() {
        return None;
    }
    let mut section = Tone::Bad.paint(title, colour) + "\n";
    for line in lines {
        section.extend(["  ", Cell::from(line).plain(), "\n"]);
    }
    Some(section)
}

/// Adds a row for an element, and below it those of its children.
fn grow(table: &mut Table<6>, branch: &Branch, own: &str, below: &str) {
    let object = branch.object.as_ref();
    let addresses: Vec<_> = branch.addresses.iter().map(ToString::to_string).collect();
    let settled = if branch.settled { Tone::Plain } else { Tone::Doubtful };
    let [state, drift] = state_cells(object);
    table.push([
        Cell::branch(own, &branch.label),
        Cell::toned(&branch.kind, Tone::Faint),
        state,
        drift,
        Cell::toned(&addresses.join(", "), settled),
        detail(object, &branch.detail),
    ]);
    for (index, child) in branch.children.iter().enumerate() {
        let last = index + 1 == branch.children.len();
        let (tip, rest) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        grow(table, child, &format!("{below}{tip}"), &format!("{below}{rest}"));
    }
}

fn state_cells(object: Option<&Object>) -> [Cell; 2] {
    let Some(object) = object else { return [Cell::default(), Cell::default()] };
    let drift = match object.drift_count() {
        None => Cell::toned("?", Tone::Doubtful),
        Some(0) => Cell::toned("-", Tone::Faint),
        Some(count) => Cell::toned(&count, Tone::Bad),
    };
    [Cell::toned(&object.state.phase, object.state.phase.tone()), drift]
}

/// What the kind has to say; before it, what is wrong.
fn detail(object: Option<&Object>, of_kind: &str) -> Cell {
    let state = object.map(|object| &object.state).filter(|state| state.phase != Phase::Ready);
    let wrong = state.map(|state| {
        if state.message.is_empty() { state.reason.clone() } else { state.message.clone() }
    });
    let parts: Vec<_> =
        wrong.iter().map(String::as_str).chain([of_kind]).filter(|part| !part.is_empty()).collect();
    cut(&parts.join("; "), MAX_DETAIL).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_hierarchy_with_its_states() {
        insta::assert_snapshot!(forest(&fixtures::world()).table(false));
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let forest = forest(&fixtures::world());
        let coloured = forest.table(true);
        assert_ne!(coloured, forest.table(false));
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            plain.push_str(before);
            rest = after.split_once('m').map_or("", |(_, rest)| rest);
        }
        assert_eq!(plain + rest, forest.table(false));
    }

    #[test]
    fn the_json_form_is_stable() {
        insta::assert_yaml_snapshot!(forest(&fixtures::world()));
    }

    #[test]
    fn an_empty_world_is_an_empty_text() {
        let forest = forest(&World::default());
        assert!(forest.is_empty());
        assert_eq!(forest.table(false), "");
    }
}
