//! How a rollout stands, in a word and in a sentence.

use std::time::Duration;

use jiff::Timestamp;

use super::budget::is_moving;
use super::decide::Decision;
use super::fleet::{Member, RebootPolicy, Standing};
use super::state::State;
use super::{Fleet, Opening, Policy, revoke, wave};

/// How many machines a message names.
const NAMED: usize = 3;
/// The status has room for 1024 characters; names may have 253 each.
const MAX_MESSAGE: usize = 1000;

/// How a rollout stands. The words are those of the API, which has two more for what comes before:
/// `Building` and `WaitingForApproval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No machine takes part.
    Pending,
    /// Machines are being changed, or something holds them up that the message names.
    Progressing,
    /// All machines up to the present wave are done and watched.
    Soaking,
    /// The next machine waits for a window.
    WaitingForWindow,
    /// Nothing new begins, because it is paused.
    Paused,
    /// Every machine runs the release.
    Complete,
    /// Machines are being taken back.
    Revoking,
    /// Too many failed; a person is needed.
    Aborted,
}

pub(super) fn report(
    policy: &Policy,
    fleet: &Fleet,
    state: State,
    opening: Opening,
    now: Timestamp,
) -> Decision {
    let members = fleet.members(&state);
    let view = View { policy, fleet, state: &state, opening, members: &members };
    let phase = view.phase();
    let message = view.message(phase).chars().take(MAX_MESSAGE).collect();
    let next_window = view.next_window();
    let recheck = view.recheck(now);
    let going_back = revoke::applies(policy, &state).then(|| {
        revoke::remaining(fleet, &state).into_iter().map(|member| member.name.clone()).collect()
    });
    Decision {
        phase,
        message,
        waves: fleet.wave_count(),
        updated: members.iter().filter(|member| member.standing == Standing::Updated).count(),
        total: members.len(),
        revoke: going_back,
        next_window,
        recheck,
        state,
    }
}

struct View<'a> {
    policy: &'a Policy,
    fleet: &'a Fleet,
    state: &'a State,
    opening: Opening,
    members: &'a [Member<'a>],
}

