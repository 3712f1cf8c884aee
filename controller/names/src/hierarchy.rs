//! The resolver: names to addresses, addresses to names, names to elements.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::Serialize;

use crate::{
    Element, Error, Fqdn, Kind, Member, Problem, Problems, Role, Selector, Source,
    address::address_of_reverse_name,
    build::build,
    inventory::Inventory,
    reverse_name,
    tree::{Tree, qualified},
    zone::Zones,
};

/// Every element of a Domain that has a usable name, with its addresses.
///
/// Built from an [`Inventory`]; never changes afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    tree: Tree,
    roles: BTreeMap<Fqdn, Role>,
    by_address: BTreeMap<IpAddr, BTreeSet<Fqdn>>,
    pub(crate) zones: Zones,
    problems: Vec<Problem>,
}

/// What a query means: the answer of [`Hierarchy::resolve`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolution<'h> {
    /// The query in canonical spelling.
    pub query: String,
    /// The elements that it names: one for a name, any number for an address or a label.
    pub elements: Vec<&'h Element>,
    /// The machines, interfaces and virtual hosts behind them, by name.
    pub members: Vec<Member>,
    /// The addresses of all members.
    pub addresses: BTreeSet<IpAddr>,
    /// The reverse names of these addresses.
    pub reverse: BTreeSet<Fqdn>,
}

/// An element with all below it, for showing the whole hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node<'h> {
    /// The element.
    #[serde(flatten)]
    pub element: &'h Element,
    /// Its children by kind and name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Node<'h>>,
}

impl Hierarchy {
    /// Builds as much as can be built. What is wrong is left out, or attached to its element, and
    /// listed in [`Hierarchy::problems`]; it harms nothing that does not depend on it.
    pub fn build(inventory: &Inventory) -> Self {
        build(inventory)
    }

    /// Builds all or nothing, and tells everything that is wrong.
    pub fn strict(inventory: &Inventory) -> Result<Self, Problems> {
        let hierarchy = build(inventory);
        if hierarchy.problems.is_empty() {
            Ok(hierarchy)
        } else {
            Err(Problems(hierarchy.problems))
        }
    }

    pub(crate) fn new(
        tree: Tree,
        roles: BTreeMap<Fqdn, Role>,
        zones: Zones,
        problems: Vec<Problem>,
    ) -> Self {
        let mut by_address: BTreeMap<IpAddr, BTreeSet<Fqdn>> = BTreeMap::new();
        for element in tree.iter() {
            for address in &element.addresses {
                by_address.entry(*address).or_default().insert(element.name.clone());
            }
        }
        Self { tree, roles, by_address, zones, problems }
    }

