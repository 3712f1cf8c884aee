//! A simulated fleet: machines that take time, fail, vanish and fall ill, and a controller that may
//! die before it has written down what it decided.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::*;
use super::{at, names};

/// What a machine does: take a closure, or reboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Take { release: u32, attempt: u32 },
    Reboot,
}

/// How a job ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Well,
    /// It went back by itself.
    WentBack,
    /// It runs the new closure and does not serve.
    Broken,
    /// The job succeeds and the machine falls ill.
    Sick,
}

#[expect(clippy::struct_excessive_bools, reason = "each is one thing that is so or is not")]
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) wave: usize,
    /// Every release has the same closure for it.
    pub(super) unchanged: bool,
    /// The release whose closure it runs; 0 for one that no release knows.
    pub(super) runs: u32,
    /// The release whose closure it will boot, if that is another one.
    pub(super) staged: Option<u32>,
    /// A closure takes effect by a reboot only, and with this policy.
    pub(super) by_reboot: Option<RebootPolicy>,
    pub(super) job: Option<Job>,
    pub(super) answers: bool,
    pub(super) well: bool,
    pub(super) suspended: bool,
    pub(super) failed: Option<(u32, u32)>,
    pub(super) reboot: Option<RebootPolicy>,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// The controller decides; it may die before it writes.
    Decide {
        dies: bool,
    },
    /// A machine does its next step.
    Step {
        host: usize,
        end: End,
    },
    Pass {
        seconds: i64,
    },
    Answers {
        host: usize,
        answers: bool,
    },
    Well {
        host: usize,
        well: bool,
    },
    Suspended {
        host: usize,
        suspended: bool,
    },
    OwesReboot {
        host: usize,
        policy: RebootPolicy,
    },
    Window {
        open: bool,
    },
    Paused {
        paused: bool,
    },
    Release,
    Retry {
        token: u8,
    },
    /// A machine is added, by a name that nobody had.
    Joins {
        host: Host,
    },
    /// A machine is taken out of the Cluster, whatever it is doing. The last one stays.
    Leaves {
        host: usize,
    },
}

pub(super) struct World {
    pub(super) policy: Policy,
    pub(super) hosts: BTreeMap<String, Host>,
    pub(super) state: State,
    pub(super) release: u32,
    pub(super) open: bool,
    pub(super) now: i64,
    /// Every failure that there was: release, attempt, machine.
    pub(super) failures: BTreeSet<(u32, u32, String)>,
    /// Since when every decision saw all machines up to the present wave do well.
    pub(super) well_since: Option<i64>,
    /// When a machine came to have the release that was complete before.
    pub(super) arrived: BTreeMap<String, i64>,
    /// How many names were given.
    named: usize,
}

fn id(release: u32) -> String {
    format!("release-{release}")
}

fn number(id: Option<&str>) -> Option<u32> {
    id?.strip_prefix("release-")?.parse().ok()
}

impl Host {
    pub(super) fn has(&self, release: u32) -> bool {
        self.unchanged || self.runs == release
    }

    pub(super) fn boots(&self, release: u32) -> bool {
        self.staged.map_or_else(|| self.has(release), |staged| staged == release)
    }

    fn standing(&self, release: u32, attempt: u32, back: Option<u32>) -> Standing {
        if !self.answers {
            return Standing::Unreachable;
        }
        match (self.job, self.failed) {
            (Some(_), _) => Standing::Updating,
            (None, _) if self.suspended => Standing::Exempt,
            (None, Some(failed)) if failed == (release, attempt) => {
                Standing::Failed { attempt, healthy: self.well }
            }
            _ if !self.well => Standing::Unhealthy,
            _ if self.staged == Some(release) => Standing::Staged,
            _ if self.staged.is_some() && self.staged == back && self.runs == release => {
                Standing::StagedBack
            }
            _ if self.has(release) && self.boots(release) => Standing::Updated,
            _ => Standing::Outdated,
        }
    }
}

impl World {
    pub(super) fn new(policy: Policy, hosts: Vec<Host>) -> Self {
        let named = hosts.len();
        let hosts = hosts.into_iter().enumerate().map(|(n, host)| (format!("host{n}"), host));
        let state = State { release: id(1), attempt: 1, completed: true, ..State::default() };
        Self {
            policy,
            hosts: hosts.collect(),
            state,
            release: 2,
            open: true,
            now: 0,
            failures: BTreeSet::new(),
            well_since: None,
            arrived: BTreeMap::new(),
            named,
        }
    }

    pub(super) fn fleet(&self) -> Fleet {
        let release = id(self.release);
        let back = number(self.state.goes_back_to(&release));
        let machine = |host: &Host| Machine {
            standing: host.standing(self.release, self.state.attempt, back),
            took: !host.unchanged
                && (host.runs == self.release || host.staged == Some(self.release)),
            reboot: host.reboot,
        };
        let wave = |n| {
            let chosen = self.hosts.iter().filter(|(_, host)| host.wave == n);
            names(&chosen.map(|(name, _)| name.as_str()).collect::<Vec<_>>())
        };
        Fleet {
            waves: vec![wave(0), wave(1)],
            machines: self.hosts.iter().map(|(name, host)| (name.clone(), machine(host))).collect(),
            release,
        }
    }

    fn opening(&self) -> Opening {
        if self.open { Opening::Open { until: None } } else { Opening::Closed { next: None } }
    }

