//! One step of a plan.

use std::fmt;

use serde::Serialize;

use crate::{Name, RecordType, RrSet};

/// What is done to one name. It goes to the server in one message, and a message is applied as a
/// whole or not at all, so no resolver ever sees the name in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The name.
    pub name: Name,
    /// What is done to its record sets; removals first.
    pub edits: Vec<Edit>,
    /// Whether the name had no records at all when it was observed.
    pub vacant: bool,
}

/// What is done to one record set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// The type of the set.
    pub kind: RecordType,
    /// The set as it was observed, and must still be when the change is made.
    pub before: Option<RrSet>,
    /// The set as it will be; `None` removes it.
    pub after: Option<RrSet>,
}

impl Change {
    /// Whether it only takes away.
    pub fn is_deletion(&self) -> bool {
        self.edits.iter().all(|edit| edit.after.is_none())
    }
}

impl fmt::Display for Change {
    /// `+ NAME TYPE TTL VALUES`, `- …`, or `~ NAME TYPE BEFORE -> AFTER`; several joined by `;`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Edit { kind, before, after }) in self.edits.iter().enumerate() {
            f.write_str(if index > 0 { "; " } else { "" })?;
            let name = &self.name;
            match (before, after) {
                (Some(before), Some(after)) => write!(f, "~ {name} {kind} {before} -> {after}")?,
                (Some(before), None) => write!(f, "- {name} {kind} {before}")?,
                (None, Some(after)) => write!(f, "+ {name} {kind} {after}")?,
                (None, None) => {}
            }
        }
        Ok(())
    }
}