    /// Everything that is wrong, sorted by source, field and error.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What is wrong with one resource.
    pub fn problems_of(&self, source: &Source) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(move |problem| problem.source == *source)
    }

    /// The Domain; `None` when its suffix is no name, and then there are no elements at all.
    pub fn domain(&self) -> Option<&Element> {
        self.tree.iter().find(|element| element.kind == Kind::Domain)
    }

    /// All elements by name.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.tree.iter()
    }

    /// The element with this name.
    pub fn element(&self, name: &Fqdn) -> Option<&Element> {
        self.tree.get(name.as_str())
    }

    /// The children of an element, by kind and name.
    pub fn children(&self, element: &Element) -> impl Iterator<Item = &Element> {
        element.children.iter().filter_map(|name| self.element(name))
    }

    /// The whole hierarchy as a tree; `None` as for [`Hierarchy::domain`].
    pub fn tree(&self) -> Option<Node<'_>> {
        self.domain().map(|domain| self.node(domain))
    }

    fn node<'h>(&'h self, element: &'h Element) -> Node<'h> {
        let children = self.children(element).map(|child| self.node(child)).collect();
        Node { element, children }
    }

    /// All roles by name.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    /// The role with this name.
    pub fn role(&self, name: &Fqdn) -> Option<&Role> {
        self.roles.get(name)
    }

    /// The names of an address: of its interface or virtual host, of that machine if this is its
    /// primary interface, of the roles and services that it belongs to.
    pub fn names_of(&self, address: IpAddr) -> impl Iterator<Item = &Fqdn> {
        self.by_address.get(&address).into_iter().flatten()
    }

    /// Every address that has a name.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.by_address.keys().copied()
    }

    /// The apexes of the managed zones.
    pub fn zones(&self) -> impl Iterator<Item = &Fqdn> {
        self.zones.names()
    }

    /// The managed zone that a name belongs to: the longest suffix on a label boundary.
    pub fn zone_of(&self, name: &Fqdn) -> Option<&Fqdn> {
        self.zones.of(name).map(|(zone, _)| zone)
    }

    /// The name without the Domain's suffix, as people call the element: `host1.core`. The Domain
    /// itself keeps its name.
    pub fn short_name<'n>(&self, name: &'n Fqdn) -> &'n str {
        self.domain()
            .and_then(|domain| name.relative_to(&domain.name))
            .filter(|short| !short.is_empty())
            .unwrap_or_else(|| name.as_str())
    }

    /// The elements that a selector names where it stands in `scope`: one for a name, any number
    /// for a label.
    pub fn find(&self, selector: &Selector, scope: &Fqdn) -> Result<Vec<&Element>, Error> {
        self.tree.find(selector, scope, None)
    }

    /// The machines, interfaces and virtual hosts behind an element, by name: itself; of a role its
    /// members; of a service those of its roles; of a cluster and the Domain all their machines.
    ///
    /// Empty for a role that is not placed; [`Role::members`] has what was found.
    pub fn members(&self, element: &Element) -> Vec<Member> {
        let placed = |role: &Element| {
            self.role(&role.name)
                .filter(|role| role.placed)
                .map(|role| role.members.clone())
                .unwrap_or_default()
        };
        let members: BTreeMap<Fqdn, Member> = match element.kind {
            Kind::Role => placed(element),
            Kind::Service => self.children(element).flat_map(placed).collect(),
            _ => return self.tree.hosts(element),
        };
        members.into_values().collect()
    }

    /// Answers whatever somebody asks: an address, a name of the reverse tree, or a selector in
    /// `scope`.
    pub fn resolve(&self, query: &str, scope: &Fqdn) -> Result<Resolution<'_>, Error> {
        let reverse = || address_of_reverse_name(&Fqdn::parse(query).ok()?);
        if let Some(address) = query.parse::<IpAddr>().ok().or_else(reverse) {
            return Ok(self.resolution(address.to_string(), self.elements_with(address)));
        }
        let selector: Selector = query.parse()?;
        let elements = self.find(&selector, scope)?;
        Ok(self.resolution(selector.to_string(), elements))
    }

    fn elements_with(&self, address: IpAddr) -> Vec<&Element> {
        let mut elements: Vec<_> =
            self.names_of(address).filter_map(|name| self.element(name)).collect();
        // The thing itself first, then what it belongs to.
        elements.sort_by_key(|element| (std::cmp::Reverse(element.kind), &element.name));
        elements
    }

    fn resolution<'h>(&'h self, query: String, elements: Vec<&'h Element>) -> Resolution<'h> {
        let members: BTreeMap<Fqdn, Member> = elements
            .iter()
            .flat_map(|element| self.members(element))
            .map(|member| (member.name.clone(), member))
            .collect();
        let addresses: BTreeSet<IpAddr> =
            members.values().flat_map(|member| &member.addresses).copied().collect();
        let reverse = addresses.iter().copied().map(reverse_name).collect();
        Resolution { query, elements, members: members.into_values().collect(), addresses, reverse }
    }

    /// The selector that names an element from everywhere: `machine/host1.core.example.com`.
    pub fn qualified(&self, element: &Element) -> String {
        qualified(element)
    }
}
