//! One difference between what is wanted and what was observed.

use std::fmt::{self, Display};

use serde::Serialize;

/// In which way the outside differs. The label values of the metric `cim_drift_items`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftClass {
    /// Wanted, and not there.
    Missing,
    /// There, with another value than the wanted one.
    Changed,
    /// There, and neither wanted nor made by us: reported, never removed.
    Unexpected,
    /// Wanted and perhaps there: it could not be checked. Neither present nor missing.
    Unverified,
}

impl DriftClass {
    /// Every class, in the order in which people read them.
    pub const ALL: [Self; 4] = [Self::Missing, Self::Changed, Self::Unexpected, Self::Unverified];

    /// The lower-case name, as in status and in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Unexpected => "unexpected",
            Self::Unverified => "unverified",
        }
    }
}

impl Display for DriftClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One difference. Values are for people and bounded by whoever makes them; never a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The way in which it differs.
    pub class: DriftClass,
    /// What differs, in its field's own notation: `host1.core.example.com. A`, `account comms`.
    pub subject: String,
    /// The wanted value, where one is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// The observed value, where one was observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl Finding {
    /// `subject` should be `expected` and does not exist.
    pub fn missing(subject: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::new(DriftClass::Missing, subject, Some(expected.into()), None)
    }

    /// `subject` should be `expected` and is `found`.
    pub fn changed(
        subject: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::new(DriftClass::Changed, subject, Some(expected.into()), Some(found.into()))
    }

    /// `subject` exists as `found`, and nobody asked for it.
    pub fn unexpected(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(DriftClass::Unexpected, subject, None, Some(found.into()))
    }

    /// `subject` should be `expected`; `why` it could not be checked.
    pub fn unverified(
        subject: impl Into<String>,
        expected: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self::new(DriftClass::Unverified, subject, Some(expected.into()), Some(why.into()))
    }

    fn new(
        class: DriftClass,
        subject: impl Into<String>,
        expected: Option<String>,
        found: Option<String>,
    ) -> Self {
        Self { class, subject: subject.into(), expected, found }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<10} {}", self.class, self.subject)?;
        match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => write!(f, ": expected {expected}, found {found}"),
            (Some(expected), None) => write!(f, ": expected {expected}"),
            (None, Some(found)) => write!(f, ": found {found}"),
            (None, None) => Ok(()),
        }
    }
}
