//! The status rules that Flux checks its controllers with (fluxcd/pkg
//! `runtime/conditions/check/{fail,warn}.go`), as a checker for tests.

use cim_crds::CommonStatus;
use cim_crds::conditions::{ConditionType, find, is_true};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Whether a status was written midway or after a finished reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Midway,
    Finished,
}

/// Conditions whose truth is bad news, most important first. Drifted and Paused are not among them:
/// they stay while False, and a drifted object may be ready.
const NEGATIVE: [ConditionType; 3] =
    [ConditionType::Stalled, ConditionType::Reconciling, ConditionType::Lost];

/// Every rule that `status` of an object of `generation` breaks.
pub(crate) fn broken(status: &CommonStatus, generation: i64, written: Written) -> Vec<String> {
    let all = &status.conditions;
    let finished = written == Written::Finished;
    let negative: Vec<&Condition> = NEGATIVE.iter().filter_map(|type_| find(all, *type_)).collect();
    let ready = find(all, ConditionType::Ready);
    let is = |value: &str| ready.is_some_and(|ready| ready.status == value);
    let reconciling = is_true(all, ConditionType::Reconciling);
    let stalled = is_true(all, ConditionType::Stalled);
    let observed = |condition: &Condition| condition.observed_generation.unwrap_or(0);
    let root = status.observed_generation;

    let mut broken = Vec::new();
    let mut rule = |id: &str, applies: bool, holds: bool| {
        if applies && !holds {
            broken.push(id.to_owned());
        }
    };
    let bad_news = negative.iter().any(|condition| condition.status == "True");
    rule("FAIL0001", finished && is("True"), !bad_news);
    rule("FAIL0002", true, ready.is_some());
    rule("FAIL0003", finished && reconciling, is("False"));
    rule("FAIL0004", stalled, is("False"));
    let both = find(all, ConditionType::Reconciling).is_some()
        && find(all, ConditionType::Stalled).is_some();
    rule("FAIL0005", true, !both);
    rule("FAIL0006", true, root <= generation);
    rule("FAIL0007", finished && root < generation, !is("True"));
    let behind = all.iter().any(|condition| observed(condition) < generation);
    rule("FAIL0008", finished && behind, !is("True"));
    let level = all.iter().all(|condition| observed(condition) == root);
    rule("FAIL0009", finished && is("True"), level);
    rule("FAIL0011", !finished && is("Unknown"), reconciling);
    rule("WARN0001", finished && is("True"), negative.is_empty());
    let first = negative.iter().find(|condition| condition.status == "True");
    let summary = |condition: &&&Condition| {
        condition.type_ != ConditionType::Reconciling.as_str()
            && condition.type_ != ConditionType::Stalled.as_str()
    };
    if let Some(first) = first.filter(summary) {
        let copied = ready
            .is_some_and(|ready| ready.reason == first.reason && ready.message == first.message);
        rule("WARN0002", finished && !is("True"), copied);
    }
    let absent_or_true = |type_| find(all, type_).is_none_or(|found| found.status == "True");
    rule("WARN0003", true, absent_or_true(ConditionType::Reconciling));
    rule("WARN0004", true, absent_or_true(ConditionType::Stalled));
    rule("WARN0005", true, all.iter().all(|condition| observed(condition) >= 1));
    broken
}
