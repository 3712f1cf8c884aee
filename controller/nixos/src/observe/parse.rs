//! Reads what `observe.sh` tells.

use std::collections::HashMap;

use super::{Activation, HostState, Link, Presence};
use crate::activation::{Job, Outcome};

const SENTINEL: &str = "=cim= ";

/// `ExecMainCode` of a process that exited by itself (`CLD_EXITED`); 0 is one that never ran.
const EXITED: &str = "1";

pub(super) fn host_state(answer: &str) -> Result<HostState, &'static str> {
    let facts = Facts::read(answer);
    if facts.get("end") != Some("ok") {
        return Err("the answer is incomplete");
    }
    let boot_id = facts.get("boot-id").ok_or("no boot id")?.to_owned();
    Ok(HostState {
        current: facts.link("current"),
        booted: facts.link("booted"),
        profile: facts.link("profile"),
        generation: facts.get("generation").and_then(generation),
        boot_id,
        kernel_is_current: match facts.get("same-kernel") {
            Some("yes") => Some(true),
            Some("no") => Some(false),
            _ => None,
        },
        wanted: facts.get("verify").and_then(presence),
        activation: activation(&facts),
        failed_units: facts.number("failed-units"),
        nix_free_bytes: facts.number("nix-free"),
        switch_locked: switch_locked(&facts),
    })
}

struct Facts<'a> {
    /// The last value of each name; empty values are left out.
    one: HashMap<&'a str, &'a str>,
    held: Vec<&'a str>,
}

impl<'a> Facts<'a> {
    fn read(answer: &'a str) -> Self {
        let mut facts = Self { one: HashMap::new(), held: Vec::new() };
        for line in answer.lines() {
            let Some(fact) = line.strip_prefix(SENTINEL) else { continue };
            let (name, value) = fact.split_once(' ').unwrap_or((fact, ""));
            match (name, value.trim()) {
                (_, "") => {}
                ("held", value) => facts.held.push(value),
                (name, value) => {
                    facts.one.insert(name, value);
                }
            }
        }
        facts
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.one.get(name).copied()
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }

    fn link(&self, name: &str) -> Link {
        match self.get(name) {
            None => Link::Missing,
            Some(text) => text
                .parse()
                .map_or_else(|_| Link::Foreign(text.chars().take(200).collect()), Link::Closure),
        }
    }
}

/// 42 of `system-42-link`.
fn generation(link: &str) -> Option<u64> {
    link.rsplit('/').next()?.strip_prefix("system-")?.strip_suffix("-link")?.parse().ok()
}

/// The exit status of `nix store verify` is a bit mask (NixOS/nix `src/nix/verify.cc`): 1 corrupted
/// or not valid, 2 untrusted, 4 failed.
fn presence(status: &str) -> Option<Presence> {
    match status {
        "0" => Some(Presence::Signed),
        "2" => Some(Presence::Unsigned),
        "1" => Some(Presence::Absent),
        _ => None,
    }
}

fn activation(facts: &Facts<'_>) -> Option<Activation> {
    if facts.get("unit-LoadState").is_none_or(|state| state == "not-found") {
        return None;
    }
    let job = facts.get("unit-Description").and_then(Job::from_description);
    // Just begun: queued in systemd and not yet "activating".
    if facts.get("unit-Job").is_some_and(|queued| queued != "0") {
        return Some(Activation { job, outcome: None });
    }
    let status = facts.number("unit-ExecMainStatus");
    let outcome = match (facts.get("unit-ActiveState")?, facts.get("unit-ExecMainCode"), status) {
        ("activating" | "deactivating" | "reloading" | "refreshing", _, _) => None,
        (_, Some(EXITED), Some(status)) => Some(Outcome::from_status(status)),
        // The main process never ran: what precedes it, setting the profile, failed or was stopped.
        (_, Some("0"), _) if facts.get("unit-Result") == Some("exit-code") => {
            Some(Outcome::ProfileNotSet)
        }
        _ => Some(Outcome::Interrupted),
    };
    Some(Activation { job, outcome })
}

/// Whether a process holds the lock of `switch-to-configuration`. Asked of `/proc/locks` and not by
/// trying to lock, which could make a real activation fail in that moment.
fn switch_locked(facts: &Facts<'_>) -> bool {
    let Some(file) = facts.get("lock").and_then(as_in_proc_locks) else { return false };
    facts.held.contains(&format!("FLOCK WRITE {file}").as_str())
}