impl View<'_> {
    fn phase(&self) -> Phase {
        if self.members.is_empty() {
            Phase::Pending
        } else if revoke::goes_on(self.policy, self.fleet, self.state) {
            Phase::Revoking
        } else if self.state.aborted {
            Phase::Aborted
        } else if self.state.completed && !self.members.iter().any(|member| self.lacks_it(member)) {
            Phase::Complete
        } else if self.state.soaking_since.is_some() {
            Phase::Soaking
        } else if self.policy.paused {
            Phase::Paused
        } else if self.waits_for_window() && !self.any(is_moving) {
            Phase::WaitingForWindow
        } else {
            Phase::Progressing
        }
    }

    /// Whether it does not run the release. One that ran it and is down now has not lost it.
    fn lacks_it(&self, member: &Member<'_>) -> bool {
        let has_it = member.took || self.state.admitted.contains(member.name);
        match member.standing {
            Standing::Updated => false,
            Standing::Updating
            | Standing::Unhealthy
            | Standing::Unreachable
            | Standing::Unknown => !has_it,
            _ => true,
        }
    }

    fn any(&self, is: impl Fn(&Member<'_>, &State) -> bool) -> bool {
        self.members.iter().any(|member| is(member, self.state))
    }

    /// Whether somebody could begin something but for the window.
    fn waits_for_window(&self) -> bool {
        !self.opening.is_open()
            && !self.policy.paused
            && !self.state.aborted
            && self.any(|member, state| {
                let reboot = member.reboot == Some(RebootPolicy::InWindow);
                reboot || wave::is_due(member, state) || is_unbegun(member, state)
            })
    }

    fn next_window(&self) -> Option<Timestamp> {
        match self.opening {
            Opening::Closed { next } if self.waits_for_window() => next,
            _ => None,
        }
    }

    fn recheck(&self, now: Timestamp) -> Option<Duration> {
        let edge = match self.opening {
            Opening::Open { until } => until,
            Opening::Closed { next } => next,
        };
        let soaked =
            self.state.soaking_since.and_then(|since| since.checked_add(self.policy.soak).ok());
        let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
        // Rounded up: to come back a moment too early would only be to come back twice.
        let whole = |wait: Duration| {
            Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
        };
        [edge, soaked]
            .into_iter()
            .flatten()
            .min()
            .map(|at| whole(until(at)).max(Duration::from_secs(1)))
    }

    fn message(&self, phase: Phase) -> String {
        match phase {
            Phase::Pending => "no machine takes part".to_owned(),
            Phase::Complete => "every machine runs the release".to_owned(),
            Phase::Revoking => self.revoking(),
            Phase::Aborted => self.aborted(),
            Phase::Soaking => format!("{} is done and watched", self.wave()),
            Phase::Paused => {
                let moving = self.names(is_moving);
                let finish =
                    moving.map(|names| format!(": {names} to be finished")).unwrap_or_default();
                format!("paused in {}{finish}", self.wave())
            }
            Phase::WaitingForWindow => format!("{} waits for a window", self.wave()),
            Phase::Progressing => self.progressing(),
        }
    }

    fn wave(&self) -> String {
        let count = self.fleet.wave_count();
        format!("wave {} of {count}", (self.state.wave + 1).min(count))
    }

    fn progressing(&self) -> String {
        let parts = [
            self.names(|member, state| is_moving(member, state) && answers(member))
                .map(|names| format!("works on {names}")),
            self.names(|member, state| owes_reboot(member) && !is_moving(member, state))
                .map(|names| format!("{names}: a reboot is owed")),
            self.names(|member, _| member.standing == Standing::Blocked)
                .map(|names| format!("{names}: the release has no closure for it")),
            self.names(|member, state| state.failed.contains(member.name))
                .map(|names| format!("{names} failed: correct it in a new release, or try again")),
            self.silent(),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let what = if parts.is_empty() { "machines change".to_owned() } else { parts.join("; ") };
        format!("{}: {what}", self.wave())
    }

    /// Those that are down, and what to do so that they hold up nothing.
    fn silent(&self) -> Option<String> {
        let down = |member: &Member<'_>, _: &State| {
            matches!(
                member.standing,
                Standing::Unhealthy | Standing::Unreachable | Standing::Unknown
            )
        };
        self.names(down).map(|names| {
            let budget = self.policy.max_unavailable.max(1);
            format!(
                "unavailable, within maxUnavailable {budget}: {names}: repair or suspend them, or raise it"
            )
        })
    }

    fn revoking(&self) -> String {
        let paused = if self.policy.paused { "paused: " } else { "" };
        let remaining = list(&revoke::remaining(self.fleet, self.state));
        format!("{paused}{}; to go back: {remaining}", self.failures())
    }

    fn aborted(&self) -> String {
        let remaining = revoke::remaining(self.fleet, self.state);
        let rest = if self.state.completed {
            "the machines that had it before keep it".to_owned()
        } else if !revoke::applies(self.policy, self.state) {
            match (self.policy.on_abort, &self.state.previous) {
                (super::OnAbort::Revoke, None) => {
                    "no earlier release was complete, so there is none to go back to".to_owned()
                }
                _ => "each machine is left as it is".to_owned(),
            }
        } else if remaining.is_empty() {
            "every machine is back".to_owned()
        } else {
            let names = list(&remaining);
            format!("{names} did not answer and go back when they do")
        };
        format!("{}; {rest}; correct it in a new release, or try again", self.failures())
    }

    fn failures(&self) -> String {
        let failed: Vec<&String> = self.state.failed.iter().collect();
        if failed.is_empty() {
            return "what failed is gone".to_owned();
        }
        format!("failed: {}", enumerate(&failed))
    }

    fn names(&self, is: impl Fn(&Member<'_>, &State) -> bool) -> Option<String> {
        let chosen: Vec<Member<'_>> =
            self.members.iter().filter(|member| is(member, self.state)).copied().collect();
        (!chosen.is_empty()).then(|| list(&chosen))
    }
}

fn list(members: &[Member<'_>]) -> String {
    enumerate(&members.iter().map(|member| member.name).collect::<Vec<_>>())
}

/// Whether a reboot, and nothing else, keeps it from being done.
fn owes_reboot(member: &Member<'_>) -> bool {
    match member.standing {
        Standing::Staged | Standing::StagedBack => true,
        Standing::Updated => member.reboot.is_some_and(|policy| policy != RebootPolicy::Never),
        _ => false,
    }
}

fn answers(member: &Member<'_>) -> bool {
    !matches!(member.standing, Standing::Unreachable | Standing::Unknown)
}

/// Admitted, and not yet begun.
fn is_unbegun(member: &Member<'_>, state: &State) -> bool {
    state.admitted.contains(member.name) && member.standing == Standing::Outdated
}

fn enumerate(names: &[&String]) -> String {
    let first: Vec<&str> = names.iter().take(NAMED).map(|name| name.as_str()).collect();
    let more = names.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", first.join(", "))
}
