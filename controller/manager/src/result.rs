//! The one place that turns how a visit ended into log line, Event and metric.
//!
//! An Event is published when the condition Ready changes its status or reason, when something
//! outside was changed, and when an object is let go; never for a visit that changed nothing.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{self, EventType, Reporter};
use tokio::time::timeout;

use crate::ops::metrics::{Metrics, ObjectKey};
use crate::ops::telemetry::chain;
use crate::outcome::{Class, Failure};
use crate::watch::digest;

/// How a visit ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As the mode wants it.
    Done,
    /// Something else must happen first.
    Wait,
    /// One step of several.
    Transition,
    /// Suspended.
    Paused,
    /// Being deleted by others; nothing of ours holds it.
    Released,
    /// Deleted, and what it made outside as well.
    Deleted,
    /// Deleted; what it made outside stays.
    Orphaned,
}

impl Ending {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Wait => "wait",
            Self::Transition => "transition",
            Self::Paused => "paused",
            Self::Released => "released",
            Self::Deleted => "deleted",
            Self::Orphaned => "orphaned",
        }
    }
}

/// One visit, to be recorded.
pub struct Record<'a> {
    /// The object.
    pub key: &'a ObjectKey,
    /// The same, for Events.
    pub reference: ObjectReference,
    /// The condition Ready before the visit.
    pub before: Option<&'a Condition>,
    /// The condition Ready after it.
    pub after: Option<&'a Condition>,
    /// How it ended.
    pub ending: Result<Ending, &'a dyn Failure>,
    /// One line for each change that was made outside.
    pub applied: &'a [String],
    /// How long the object took to become ready, if it did so now.
    pub became_ready: Option<Duration>,
    /// How long the visit took.
    pub duration: Duration,
}

/// Writes records.
#[derive(Clone)]
pub struct Recorder {
    events: events::Recorder,
    deadline: Duration,
    metrics: Metrics,
}

/// An Event to be.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    severity: EventType,
    action: String,
    reason: String,
    note: String,
}

impl Recorder {
    /// Publishes Events as `instance` (the pod's name); each takes `deadline` at most.
    pub fn new(client: Client, instance: String, deadline: Duration, metrics: Metrics) -> Self {
        let reporter =
            Reporter { controller: "cim-controller".to_owned(), instance: Some(instance) };
        Self { events: events::Recorder::new(client, reporter), deadline, metrics }
    }

    /// Records one visit.
    pub async fn record(&self, record: Record<'_>) {
        self.measure(&record);
        log(&record);
        for message in messages(&record) {
            self.publish(&record.reference, message).await;
        }
    }

    fn measure(&self, record: &Record<'_>) {
        let Record { key, ending, applied, became_ready, duration, .. } = record;
        let result = match ending {
            Ok(ending) => ending.as_str(),
            Err(failure) => {
                self.metrics.failed(key.kind, failure.reason());
                match failure.class() {
                    Class::Retry => "retry",
                    Class::Stalled => "stalled",
                }
            }
        };
        self.metrics.reconciled(key.kind, result, *duration);
        if !applied.is_empty() {
            self.metrics.corrected(key.kind, &key.namespace, applied.len());
        }
        if let Some(duration) = became_ready {
            self.metrics.became_ready(key.kind, *duration);
        }
    }

    /// Best effort: an Event that cannot be published never hides what it tells of.
    async fn publish(&self, reference: &ObjectReference, message: Message) {
        let Message { severity, action, reason, note } = message;
        let name = match severity {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let event =
            events::Event { type_: severity, reason, note: Some(note), action, secondary: None };
        let sent = match timeout(self.deadline, self.events.publish(&event, reference)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "cannot publish an Event");
                false
            }
            Err(_) => {
                tracing::warn!("cannot publish an Event: no answer");
                false
            }
        };
        self.metrics.event(name, sent);
    }
}

fn log(record: &Record<'_>) {
    let Record { ending, applied, duration, .. } = record;
    let milliseconds = duration.as_millis();
    let changed = transition(record);
    for change in *applied {
        tracing::info!(change, "changed");
    }
    match ending {
        Err(failure) => {
            tracing::warn!(
                reason = failure.reason(),
                error = chain(*failure),
                milliseconds,
                "failed"
            );
        }
        Ok(ending) => {
            let gone = matches!(ending, Ending::Deleted | Ending::Orphaned);
            let ending = ending.as_str();
            if gone {
                tracing::info!(ending, milliseconds, "let go");
            } else if let Some(ready) = changed {
                let Condition { status, reason, message, .. } = ready;
                tracing::info!(
                    ending,
                    ready = status,
                    reason,
                    why = message,
                    milliseconds,
                    "visited"
                );
            } else {
                tracing::debug!(ending, milliseconds, "visited");
            }
        }
    }
}