    pub(super) fn decide(&mut self, dies: bool) -> Decision {
        let fleet = self.fleet();
        let decision = decide(&self.policy, &fleet, &self.state, self.opening(), at(self.now));
        let again = decide(&self.policy, &fleet, &decision.state, self.opening(), at(self.now));
        assert_eq!(again, decision, "deciding again changes nothing");
        let well_since = self.well_since;
        self.assert_lawful(&fleet, &decision);
        if dies {
            self.well_since = well_since;
        } else {
            self.state = decision.state.clone();
        }
        decision
    }

    /// The machine's side: it asks the state that is written, right before its first effect.
    pub(super) fn step(&mut self, name: &str, end: End) {
        let release = number(Some(&self.state.release)).unwrap();
        let previous = number(self.state.previous.as_deref());
        let directive = self.state.directive(name);
        let may_reboot = self.state.may_reboot(name);
        let attempt = self.state.attempt;
        let host = self.hosts.get_mut(name).unwrap();
        if let Some(job) = host.job {
            let had = host.boots(self.release) && host.has(self.release);
            host.finish(job, end);
            let counts = self.state.completed && !host.suspended;
            if counts && !had && host.boots(self.release) && host.has(self.release) {
                self.arrived.insert(name.to_owned(), self.now);
            }
            if let Some((release, attempt)) = host.failed {
                self.failures.insert((release, attempt, name.to_owned()));
            }
            return;
        }
        if !host.answers || host.suspended {
            return;
        }
        let wanted = match directive {
            Directive::Take if host.failed != Some((release, attempt)) => Some(release),
            Directive::GoBack => previous,
            _ => None,
        };
        match wanted {
            Some(wanted) if !host.boots(wanted) => {
                host.job = Some(Job::Take { release: wanted, attempt });
            }
            _ if may_reboot && host.reboot.is_some() => host.job = Some(Job::Reboot),
            _ => {}
        }
    }

    pub(super) fn happen_all(&mut self, events: &[Event]) {
        for event in events {
            self.happen(event);
        }
    }

    pub(super) fn happen(&mut self, event: &Event) {
        let name = |n: usize| self.hosts.keys().nth(n % self.hosts.len()).unwrap().clone();
        let host_name = match event {
            Event::Step { host, .. }
            | Event::Answers { host, .. }
            | Event::Well { host, .. }
            | Event::Suspended { host, .. }
            | Event::OwesReboot { host, .. }
            | Event::Leaves { host } => name(*host),
            _ => name(0),
        };
        let host = self.hosts.get_mut(&host_name).unwrap();
        match *event {
            Event::Answers { answers, .. } => host.answers = answers,
            Event::Well { well, .. } => host.well = well,
            Event::Suspended { suspended, .. } => {
                host.suspended = suspended;
                // Nobody waits for whoever takes no part.
                self.arrived.remove(&host_name);
            }
            Event::OwesReboot { policy, .. } if host.staged.is_none() => {
                host.reboot = Some(policy);
            }
            Event::Step { end, .. } => self.step(&host_name, end),
            Event::Decide { dies } => drop(self.decide(dies)),
            Event::Pass { seconds } => self.now += seconds,
            Event::Window { open } => self.open = open,
            Event::Paused { paused } => self.policy.paused = paused,
            Event::Release => self.release += 1,
            Event::Retry { token } => self.policy.retry = Some(token.to_string()),
            Event::Joins { ref host } => {
                self.hosts.insert(format!("host{}", self.named), host.clone());
                self.named += 1;
            }
            Event::Leaves { .. } if self.hosts.len() > 1 => {
                self.hosts.remove(&host_name);
                self.arrived.remove(&host_name);
            }
            Event::OwesReboot { .. } | Event::Leaves { .. } => {}
        }
    }

    /// Everybody does what there is to do, and all goes well, until nothing changes any more.
    pub(super) fn settle(&mut self) -> Decision {
        let mut last = self.decide(false);
        for _ in 0..200 {
            for name in self.hosts.keys().cloned().collect::<Vec<_>>() {
                self.step(&name, End::Well);
            }
            self.now += 61;
            let next = self.decide(false);
            let rests = self.hosts.values().all(|host| host.job.is_none() || !host.answers);
            if rests && next == last {
                return next;
            }
            last = next;
        }
        panic!("does not settle: {last:#?}");
    }
}

impl Host {
    fn take(&mut self, release: u32) {
        if self.staged.take().is_some() {
            self.reboot = None;
        }
        if self.by_reboot.is_some() && self.runs != release {
            self.staged = Some(release);
            self.reboot = self.by_reboot;
        } else {
            self.runs = release;
        }
    }

    fn finish(&mut self, job: Job, end: End) {
        if !self.answers {
            return;
        }
        self.job = None;
        match (job, end) {
            (Job::Reboot, end) => {
                self.reboot = None;
                self.runs = self.staged.take().unwrap_or(self.runs);
                self.well = !matches!(end, End::Broken | End::Sick);
            }
            (Job::Take { release, .. }, End::Well | End::Sick) => {
                self.take(release);
                self.failed = None;
                self.well = matches!(end, End::Well);
            }
            (Job::Take { release, attempt }, End::WentBack) => {
                self.failed = Some((release, attempt));
            }
            (Job::Take { release, attempt }, End::Broken) => {
                self.runs = release;
                self.staged = None;
                self.failed = Some((release, attempt));
                self.well = false;
            }
        }
    }
}

pub(super) fn soak(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
