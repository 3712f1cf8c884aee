//! What was activated on a host, from its journal: neither the controller nor its status is asked.

use cim_e2e::lab::servers::host::Host;

use super::Try;

/// What systemd says of the units in which closures are activated.
const ACTIVATIONS: &str = "journalctl --sync; journalctl --no-pager --output=short-unix \
    --unit=cim-switch.service --unit=cim-rollback.service | grep -F ': ' || true";

/// One line about a unit.
#[derive(Clone, Debug)]
struct Event {
    /// In seconds; all hosts have one clock.
    at: f64,
    starts: bool,
    /// test, confirm, rollback, boot.
    step: String,
    closure: String,
    failed: bool,
}

/// A time in which a machine was being changed: from the begin of a test to its end, good or bad.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) closure: String,
    pub(super) begun: f64,
    pub(super) ended: f64,
}

/// All changes of a host, in order.
pub(super) async fn changes(host: &Host) -> Try<Vec<Change>> {
    let text = host.exec(ACTIVATIONS).await?;
    let mut changes: Vec<Change> = Vec::new();
    let mut open = false;
    for event in text.lines().filter_map(event) {
        if event.starts && event.step == "test" {
            let Event { closure, at, .. } = event;
            changes.push(Change { closure, begun: at, ended: f64::INFINITY });
            open = true;
            continue;
        }
        let settles = !event.starts
            && (matches!(event.step.as_str(), "confirm" | "rollback")
                || event.step == "test" && event.failed);
        if let Some(last) = changes.last_mut().filter(|_| open && settles) {
            last.ended = event.at;
            open = false;
        }
    }
    Ok(changes)
}

/// `1763731234.123456 host3 systemd[1]: Starting cim-switch.service - cim-activate test /nix/…...`
fn event(line: &str) -> Option<Event> {
    let (head, said) = line.split_once(": ")?;
    let at = head.split(' ').next()?.parse().ok()?;
    let (verb, job) = said.split_once("cim-activate ")?;
    let (starts, failed) = match verb.split(' ').next()? {
        "Starting" => (true, false),
        "Finished" => (false, false),
        "Failed" => (false, true),
        _ => return None,
    };
    let (step, closure) = job.split_once(' ')?;
    let closure = closure.trim_end_matches('.').to_owned();
    Some(Event { at, starts, step: step.to_owned(), closure, failed })
}

/// Fails if both were being changed at one time.
pub(super) fn never_together(one: &[Change], other: &[Change]) -> Try<()> {
    for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
        if a.begun < b.ended && b.begun < a.ended {
            return Err(format!("two machines were changed at a time: {a:?} and {b:?}").into());
        }
    }
    Ok(())
}