/// The condition Ready, if its status or reason is another than before.
fn transition<'a>(record: &Record<'a>) -> Option<&'a Condition> {
    let after = record.after?;
    let same = record
        .before
        .is_some_and(|before| before.status == after.status && before.reason == after.reason);
    (!same).then_some(after)
}

/// What is to be told of a visit.
fn messages(record: &Record<'_>) -> Vec<Message> {
    let mut messages = Vec::new();
    if !record.applied.is_empty() {
        messages.push(Message {
            severity: EventType::Normal,
            // The recorder makes one Event of those that differ in the note only; this tells other
            // changes from the same ones made again.
            action: format!("Apply/{:08x}", digest(&record.applied) >> 32),
            reason: "Corrected".to_owned(),
            note: note(&format!("{}", Lines(record.applied))),
        });
    }
    match record.ending {
        Ok(ending @ (Ending::Deleted | Ending::Orphaned)) => messages.push(Message {
            severity: EventType::Normal,
            action: "Delete".to_owned(),
            reason: if ending == Ending::Deleted { "Deleted" } else { "Orphaned" }.to_owned(),
            note: match ending {
                Ending::Deleted => "what this object made outside was removed",
                _ => "what this object made outside was left as it is",
            }
            .to_owned(),
        }),
        _ => messages.extend(transition(record).map(|ready| Message {
            severity: if record.ending.is_err() { EventType::Warning } else { EventType::Normal },
            action: "Reconcile".to_owned(),
            reason: ready.reason.clone(),
            note: note(&ready.message),
        })),
    }
    messages
}

/// `changed 3: first; second; third`.
struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "changed {}: {}", self.0.len(), self.0.join("; "))
    }
}

/// An Event's note may have 1 kB, and is not empty.
fn note(text: &str) -> String {
    const MAX: usize = 1000;
    if text.is_empty() {
        return "-".to_owned();
    }
    if text.len() <= MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no answer from ns1")]
    struct Unreachable;

    impl Failure for Unreachable {
        fn reason(&self) -> &'static str {
            "Unreachable"
        }
        fn class(&self) -> Class {
            Class::Retry
        }
    }

    fn ready(status: &str, reason: &str, message: &str) -> Condition {
        Condition {
            type_: "Ready".into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    fn told(
        before: Option<&Condition>,
        after: &Condition,
        ending: Result<Ending, &dyn Failure>,
        applied: &[String],
    ) -> Vec<Message> {
        let key = ObjectKey { kind: "Domain", namespace: "home".into(), name: "a".into() };
        messages(&Record {
            key: &key,
            reference: ObjectReference::default(),
            before,
            after: Some(after),
            ending,
            applied,
            became_ready: None,
            duration: Duration::ZERO,
        })
    }

    #[test]
    fn a_failure_is_told_once_and_not_again_while_it_lasts() {
        let good = ready("True", "Succeeded", "fine");
        let bad = ready("False", "Unreachable", "no answer from ns1");
        let first = told(Some(&good), &bad, Err(&Unreachable), &[]);
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].severity, EventType::Warning);
        assert_eq!(
            (first[0].reason.as_str(), first[0].note.as_str()),
            ("Unreachable", "no answer from ns1")
        );
        assert_eq!(told(Some(&bad), &bad, Err(&Unreachable), &[]), vec![]);
        let back = told(Some(&bad), &good, Ok(Ending::Done), &[]);
        assert_eq!((back.len(), back[0].severity), (1, EventType::Normal));
    }

    #[test]
    fn a_correction_is_told_although_ready_stays() {
        let good = ready("True", "Succeeded", "fine");
        let messages =
            told(Some(&good), &good, Ok(Ending::Done), &["add a".into(), "add b".into()]);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].note, "changed 2: add a; add b");
    }

    #[test]
    fn a_note_fits_an_event() {
        assert!(note(&"é".repeat(5000)).len() <= 1024);
        assert_eq!(note(""), "-");
    }
}
