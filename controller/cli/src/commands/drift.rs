//! `drift`: how the outside differs, as the controller last saw it.

use cim_crds::DriftClass;
use jiff::Timestamp;
use serde::Serialize;

use super::{count, nothing, objects, titles, unreadable};
use crate::{
    access::Access,
    error::Error,
    output::{Report, age, cut},
    state::Object,
    style::Tone,
    table::{Cell, Table},
    target::Target,
};

/// How much of a value a table shows.
const MAX_VALUE: usize = 48;

/// The drift of some objects.
#[derive(Debug, Serialize)]
pub(crate) struct Drifts {
    objects: Vec<Object>,
    #[serde(skip)]
    now: Timestamp,
    #[serde(skip)]
    remarks: Vec<String>,
}

pub(crate) async fn run(access: &Access, target: &Target) -> Result<Drifts, Error> {
    let (objects, world) = objects(access, target).await?;
    let mut remarks = unreadable(&world);
    if objects.is_empty() {
        remarks.push(nothing(access));
    }
    Ok(Drifts { objects, now: Timestamp::now(), remarks })
}

impl Drifts {
    /// Whether anything differs.
    pub(crate) fn differs(&self) -> bool {
        self.objects.iter().any(|object| object.drift_count().is_some_and(|count| count > 0))
    }
}

impl Report for Drifts {
    fn table(&self, colour: bool) -> String {
        let title = titles(&self.objects);
        let mut table = Table::new(["OBJECT", "CLASS", "WHAT", "WANTED", "FOUND", "SINCE"]);
        for object in &self.objects {
            rows(object, &title(object), self.now, &mut table);
        }
        let mut out = if table.is_empty() { String::new() } else { table.render(colour) };
        let unknown: Vec<_> = self
            .objects
            .iter()
            .filter(|object| object.drift_count().is_none())
            .map(&title)
            .collect();
        let known = self.objects.len() - unknown.len();
        if table.is_empty() && known > 0 {
            out.extend(["Nothing differs in ", &count(known), ".\n"]);
        }
        if !unknown.is_empty() {
            let text = format!("Not evaluated: {}\n", unknown.join(", "));
            out.push_str(&Tone::Doubtful.paint(&text, colour));
        }
        out
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }
}

fn rows(object: &Object, name: &str, now: Timestamp, table: &mut Table<6>) {
    let Some(count) = object.drift_count().filter(|count| *count > 0) else { return };
    let drift = object.drift.clone().unwrap_or_default();
    let since = drift.since.map(|since| age(now, since.0)).unwrap_or_default();
    for item in &drift.items {
        let (class, tone) = match item.class {
            DriftClass::Missing => ("missing", Tone::Bad),
            DriftClass::Changed => ("changed", Tone::Bad),
            DriftClass::Unexpected => ("unexpected", Tone::Doubtful),
            DriftClass::Unverified => ("unverified", Tone::Doubtful),
        };
        let value = |value: &Option<String>| cut(value.as_deref().unwrap_or("-"), MAX_VALUE).into();
        table.push([
            name.into(),
            Cell::toned(class, tone),
            (&item.subject).into(),
            value(&item.expected),
            value(&item.found),
            (&since).into(),
        ]);
    }
    let listed = u32::try_from(drift.items.len()).unwrap_or(u32::MAX);
    if count > listed {
        let more = format!("… {} more", count - listed);
        table.push([name.into(), "".into(), more.into(), "".into(), "".into(), since.into()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn drifts() -> Drifts {
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        Drifts { objects: fixtures::world().objects(), now, remarks: vec![] }
    }

    #[test]
    fn what_differs_is_listed_and_what_is_unknown_is_said() {
        insta::assert_snapshot!(drifts().table(false));
        assert!(drifts().differs());
    }

    #[test]
    fn where_nothing_differs_that_is_said() {
        let mut drifts = drifts();
        drifts.objects.retain(|object| object.drift_count() == Some(0));
        assert!(!drifts.differs());
        insta::assert_snapshot!(drifts.table(false));
    }
}
