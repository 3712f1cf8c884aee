//! Findings and changes as a status shows them: bounded, sorted, never secret.

use cim_crds::conditions::reasons;
use cim_crds::{Drift, DriftItem, PlanStatus};
use cim_plan::{Change, DriftClass, Finding, Plan};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// As many as the schema admits.
const SHOWN: usize = 50;
const SUBJECT_MAX: usize = 512;
const TEXT_MAX: usize = 1024;

/// `findings` for `status.drift`; `None` when nothing differs. The date of the first difference is
/// kept as long as something differs without a break.
pub fn drift_status(findings: &[Finding], before: Option<&Drift>, now: &Time) -> Option<Drift> {
    if findings.is_empty() {
        return None;
    }
    let since = before.filter(|drift| drift.count > 0).and_then(|drift| drift.since.clone());
    Some(Drift {
        count: u32::try_from(findings.len()).unwrap_or(u32::MAX),
        since: since.or_else(|| Some(now.clone())),
        items: findings.iter().take(SHOWN).map(item).collect(),
        truncated: findings.len() > SHOWN,
    })
}

/// `plan` for `status.plan`, with its hash.
pub fn plan_status<C: Change>(plan: &Plan<C>) -> PlanStatus {
    PlanStatus {
        changes: plan
            .changes
            .iter()
            .take(SHOWN)
            .map(|change| bounded(&change.to_string(), TEXT_MAX))
            .collect(),
        hash: (!plan.is_empty()).then(|| plan.hash()),
        truncated: plan.changes.len() > SHOWN,
    }
}

/// Reason and message of the condition Drifted. The reason is the first class that something differs
/// in, in the order of [`DriftClass::ALL`].
pub fn summary(findings: &[Finding]) -> (&'static str, String) {
    let count = |class| findings.iter().filter(|finding| finding.class == class).count();
    let counts: Vec<(DriftClass, usize)> = DriftClass::ALL
        .map(|class| (class, count(class)))
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .collect();
    let reason = match counts.first() {
        None => return (reasons::NO_DRIFT, "nothing differs".to_owned()),
        Some((DriftClass::Missing, _)) => reasons::MISSING,
        Some((DriftClass::Changed, _)) => reasons::CHANGED,
        Some((DriftClass::Unexpected, _)) => reasons::UNEXPECTED,
        Some((DriftClass::Unverified, _)) => reasons::UNVERIFIED,
    };
    let parts: Vec<String> = counts.iter().map(|(class, n)| format!("{n} {class}")).collect();
    let first = findings.iter().map(|finding| finding.subject.as_str()).next().unwrap_or_default();
    (reason, format!("{}; first: {}", parts.join(", "), bounded(first, SUBJECT_MAX)))
}

fn item(finding: &Finding) -> DriftItem {
    let text = |value: &Option<String>| value.as_deref().map(|value| bounded(value, TEXT_MAX));
    DriftItem {
        class: match finding.class {
            DriftClass::Missing => cim_crds::DriftClass::Missing,
            DriftClass::Changed => cim_crds::DriftClass::Changed,
            DriftClass::Unexpected => cim_crds::DriftClass::Unexpected,
            DriftClass::Unverified => cim_crds::DriftClass::Unverified,
        },
        subject: bounded(&finding.subject, SUBJECT_MAX),
        expected: text(&finding.expected),
        found: text(&finding.found),
    }
}

/// At most `max` characters, at least one (the schema wants both); what is cut ends in `…`.
fn bounded(text: &str, max: usize) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max - 1).chain(['…']).collect()
}