/// `00:1a:4711`, as in `/proc/locks`, of `1a:4711`, device and inode as stat(1) writes them. The
/// device is Linux's 32-bit one: minor's low byte, twelve bits of major, minor's rest.
fn as_in_proc_locks(file: &str) -> Option<String> {
    let (device, inode) = file.split_once(':')?;
    let device = u32::from_str_radix(device, 16).ok()?;
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    Some(format!("{major:02x}:{minor:02x}:{inode}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-nixos-system-host1";

    fn answer(unit: &str) -> String {
        format!(
            "Welcome to host1!\n=cim= current {A}\n=cim= booted \n=cim= profile {A}\n\
             =cim= generation system-42-link\n=cim= boot-id 4d0f\n=cim= same-kernel \n\
             =cim= verify 2\n{unit}\n=cim= failed-units 3\n=cim= nix-free 1024\n\
             =cim= lock 1a:77\n=cim= held FLOCK WRITE 00:1a:77\n=cim= held POSIX WRITE 00:1a:78\n\
             =cim= end ok\n"
        )
    }

    fn unit(active: &str, code: &str, status: &str, result: &str) -> String {
        format!(
            "=cim= unit-LoadState loaded\n=cim= unit-ActiveState {active}\n\
             =cim= unit-ExecMainCode {code}\n=cim= unit-ExecMainStatus {status}\n\
             =cim= unit-Result {result}\n=cim= unit-Description cim-activate switch {A}"
        )
    }

    #[test]
    fn every_fact_has_its_place_and_noise_has_none() {
        let state = host_state(&answer("=cim= unit-LoadState not-found")).unwrap();
        assert_eq!(state.current.closure().unwrap().as_str(), A);
        assert_eq!(state.booted, Link::Missing);
        assert_eq!((state.generation, state.boot_id.as_str()), (Some(42), "4d0f"));
        assert_eq!((state.kernel_is_current, state.wanted), (None, Some(Presence::Unsigned)));
        assert_eq!((state.failed_units, state.nix_free_bytes), (Some(3), Some(1024)));
        assert_eq!((state.activation, state.switch_locked), (None, true));
    }

    #[test]
    fn only_the_lock_of_switch_to_configuration_counts() {
        let locked = |text: &str| host_state(text).unwrap().switch_locked;
        assert!(!locked(&answer("").replace("WRITE 00:1a:77", "WRITE 00:1b:77")));
        assert!(!locked(&answer("").replace("lock 1a:77", "lock 1a:78")));
        assert_eq!(as_in_proc_locks("10305:9").as_deref(), Some("103:05:9"));
    }

    #[test]
    fn a_link_out_of_the_store_is_foreign() {
        let text = answer("").replace(&format!("current {A}"), "current /srv/evil");
        assert_eq!(host_state(&text).unwrap().current, Link::Foreign("/srv/evil".into()));
    }

    #[test]
    fn an_answer_that_was_cut_off_is_no_answer() {
        let whole = answer("");
        assert!(host_state(whole.strip_suffix("=cim= end ok\n").unwrap()).is_err());
        assert!(host_state("").is_err());
    }

    #[test]
    fn the_unit_tells_whether_it_runs_and_how_it_ended() {
        let outcome =
            |unit: String| host_state(&answer(&unit)).unwrap().activation.unwrap().outcome;
        assert_eq!(outcome(unit("activating", "0", "0", "success")), None);
        let queued = unit("inactive", "0", "0", "success") + "\n=cim= unit-Job 4711";
        assert_eq!(outcome(queued), None);
        assert_eq!(outcome(unit("active", "1", "0", "success")), Some(Outcome::Succeeded));
        assert_eq!(outcome(unit("failed", "1", "4", "exit-code")), Some(Outcome::UnitsFailed));
        assert_eq!(outcome(unit("active", "1", "100", "success")), Some(Outcome::RebootRequired));
        assert_eq!(outcome(unit("failed", "0", "0", "exit-code")), Some(Outcome::ProfileNotSet));
        assert_eq!(outcome(unit("failed", "2", "15", "timeout")), Some(Outcome::Interrupted));
        assert_eq!(outcome(unit("failed", "2", "9", "signal")), Some(Outcome::Interrupted));
    }
}
