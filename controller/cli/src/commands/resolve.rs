//! `resolve`: what a name, an address or a selector means.

use std::{collections::BTreeSet, net::IpAddr};

use cim_names::{Element, Fqdn, Hierarchy, Member, Resolution};
use kube::ResourceExt;
use serde::Serialize;

use super::{problem, unreadable};
use crate::{
    access::Access,
    error::Error,
    kinds::KindArg,
    output::Report,
    style::Tone,
    table::{Cell, Table},
    world::World,
};

/// The answers of all Domains that have one.
#[derive(Debug, Serialize)]
pub(crate) struct Answers {
    answers: Vec<Answer>,
    #[serde(skip)]
    remarks: Vec<String>,
}

/// The answer of one Domain.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// Where the Domain is.
    namespace: String,
    /// Its suffix.
    domain: Fqdn,
    /// The query in canonical spelling.
    query: String,
    /// What it names.
    elements: Vec<Element>,
    /// The machines, interfaces and virtual hosts behind that.
    members: Vec<Member>,
    /// Their addresses.
    addresses: Vec<IpAddr>,
    /// The names of these addresses in the reverse tree.
    reverse: Vec<Fqdn>,
}

pub(crate) async fn run(
    access: &Access,
    query: &str,
    from: Option<&str>,
) -> Result<Answers, Error> {
    let named = [KindArg::Domain, KindArg::Cluster, KindArg::Machine, KindArg::Service];
    let world = World::fetch(access, &named).await?;
    let mut answers = resolve(&world, query, from, &access.place())?;
    answers.remarks.splice(0..0, unreadable(&world));
    Ok(answers)
}

/// Asks every Domain. One that knows nothing does not matter when another knows.
fn resolve(world: &World, query: &str, from: Option<&str>, place: &str) -> Result<Answers, Error> {
    let (mut answers, mut remarks, mut asked, mut refused) = (vec![], vec![], vec![], None);
    for domain in &world.domains {
        let hierarchy = world.hierarchy(domain);
        let Some(root) = hierarchy.domain() else { continue };
        asked.push(root.name.to_string());
        match look_up(&hierarchy, query, from, &root.name) {
            Ok(found) if found.elements.is_empty() => {
                let query = found.query;
                refused.get_or_insert(Error::NoAnswer { query, place: root.name.to_string() });
            }
            Ok(found) => {
                remarks.extend(doubts(&hierarchy, &found));
                answers.push(Answer {
                    namespace: domain.namespace().unwrap_or_default(),
                    domain: root.name.clone(),
                    query: found.query,
                    elements: found.elements.into_iter().cloned().collect(),
                    members: found.members,
                    addresses: found.addresses.into_iter().collect(),
                    reverse: found.reverse.into_iter().collect(),
                });
            }
            // Several meanings tell more than none.
            Err(error @ cim_names::Error::AmbiguousSelector { .. }) => refused = Some(error.into()),
            Err(error) => _ = refused.get_or_insert(error.into()),
        }
    }
    match (answers.is_empty(), refused) {
        (true, Some(error)) => Err(error),
        (true, None) => Err(Error::NoDomain { place: place.to_owned() }),
        _ => Ok(Answers { answers, remarks }),
    }
}

fn look_up<'h>(
    hierarchy: &'h Hierarchy,
    query: &str,
    from: Option<&str>,
    root: &Fqdn,
) -> Result<Resolution<'h>, cim_names::Error> {
    let scope = match from {
        Some(from) => hierarchy.find(&from.parse()?, root)?.first().map(|scope| scope.name.clone()),
        None => None,
    };
    hierarchy.resolve(query, scope.as_ref().unwrap_or(root))
}

/// Why an answer may not be all there is.
fn doubts(hierarchy: &Hierarchy, found: &Resolution<'_>) -> BTreeSet<String> {
    let unsettled = found.elements.iter().filter(|element| !element.settled);
    unsettled
        .flat_map(|element| {
            let own: Vec<_> = hierarchy.problems_of(&element.source).map(problem).collect();
            let elsewhere =
                format!("{}: something that it is placed on has a problem; see tree", element.name);
            if own.is_empty() { vec![elsewhere] } else { own }
        })
        .collect()
}

impl Report for Answers {
    fn table(&self, colour: bool) -> String {
        let mut out = String::new();
        for answer in &self.answers {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&answer.elements_table().render(colour));
            let behind = answer.members_table();
            if !behind.is_empty() {
                out.push('\n');
                out.push_str(&behind.render(colour));
            }
        }
        out
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }
}

impl Answer {
    fn elements_table(&self) -> Table<4> {
        let mut table = Table::new(["NAME", "KIND", "ADDRESSES", "FROM"]);
        for element in &self.elements {
            let tone = if element.settled { Tone::Plain } else { Tone::Doubtful };
            let addresses = Cell::toned(&join(&element.addresses), tone);
            table.push([
                (&element.name).into(),
                element.kind.into(),
                addresses,
                (&element.source).into(),
            ]);
        }
        table
    }

    /// Who is behind a role, a service, a cluster or the Domain; empty where that is the element
    /// itself, and for an address, whose names are what was asked for.
    fn members_table(&self) -> Table<3> {
        let mut table = Table::new(["MEMBER", "ADDRESSES", "FROM"]);
        let themselves =
            self.members.iter().all(|member| self.elements.iter().any(|e| e.name == member.name));
        let by_address = self.query.parse::<IpAddr>().is_ok();
        if !themselves && !by_address {
            for member in &self.members {
                let addresses = join(&member.addresses);
                table.push([(&member.name).into(), addresses.into(), (&member.source).into()]);
            }
        }
        table
    }
}

fn join(addresses: &BTreeSet<IpAddr>) -> String {
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn table(query: &str, from: Option<&str>) -> String {
        match resolve(&fixtures::world(), query, from, "namespace home") {
            Ok(answers) => answers.table(false) + &answers.remarks().join("\n"),
            Err(error) => error.chain(),
        }
    }

    #[test]
    fn names_addresses_and_selectors_have_answers() {
        let queries = [
            "host1",
            "10.0.0.11",
            "12.0.0.10.in-addr.arpa",
            "api.vault",
            "cluster/core",
            "label/canary",
            "broken.vault",
            "fd00::11",
        ];
        let all: Vec<_> = queries.map(|query| format!("$ {query}\n{}", table(query, None))).into();
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn what_has_no_answer_says_what_to_write() {
        let queries = ["eno1", "hots1", "10.9.9.9", "label/none", "pod/host1", "a b"];
        let all: Vec<_> = queries.map(|query| format!("$ {query}\n{}", table(query, None))).into();
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn a_short_name_is_looked_up_from_where_one_says() {
        assert!(table("eno1", Some("host2")).contains("eno1.host2.core.example.com"));
        assert!(table("eno1", Some("host3")).contains("ambiguous within host3.core.example.com"));
    }

    #[test]
    fn without_a_domain_that_is_the_error() {
        let refused = resolve(&World::default(), "host1", None, "namespace home").unwrap_err();
        assert!(refused.to_string().contains("no Domain"), "{refused}");
    }
}
