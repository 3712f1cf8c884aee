//! Generated hierarchies with questions about them, and the answers of `cim-names`, in the form in
//! which `e2e/fixtures/nix-lib/compare.nix` writes down those of the Nix library.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use cim_names::{
    Error, Fqdn, Hierarchy, Inventory, Label, Member, Selector, host_address, reverse_name,
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
    /// As somebody may write the address of a host.
    hosts: Vec<String>,
    /// As somebody may write a label.
    labels: Vec<String>,
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
    (inventory, vec((query(), any::<Index>()), 6..12), vec(host(), 4..8), vec(label(), 1..3))
        .prop_map(|(inventory, queries, hosts, labels)| Question {
            inventory,
            queries,
            hosts,
            labels,
        })
}

/// Addresses of every sort, many of them at an edge, with and without a prefix length.
fn host() -> impl Strategy<Value = String> {
    let octet =
        prop_oneof![select(vec![0, 1, 10, 127, 169, 192, 224, 239, 240, 254, 255]), any::<u8>()];
    let v4 =
        prop::array::uniform4(octet).prop_map(|octets| octets.map(|o| o.to_string()).join("."));
    let group = prop_oneof![
        4 => Just(0_u16),
        2 => select(vec![1, 0xfe80, 0xfebf, 0xfec0, 0xff02, 0xffff, 0x2001, 0xfd00]),
        1 => any::<u16>(),
    ];
    let v6 = (prop::array::uniform8(group), any::<bool>()).prop_map(|(groups, long)| {
        if long {
            groups.map(|group| format!("{group:04X}")).join(":")
        } else {
            Ipv6Addr::from(groups).to_string()
        }
    });
    let odd = select(vec![
        "",
        ":",
        "::",
        ":::",
        "1::2::3",
        "::1.2.3.4",
        "1.2.3.4::",
        "1:2:3:4:5:6:1.2.3.4",
        "1:2:3:4:5:6:7::",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:1.2.3.4",
        "12345::",
        "::g",
        "1.2.3",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.256",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        " 10.0.0.1",
        "10.0.0.1 ",
        "0x0a.0.0.1",
    ]);
    let length = prop_oneof![
        2 => Just(String::new()),
        6 => (0..34_u8).prop_map(|n| format!("/{n}")),
        2 => (30..131_u8).prop_map(|n| format!("/{n}")),
        1 => select(vec!["/", "/+8", "/08", "/x", "/8/8"]).prop_map(str::to_owned),
    ];
    let address = prop_oneof![3 => v4, 3 => v6, 1 => odd.prop_map(str::to_owned)];
    (address, length).prop_map(|(address, length)| address + &length)
}

/// ASCII only: what other scripts mean, the controller says.
fn label() -> impl Strategy<Value = String> {
    let odd = select(vec![
        "",
        "-",
        "a-",
        "-a",
        "A",
        "3com",
        "a_b",
        "a.b",
        "ab--c",
        "xn--",
        "xn--a",
        "xn--bcher-kva",
        "XN--BCHER-KVA",
        "xn--mnchen-3ya",
        "xn--zzzzzz",
        "xn--nxasmq6b",
        "xn--a-",
        "xn--99999999999",
        "xn---",
        "x\tb",
        "a b",
    ]);
    prop_oneof![odd.prop_map(str::to_owned), (60..66_usize).prop_map(|length| "a".repeat(length)),]
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
        json!({
            "inventory": inventory, "queries": queries, "hosts": self.hosts, "labels": self.labels,
        })
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
            "hosts": self.hosts.iter().map(|host| text(host_address(host))).collect::<Vec<_>>(),
            "labels": self.labels.iter().map(|label| text(Label::parse(label))).collect::<Vec<_>>(),
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

/// What was read, or why it could not be.
fn text(read: Result<impl ToString, Error>) -> String {
    read.map_or_else(|why| why.to_string(), |value| value.to_string())
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

/// As the library sorts them.
fn problems(hierarchy: &Hierarchy) -> Vec<Value> {
    let mut problems: Vec<_> = hierarchy
        .problems()
        .iter()
        .map(|problem| {
            let message = problem.error.to_string();
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
