//! `plan`: what the controller would do, or is doing.

use serde::Serialize;

use super::{count, nothing, objects, titles, unreadable};
use crate::{
    access::Access, args::Target, error::Error, output::Report, state::Object, style::Tone,
    table::Cell,
};

/// The plans of some objects.
#[derive(Debug, Serialize)]
pub(crate) struct Plans {
    objects: Vec<Object>,
    #[serde(skip)]
    remarks: Vec<String>,
}

pub(crate) async fn run(access: &Access, target: &Target) -> Result<Plans, Error> {
    let (objects, world) = objects(access, target).await?;
    let mut remarks = unreadable(&world);
    if objects.is_empty() {
        remarks.push(nothing(access));
    }
    Ok(Plans { objects, remarks })
}

impl Report for Plans {
    /// The changes of each object below its name, in the order in which they would happen.
    fn table(&self, colour: bool) -> String {
        let title = titles(&self.objects);
        let mut out = String::new();
        for object in &self.objects {
            let Some(plan) = object.plan.as_ref().filter(|plan| !plan.changes.is_empty()) else {
                continue;
            };
            let hash = plan.hash.as_ref().map(|hash| format!(" ({hash})")).unwrap_or_default();
            out.push_str(&Tone::Heading.paint(&title(object), colour));
            out.push_str(&Tone::Faint.paint(&hash, colour));
            out.push('\n');
            for change in &plan.changes {
                out.extend(["  ", Cell::from(change).plain(), "\n"]);
            }
            if plan.truncated {
                out.push_str("  … and more\n");
            }
        }
        if out.is_empty() && !self.objects.is_empty() {
            return format!("Nothing to do for {}.\n", count(self.objects.len()));
        }
        out
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn changes_stand_below_their_object() {
        let mut plans = Plans { objects: fixtures::world().objects(), remarks: vec![] };
        insta::assert_snapshot!(plans.table(false));
        plans.objects.retain(|object| object.plan.is_none());
        assert_eq!(plans.table(false), "Nothing to do for 7 objects.\n");
    }
}
