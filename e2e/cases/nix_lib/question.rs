//! Generated hierarchies with questions about them, and the answers of `cim-names`, in the form in
//! which `e2e/fixtures/nix-lib/compare.nix` writes down those of the Nix library.

use std::{collections::BTreeMap, net::IpAddr};

use cim_names::{
    Error, Fqdn, Hierarchy, Inventory, Member, Selector, reverse_name,
    testkit::{messy, selector, sound},
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An inventory, and what is asked about it.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) inventory: Inventory,
    queries: Vec<(Query, Index)>,
}

#[derive(Clone, Debug)]
enum Query {
    Written(String),
    Address(IpAddr),
    ReverseOf(IpAddr),
    /// The first labels of an element's name, so many of them.
    Element(Index, usize),
}

/// Questions about inventories, sound ones and, more often, others.
pub(super) fn questions() -> impl Strategy<Value = Question> {
    let inventory = prop_oneof![4 => messy().boxed(), 1 => sound().boxed()];
    (inventory, vec((query(), any::<Index>()), 6..12))
        .prop_map(|(inventory, queries)| Question { inventory, queries })
}

fn query() -> impl Strategy<Value = Query> {
    let address = prop_oneof![
        3 => (1..30_u8).prop_map(|n| IpAddr::from([10, 0, 0, n])),
        1 => (1..8_u16).prop_map(|n| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n])),
    ];
    let odd =
        select(vec!["", ".", "::", "1.2.3", "label/", "label/=x", "host/vm1", "a..b", "::1%lo"]);
    prop_oneof![
        6 => selector().prop_map(Query::Written),
        6 => (any::<Index>(), 1..4_usize).prop_map(|(index, labels)| Query::Element(index, labels)),
        1 => address.clone().prop_map(Query::Address),
        1 => address.prop_map(Query::ReverseOf),
        1 => odd.prop_map(|text| Query::Written(text.to_owned())),
    ]
}

impl Question {
    /// What both sides are asked: the inventory in its canonical form, and each query with its scope.
    pub(super) fn to_json(&self) -> Value {
        let hierarchy = Hierarchy::build(&self.inventory);
        let queries: Vec<_> = self
            .written(&hierarchy)
            .into_iter()
            .map(|(query, scope)| json!({"query": query, "scope": scope}))
            .collect();
        let inventory: Value =
            serde_json::from_str(&self.inventory.canonical_json()).unwrap_or_default();
        json!({"inventory": inventory, "queries": queries})
    }

    /// The answers of `cim-names`.
    pub(super) fn answers(&self) -> Value {
        let hierarchy = Hierarchy::build(&self.inventory);
        let elements: BTreeMap<_, _> = hierarchy
            .elements()
            .map(|element| {
                let value = json!({
                    "kind": element.kind.prefix(), "parent": element.parent,
                    "source": element.source, "addresses": element.addresses,
                    "settled": element.settled, "labels": element.labels,
                    "children": element.children,
                });
                (element.name.as_str(), value)
            })
            .collect();
        let addresses: BTreeMap<_, Vec<_>> = hierarchy
            .addresses()
            .map(|address| (address, hierarchy.names_of(address).collect()))
            .collect();
        let roles: BTreeMap<_, _> = hierarchy
            .roles()
            .map(|role| {
                let members = members(role.members.values());
                let value = json!({"placed": role.placed, "ports": role.ports, "members": members});
                (role.name.as_str(), value)
            })
            .collect();
        let answers: Vec<_> = self
            .written(&hierarchy)
            .into_iter()
            .map(|(query, scope)| answer(&hierarchy, &query, &scope))
            .collect();
        json!({
            "hash": hex(&Sha256::digest(self.inventory.canonical_json())),
            "elements": elements, "addresses": addresses, "roles": roles,
            "zones": hierarchy.zones().collect::<Vec<_>>(),
            "problems": problems(&hierarchy), "answers": answers,
        })
    }

    fn written(&self, hierarchy: &Hierarchy) -> Vec<(String, Fqdn)> {
        let elements: Vec<_> = hierarchy.elements().collect();
        // Where nothing has a name, a scope that is no element.
        let Ok(nowhere) = Fqdn::parse("nowhere.example") else { return vec![] };
        let pick = |index: &Index| match elements.as_slice() {
            [] => &nowhere,
            some => &index.get(some).name,
        };
        let text = |query: &Query| match query {
            // Names of other scripts are asked for as canonical spelling writes them.
            Query::Written(text) => {
                text.parse::<Selector>().map_or_else(|_| text.clone(), |known| known.to_string())
            }
            Query::Address(address) => address.to_string(),
            Query::ReverseOf(address) => reverse_name(*address).to_string(),
            Query::Element(index, labels) => {
                pick(index).labels().take(*labels).collect::<Vec<_>>().join(".")
            }
        };
        self.queries.iter().map(|(query, scope)| (text(query), pick(scope).clone())).collect()
    }
}

fn answer(hierarchy: &Hierarchy, query: &str, scope: &Fqdn) -> Value {
    match hierarchy.resolve(query, scope) {
        Ok(found) => json!({
            "query": found.query,
            "elements": found.elements.iter().map(|element| &element.name).collect::<Vec<_>>(),
            "members": members(found.members.iter()),
            "addresses": found.addresses, "reverse": found.reverse,
        }),
        Err(error) => {
            let candidates = match &error {
                Error::AmbiguousSelector { candidates, .. } => Some(candidates),
                _ => None,
            };
            json!({"reason": error.reason(), "candidates": candidates})
        }
    }
}

fn members<'m>(members: impl Iterator<Item = &'m Member>) -> BTreeMap<&'m str, Value> {
    members
        .map(|member| {
            let value = json!({
                "kind": member.kind.prefix(), "machine": member.machine,
                "addresses": member.addresses,
            });
            (member.name.as_str(), value)
        })
        .collect()
}

/// As the library sorts them, and without proposals of what may have been meant, which it does not
/// make.
fn problems(hierarchy: &Hierarchy) -> Vec<Value> {
    let mut problems: Vec<_> = hierarchy
        .problems()
        .iter()
        .map(|problem| {
            let message = problem.error.to_string();
            let message = message.split("; did you mean").next().unwrap_or_default().to_owned();
            (problem.source.as_str(), &problem.field, problem.error.reason(), message, problem)
        })
        .collect();
    problems.sort();
    problems
        .into_iter()
        .map(|(source, field, reason, message, problem)| {
            json!({
                "source": source, "field": field, "reason": reason, "message": message,
                "element": problem.element.as_ref().map(|(_, name)| name),
            })
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
