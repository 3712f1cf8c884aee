//! What every decision must keep to, counted anew from what is true of the machines.

use std::collections::BTreeSet;

use super::super::*;
use super::world::{Host, World};

impl World {
    pub(super) fn assert_lawful(&mut self, fleet: &Fleet, decision: &Decision) {
        let (old, new) = (&self.state, &decision.state);
        let same = old.release == new.release && old.attempt == new.attempt;
        let before = |set: &BTreeSet<String>, name: &String| same && set.contains(name);
        let admitted: Vec<&String> =
            new.admitted.iter().filter(|name| !before(&old.admitted, name)).collect();
        let rebooting: Vec<&String> =
            new.rebooting.iter().filter(|name| !old.rebooting.contains(*name)).collect();
        let told: Vec<&String> =
            new.revoked.iter().filter(|name| !before(&old.revoked, name)).collect();
        self.assert_budget(fleet, new, &admitted, &rebooting, &told);

        for names in [&new.admitted, &new.rebooting, &new.failed, &new.revoked] {
            assert!(names.iter().all(|name| self.hosts.contains_key(name)), "{names:?} are gone");
        }
        for (name, host) in self.hosts.iter().filter(|(_, host)| host.answers && !host.suspended) {
            let failed = host.failed == Some((self.release, new.attempt)) && host.job.is_none();
            assert!(!failed || new.failed.contains(name), "the failure of {name} is seen");
        }
        for name in &new.failed {
            let failure = (self.release, new.attempt, name.clone());
            assert!(self.failures.contains(&failure), "{name} has failed in this attempt");
        }
        assert_eq!(
            new.aborted,
            new.failed.len() >= usize::try_from(self.policy.abort_after).unwrap()
                || (same && old.aborted),
            "so many failures abort, no less"
        );
        let held = self.policy.paused || !self.open || new.aborted;
        assert!(!held || admitted.is_empty(), "nobody is admitted while it is held");
        assert_eq!(new.held, held);
        assert!(told.is_empty() || (new.aborted && !self.policy.paused));
        for name in &admitted {
            let machine = &fleet.machines[*name];
            assert!(self.hosts[*name].wave <= new.wave, "{name} is out of order");
            if same && old.completed {
                self.assert_comes_in_order(name);
            }
            assert_ne!(machine.standing, Standing::Exempt);
            assert_ne!(machine.standing, Standing::Unreachable, "nobody can begin there");
        }
        self.assert_waves(fleet, &decision.state, same);
    }

    /// A machine that came when all was complete follows those of earlier waves that came as well,
    /// and only when these have soaked.
    fn assert_comes_in_order(&self, name: &String) {
        let wave = self.hosts[name].wave;
        let soak = i64::try_from(self.policy.soak.as_secs()).unwrap();
        let takes_part = |host: &Host| host.answers && !host.suspended;
        for (other, host) in &self.hosts {
            if host.wave >= wave || !takes_part(host) {
                continue;
            }
            assert!(host.job.is_none(), "{name} is admitted while {other} is changed");
            let has = host.has(self.release) && host.boots(self.release);
            assert!(has || !host.well, "{name} is admitted before {other}");
            let soaked = self.arrived.get(other).is_none_or(|at| self.now - at >= soak);
            assert!(soaked, "{name} is admitted before {other} has soaked");
        }
    }

    /// Counted anew, from what is true of the machines.
    fn assert_budget(
        &self,
        fleet: &Fleet,
        new: &State,
        admitted: &[&String],
        rebooting: &[&String],
        told: &[&String],
    ) {
        let serves = |name: &String| {
            let host = &self.hosts[name];
            host.answers && host.well && host.job.is_none()
        };
        let begins = |name: &String| {
            let host = &self.hosts[name];
            let takes = new.admitted.contains(name)
                && !host.boots(self.release)
                && !new.failed.contains(name)
                && !new.aborted;
            let machine = &fleet.machines[name];
            let returns = new.revoked.contains(name)
                && machine.took
                && machine.standing != Standing::StagedBack
                && serves(name);
            // Whether one that fell silent under an earlier release is at work cannot be known. It
            // counts as unavailable in any case.
            let works = host.job.is_some() && host.answers;
            works || takes || returns || new.rebooting.contains(name)
        };
        let taking_part: Vec<&String> = fleet
            .machines
            .iter()
            .filter(|(_, machine)| machine.standing != Standing::Exempt)
            .map(|(name, _)| name)
            .collect();
        let max = usize::try_from(self.policy.max_unavailable).unwrap();
        let parallelism = usize::try_from(self.policy.parallelism).unwrap();
        let moving = taking_part.iter().filter(|name| begins(name)).count();
        let down = taking_part.iter().filter(|name| begins(name) || !serves(name)).count();
        let goes_back = |name: &&&String| new.revoked.contains(**name);
        let forward =
            |names: &[&String]| names.iter().any(|name| serves(name) && !goes_back(&name));
        if forward(admitted) || forward(rebooting) {
            assert!(
                down <= max,
                "{down} of {max} are unavailable, {admitted:?} {rebooting:?} {new:?} {fleet:?}"
            );
        }
        let changes = |name: &&&String| fleet.machines[**name].took && serves(name);
        if !admitted.is_empty() || told.iter().any(|name| changes(&name)) {
            assert!(
                moving <= max.min(parallelism),
                "{moving} move at a time, {admitted:?} {told:?}"
            );
        }
    }

    fn assert_waves(&mut self, fleet: &Fleet, new: &State, same: bool) {
        if !same {
            self.well_since = None;
        }
        let old_wave = if same { self.state.wave } else { 0 };
        let was_completed = self.state.release == new.release && self.state.completed;
        let well = fleet.machines.iter().all(|(name, machine)| {
            let never_admitted = !new.admitted.contains(name);
            self.hosts[name].wave > old_wave
                || matches!(machine.standing, Standing::Exempt | Standing::Updated)
                || (machine.standing == Standing::Unreachable && never_admitted)
        });
        self.well_since = well.then(|| self.well_since.unwrap_or(self.now));
        let goes_on = new.wave > old_wave || (new.completed && !was_completed);
        if goes_on && !was_completed {
            let since = self.well_since.expect("a wave passes only while all its machines do well");
            let touched = new.admitted.iter().any(|name| {
                self.hosts[name].wave == old_wave
                    && fleet.machines[name].standing != Standing::Exempt
            });
            let soak = i64::try_from(self.policy.soak.as_secs()).unwrap();
            // Those of a later wave were perhaps admitted in this decision, those of this one before.
            assert!(!touched || self.now - since >= soak, "a wave soaks before the next begins");
            self.well_since = None;
        }
    }
}
