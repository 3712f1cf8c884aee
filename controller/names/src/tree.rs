//! The elements by name, and how a selector finds them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Element, Error, Fqdn, Kind, Member, Selector};

/// How many likely names an error proposes.
const MAX_HINTS: usize = 3;

/// How many keystrokes apart a name may be to be proposed.
const MAX_TYPOS: usize = 2;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    elements: BTreeMap<Fqdn, Element>,
    by_first_label: BTreeMap<String, BTreeSet<Fqdn>>,
}

impl Tree {
    /// Adds an element whose name is free.
    pub(crate) fn insert(&mut self, element: Element) {
        let first = element.name.first_label().to_owned();
        self.by_first_label.entry(first).or_default().insert(element.name.clone());
        self.elements.insert(element.name.clone(), element);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Element> {
        self.elements.get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &Fqdn) -> Option<&mut Element> {
        self.elements.get_mut(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Element> {
        self.elements.values()
    }

    /// Lists every element among its parent's children.
    pub(crate) fn link(&mut self) {
        let mut children: BTreeMap<Fqdn, BTreeSet<(Kind, Fqdn)>> = BTreeMap::new();
        for element in self.elements.values() {
            if let Some(parent) = &element.parent {
                let child = (element.kind, element.name.clone());
                children.entry(parent.clone()).or_default().insert(child);
            }
        }
        for (parent, children) in children {
            if let Some(parent) = self.elements.get_mut(&parent) {
                parent.children = children.into_iter().map(|(_, name)| name).collect();
            }
        }
    }

    /// The children of one kind.
    pub(crate) fn children(&self, parent: &Element, kind: Kind) -> impl Iterator<Item = &Element> {
        parent
            .children
            .iter()
            .filter_map(|name| self.elements.get(name))
            .filter(move |e| e.kind == kind)
    }

    /// The element and all above it, innermost first.
    fn enclosing<'a>(&'a self, scope: &'a Fqdn) -> impl Iterator<Item = &'a Element> + Clone {
        let parent = |element: &&'a Element| self.elements.get(element.parent.as_ref()?);
        std::iter::successors(self.elements.get(scope), parent)
    }

    /// What a selector that stands in `scope` names; `except` is never the answer.
    /// One element for a name, any number for a label.
    pub(crate) fn find(
        &self,
        selector: &Selector,
        scope: &Fqdn,
        except: Option<&Fqdn>,
    ) -> Result<Vec<&Element>, Error> {
        match selector {
            Selector::Label { key, value } => Ok(self.labelled(key, value.as_deref(), scope)),
            Selector::Name { kind, name, absolute } => {
                let fits = |element: &&Element| {
                    kind.is_none_or(|kind| kind == element.kind) && Some(&element.name) != except
                };
                if let Some(element) = self.elements.get(name.as_str()).filter(fits) {
                    return Ok(vec![element]);
                }
                let found = if *absolute { vec![] } else { self.search(name, scope, fits) };
                match found.len() {
                    0 => Err(self.unknown(selector, name, scope)),
                    1 => Ok(found),
                    _ => Err(ambiguous(selector, scope, &found)),
                }
            }
        }
    }

    /// The two passes of a short name; see the crate's documentation.
    fn search(&self, name: &str, scope: &Fqdn, fits: impl Fn(&&Element) -> bool) -> Vec<&Element> {
        let direct = self
            .enclosing(scope)
            .filter_map(|base| self.elements.get(format!("{name}.{}", base.name).as_str()))
            .find(|element| fits(element));
        if let Some(element) = direct {
            return vec![element];
        }
        let begins = |relative: &str| {
            relative.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let first = name.split('.').next().unwrap_or(name);
        let alike: Vec<&Element> = self
            .by_first_label
            .get(first)
            .into_iter()
            .flatten()
            .filter_map(|name| self.elements.get(name))
            .filter(fits)
            .collect();
        self.enclosing(scope)
            .map(|base| {
                let below =
                    |element: &&&Element| element.name.relative_to(&base.name).is_some_and(begins);
                alike.iter().filter(below).copied().collect::<Vec<_>>()
            })
            .find(|candidates| !candidates.is_empty())
            .unwrap_or_default()
    }

    fn labelled(&self, key: &str, value: Option<&str>, scope: &Fqdn) -> Vec<&Element> {
        let cluster = self.enclosing(scope).find(|element| element.kind == Kind::Cluster);
        self.elements
            .values()
            .filter(|element| element.kind == Kind::Machine)
            .filter(|element| cluster.is_none_or(|c| element.parent.as_ref() == Some(&c.name)))
            .filter(|element| {
                element.labels.get(key).is_some_and(|has| value.is_none_or(|want| want == has))
            })
            .collect()
    }

    /// Proposes elements whose own label is spelled like the first one asked for.
    fn unknown(&self, selector: &Selector, name: &str, scope: &Fqdn) -> Error {
        let first = name.split('.').next().unwrap_or(name);
        let mut near: Vec<(usize, &Fqdn)> = self
            .by_first_label
            .iter()
            .filter(|(label, _)| label.len().abs_diff(first.len()) <= MAX_TYPOS)
            .map(|(label, names)| (strsim::osa_distance(label, first), names))
            .filter(|(typos, _)| *typos <= MAX_TYPOS && *typos < first.len())
            .flat_map(|(typos, names)| names.iter().map(move |name| (typos, name)))
            .collect();
        near.sort();
        let likely =
            near.into_iter().take(MAX_HINTS).filter_map(|(_, name)| self.elements.get(name));
        Error::UnknownSelector {
            selector: selector.to_string(),
            scope: scope.clone(),
            near: likely.map(qualified).collect(),
        }
    }

    /// Those on whom an element that is not a role or a service falls: itself, or for a cluster and
    /// the Domain all machines in it.
    pub(crate) fn hosts(&self, element: &Element) -> Vec<Member> {
        match element.kind {
            Kind::Machine | Kind::Interface | Kind::VirtualHost => vec![member(element)],
            Kind::Cluster | Kind::Domain => self
                .elements
                .values()
                .filter(|other| other.kind == Kind::Machine && other.name.is_within(&element.name))
                .map(member)
                .collect(),
            Kind::Service | Kind::Role => vec![],
        }
    }
}

fn ambiguous(selector: &Selector, scope: &Fqdn, found: &[&Element]) -> Error {
    let mut candidates: Vec<_> = found.iter().copied().map(qualified).collect();
    candidates.sort();
    Error::AmbiguousSelector { selector: selector.to_string(), scope: scope.clone(), candidates }
}

fn member(element: &Element) -> Member {
    let machine = if element.kind == Kind::Machine { None } else { element.parent.clone() };
    Member {
        name: element.name.clone(),
        kind: element.kind,
        machine: machine.unwrap_or_else(|| element.name.clone()),
        source: element.source.clone(),
        addresses: element.addresses.clone(),
    }
}

/// The selector that names this element wherever it stands.
pub(crate) fn qualified(element: &Element) -> String {
    format!("{}/{}", element.kind, element.name)
}
