//! `diff`: what another release would change in a Cluster.

use kube::ResourceExt;
use serde::Serialize;

use super::cluster;
use crate::{
    access::Access,
    error::Error,
    output::Report,
    release::{
        choice,
        difference::{Change, Difference, Identity, Item, Other, compare},
        past,
        path::Paths,
        refusal::Refusal,
        short_digest, short_rev,
    },
    style::Tone,
    table::{Cell, Table},
};

/// A difference and how to show it.
#[derive(Debug, Serialize)]
pub(crate) struct Diff {
    #[serde(flatten)]
    pub(crate) difference: Difference,
    #[serde(skip)]
    pub(crate) wide: bool,
}

pub(crate) async fn run(
    access: &Access,
    name: &str,
    to: Option<&str>,
    wide: bool,
) -> Result<Diff, Error> {
    let namespace = access.one_namespace("diff")?;
    let subject = cluster(access, namespace, name).await?;
    let from = choice::promotion(&subject).map(|promotion| promotion.from.as_str());
    let Some(to) = to.or(from) else {
        return Err(Refusal::NothingToCompare { cluster: name.to_owned() }.into());
    };
    // A Cluster first: its name cannot be mistaken for a digest, and hardly for a revision.
    let difference = match access.get(namespace, to).await? {
        Some(other) => compare(&subject, Other::Release(&other, choice::release(&other)?))?,
        None if Some(to) == from => {
            let (receiver, from) = (subject.name_any(), to.to_owned());
            return Err(Refusal::NoSender { receiver, from }.into());
        }
        None => compare(&subject, Other::Past(past::find(&subject, Some(to))?))?,
    };
    Ok(Diff { difference, wide })
}

impl Diff {
    /// Whether anything would change, or might.
    pub(crate) fn differs(&self) -> bool {
        self.difference.differs()
    }
}

impl Report for Diff {
    fn table(&self, colour: bool) -> String {
        table(&self.difference, self.wide, colour)
    }
}

/// The two releases, and the paths that change.
pub(crate) fn table(difference: &Difference, wide: bool, colour: bool) -> String {
    let title = format!("Cluster {}/{}", difference.namespace, difference.cluster);
    let title = Tone::Heading.paint(&title, colour);
    let now = difference.now.as_ref().map_or("no release".to_owned(), identity);
    let then = identity(&difference.then);
    let mut out = format!("{title}: {now} → {then}, {}\n", difference.then.of);
    if !difference.differs() {
        out.push_str("Nothing would change.\n");
        return out;
    }
    let paths = difference.items().flat_map(|item| item.now.iter().chain(&item.then));
    let paths = Paths::of(paths.map(String::as_str), wide);
    let mut rows = Table::new(["CHANGE", "WHAT", "NOW", "THEN", "MACHINES"]);
    let mut same = 0;
    let of = |kind, items| std::iter::repeat(kind).zip::<&Vec<Item>>(items);
    let all = of("configuration", &difference.configurations);
    for (kind, item) in all.chain(of("service", &difference.services)) {
        if item.change == Change::Same && !wide {
            same += 1;
            continue;
        }
        rows.push(row(kind, item, paths));
    }
    if !rows.is_empty() {
        out.push_str(&rows.render(colour));
    }
    let stays = match same {
        0 => String::new(),
        1 => "1 stays as it is.\n".to_owned(),
        same => format!("{same} stay as they are.\n"),
    };
    out.push_str(&stays);
    if difference.items().any(|item| item.change == Change::Unknown) {
        out.push_str("What is unknown is evaluated from that revision when it is delivered.\n");
    }
    out
}

fn row(kind: &str, item: &Item, paths: Paths) -> [Cell; 5] {
    let (word, tone) = match item.change {
        Change::Same => ("same", Tone::Faint),
        Change::Changed => ("changed", Tone::Doubtful),
        Change::Added => ("added", Tone::Good),
        Change::Removed => ("removed", Tone::Bad),
        Change::Unknown => ("unknown", Tone::Doubtful),
    };
    [
        Cell::toned(word, tone),
        format!("{kind} {}", item.name).into(),
        paths.show_or_dash(item.now.as_deref()).into(),
        paths.show_or_dash(item.then.as_deref()).into(),
        item.machines.join(", ").into(),
    ]
}

fn identity(identity: &Identity) -> String {
    let digest = identity.digest.as_deref().map(short_digest);
    let digest = digest.map(|digest| format!(" ({digest})")).unwrap_or_default();
    format!("{}{digest}", short_rev(&identity.rev))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn told(name: &str, wide: bool) -> String {
        let (dev, cluster) = (fixtures::cluster("dev"), fixtures::cluster(name));
        let release = choice::release(&dev).unwrap();
        let difference = compare(&cluster, Other::Release(&dev, release)).unwrap();
        Diff { difference, wide }.table(false)
    }

    #[test]
    fn what_changes_is_listed_and_what_stays_is_counted() {
        insta::assert_snapshot!([told("prod", false), told("prod", true)].join("\n"));
    }

    #[test]
    fn without_a_release_everything_is_new() {
        insta::assert_snapshot!([told("lost", false), told("dev", false)].join("\n"));
    }
}
