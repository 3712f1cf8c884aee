//! Reads what `observe.sh` tells.

use std::collections::HashMap;
use std::time::Duration;

use super::records::{Pending, RollbackReason, RolledBack, Staged};
use super::{Activation, HostState, Link, Presence};
use crate::activation::{Job, Outcome};
use crate::store_path::StorePath;

const SENTINEL: &str = "=cim= ";

const LOCK: &str = "/run/nixos/switch-to-configuration.lock'";

/// `ExecMainCode` of a process that exited by itself (`CLD_EXITED`); 0 is one that never ran.
const EXITED: &str = "1";

pub(super) fn host_state(answer: &str) -> Result<HostState, &'static str> {
    let facts = Facts::read(answer);
    if facts.get("done") != Some("ok") {
        return Err("the answer is incomplete");
    }
    let boot_id = facts.get("boot-id").ok_or("no boot id")?.to_owned();
    Ok(HostState {
        current: link(facts.get("current")),
        booted: link(facts.get("booted")),
        profile: link(facts.get("profile")),
        generation: facts.files.iter().find_map(|file| generation(file)),
        boot_id,
        // A container has no kernel of its own.
        kernel_is_current: facts.get("kernels").map(|word| word == "same"),
        wanted: facts.get("verify").and_then(presence),
        activation: activation(&facts),
        rolling_back: rolling_back(&facts),
        pending: pending(&facts),
        rolled_back: facts.get("rolled-back").and_then(rolled_back),
        staged: facts.get("staged").and_then(staged),
        inhibited: facts.get("inhibited").map(|word| word == "yes"),
        switch_locked: switch_locked(&facts),
    })
}

#[derive(Default)]
struct Facts<'a> {
    /// The last value of each name; empty values are left out.
    one: HashMap<&'a str, &'a str>,
    /// Device, inode and name of files: `1a:77 '/run/lock'`, with where it leads if it is a link.
    files: Vec<&'a str>,
    /// What systemd says of each unit, in the order in which it answered.
    units: Vec<HashMap<&'a str, &'a str>>,
}

impl<'a> Facts<'a> {
    fn read(answer: &'a str) -> Self {
        let mut facts = Self::default();
        let mut in_units = false;
        for line in answer.lines() {
            match line.strip_prefix(SENTINEL).map(|fact| fact.split_once(' ').unwrap_or((fact, "")))
            {
                Some(("begin", name)) => {
                    in_units = name == "units";
                    facts.units.push(HashMap::new());
                }
                Some(("end", _)) => in_units = false,
                Some(("file", value)) => facts.files.push(value),
                Some((name, value)) => facts.one(name, value),
                None if in_units => facts.property(line),
                None => {}
            }
        }
        facts
    }

    /// A line of `systemctl show`, which leaves one empty between two units.
    fn property(&mut self, line: &'a str) {
        match (line.split_once('='), self.units.last_mut()) {
            (Some((name, value)), Some(unit)) if !value.trim().is_empty() => {
                unit.insert(name, value.trim());
            }
            (None, _) => self.units.push(HashMap::new()),
            _ => {}
        }
    }

    fn unit(&self, id: &str) -> Option<&HashMap<&'a str, &'a str>> {
        self.units.iter().find(|unit| unit.get("Id") == Some(&id))
    }

    fn one(&mut self, name: &'a str, value: &'a str) {
        if !value.trim().is_empty() {
            self.one.insert(name, value.trim());
        }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.one.get(name).copied()
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }
}

/// A line of words; `-` stands for nothing.
struct Words<'a>(std::str::SplitAsciiWhitespace<'a>);

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Self {
        Self(line.split_ascii_whitespace())
    }

    fn next<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }
}

/// `PATH OLD DEADLINE`, the deadline in seconds since boot.
fn pending(facts: &Facts<'_>) -> Option<Pending> {
    let mut words = Words::of(facts.get("pending")?);
    let closure: StorePath = words.next()?;
    let old = words.next::<String>()?.parse().ok();
    let deadline: u64 = words.next()?;
    let remaining = deadline.saturating_sub(facts.number("uptime").unwrap_or(0));
    let tested = facts.get("tested").is_some();
    Some(Pending { closure, old, tested, remaining: Duration::from_secs(remaining) })
}

fn rolling_back(facts: &Facts<'_>) -> Option<StorePath> {
    let active = facts.unit("cim-rollback.service")?.get("ActiveState").copied();
    let runs = matches!(active, Some("activating" | "deactivating"));
    runs.then(|| pending(facts).map(|pending| pending.closure)).flatten()
}

/// `PATH WHY STATUS WHEN RESTORED`.
fn rolled_back(line: &str) -> Option<RolledBack> {
    let mut words = Words::of(line);
    let closure = words.next()?;
    let why: String = words.next()?;
    let why = RollbackReason::ALL.into_iter().find(|reason| reason.as_str() == why)?;
    let outcome = words.next::<String>()?.parse().ok().map(Outcome::from_status);
    let at = words.next()?;
    let restored = words.next::<String>()?.parse().ok();
    Some(RolledBack { closure, why, outcome, at, restored })
}

/// `PATH BOOT_ID required|asked`.
fn staged(line: &str) -> Option<Staged> {
    let mut words = Words::of(line);
    let (closure, boot_id) = (words.next()?, words.next()?);
    let required = words.next::<String>()? == "required";
    Some(Staged { closure, boot_id, required })
}

/// Where a link leads.
fn link(target: Option<&str>) -> Link {
    let Some(target) = target else { return Link::Missing };
    target.parse().map_or_else(|_| Link::Foreign(target.chars().take(200).collect()), Link::Closure)
}

/// 42 of `… '/nix/var/nix/profiles/system' -> 'system-42-link'`.
fn generation(file: &str) -> Option<u64> {
    let link = file.split_once(" -> ")?.1.trim_matches('\'').rsplit('/').next()?;
    link.strip_prefix("system-")?.strip_suffix("-link")?.parse().ok()
}

/// The exit status of `nix store verify`: a bit mask of 1 corrupted, 2 untrusted, 4 failed (NixOS/nix
/// `src/nix/verify.cc`). A path that is not valid counts as failed.
fn presence(status: &str) -> Option<Presence> {
    match status {
        "0" => Some(Presence::Signed),
        "2" => Some(Presence::Unsigned),
        "1" | "4" | "5" | "6" | "7" => Some(Presence::Absent),
        _ => None,
    }
}

fn activation(facts: &Facts<'_>) -> Option<Activation> {
    let unit = facts.unit("cim-switch.service")?;
    let get = |name: &str| unit.get(name).copied();
    if get("LoadState").is_none_or(|state| state == "not-found") {
        return None;
    }
    let job = get("Description").and_then(Job::from_description);
    // Just begun: queued in systemd and not yet "activating".
    if get("Job").is_some_and(|queued| queued != "0") {
        return Some(Activation { job, outcome: None });
    }
    let status = get("ExecMainStatus").and_then(|status| status.parse().ok());
    let outcome = match (get("ActiveState")?, get("ExecMainCode"), status) {
        ("activating" | "deactivating" | "reloading" | "refreshing", _, _) => None,
        (_, Some(EXITED), Some(status)) => Some(Outcome::from_status(status)),
        // The main process never ran: what precedes it, setting the profile, failed or was stopped.
        (_, Some("0"), _) if get("Result") == Some("exit-code") => Some(Outcome::ProfileNotSet),
        _ => Some(Outcome::Interrupted),
    };
    Some(Activation { job, outcome })
}

/// Whether a process holds the lock of `switch-to-configuration`. Asked of `/proc/locks` and not by
/// trying to lock, which could make a real activation fail in that moment.
fn switch_locked(facts: &Facts<'_>) -> bool {
    let file = facts.files.iter().find_map(|file| file.strip_suffix(LOCK)?.split(' ').next());
    let Some(file) = file.and_then(as_in_proc_locks) else { return false };
    facts.get("held").is_some_and(|held| held.split(' ').any(|it| it == file))
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

    const B: &str = "/nix/store/zdicy5xa3sm4x3ry8sm23sf6ablhv2w7-nixos-system-host1";

    /// Of a machine that was booted with A and runs B, of which the profile is the 42nd.
    fn answer(unit: &str) -> String {
        format!(
            "Welcome to host1!\n=cim= current {B}\n=cim= booted {A}\n=cim= profile {B}\n\
             =cim= kernels differ\n=cim= boot-id 4d0f\n\
             =cim= file 1:5 '/nix/var/nix/profiles/system' -> 'system-42-link'\n\
             =cim= file 1a:77 '/run/nixos/switch-to-configuration.lock'\n\
             =cim= begin units\nId=cim-switch.service\n{unit}\n\n\
             Id=cim-rollback.service\nDescription=cim-rollback.service\nLoadState=not-found\n\
             ActiveState=inactive\n=cim= end units\n\
             =cim= verify 2\n\
             =cim= held  00:1a:76 00:1a:77\n\
             =cim= done ok\n"
        )
    }

    fn unit(active: &str, code: &str, status: &str, result: &str) -> String {
        format!(
            "LoadState=loaded\nActiveState={active}\nJob=\nExecMainCode={code}\n\
             ExecMainStatus={status}\nResult={result}\nDescription=cim-activate test {A}"
        )
    }

    #[test]
    fn every_fact_has_its_place_and_noise_has_none() {
        let state = host_state(&answer("LoadState=not-found\nActiveState=inactive")).unwrap();
        let path = |link: &Link| link.closure().unwrap().to_string();
        assert_eq!(path(&state.current), B);
        assert_eq!(path(&state.booted), A);
        assert_eq!(path(&state.profile), B);
        assert_eq!((state.generation, state.boot_id.as_str()), (Some(42), "4d0f"));
        assert_eq!(
            (state.kernel_is_current, state.wanted),
            (Some(false), Some(Presence::Unsigned))
        );
        assert_eq!((state.activation, state.switch_locked), (None, true));
    }

    #[test]
    fn the_records_of_the_machine_are_read() {
        let text = answer("").replace(
            "=cim= done",
            &format!(
                "=cim= uptime 100\n=cim= pending {A} {B} 160\n=cim= tested yes\n\
                 =cim= rolled-back {B} failed 4 2026-01-02T03:04:05Z 0\n\
                 =cim= staged {A} 4d0f required\n=cim= inhibited yes\n=cim= done"
            ),
        );
        let state = host_state(&text).unwrap();
        let pending = state.pending.unwrap();
        assert_eq!((pending.closure.as_str(), pending.old.unwrap().as_str()), (A, B));
        assert_eq!((pending.tested, pending.remaining), (true, Duration::from_mins(1)));
        let record = state.rolled_back.unwrap();
        assert_eq!((record.closure.as_str(), record.why), (B, RollbackReason::Failed));
        assert_eq!((record.outcome, record.restored), (Some(Outcome::UnitsFailed), Some(0)));
        let staged = state.staged.unwrap();
        assert_eq!((staged.boot_id.as_str(), staged.required), ("4d0f", true));
        assert_eq!((state.inhibited, state.rolling_back.is_none()), (Some(true), true));
        let back = text.replace("ActiveState=inactive", "ActiveState=activating");
        assert_eq!(host_state(&back).unwrap().rolling_back.unwrap().as_str(), A);
        let nothing_before = text.replace(&format!("{A} {B} 160"), &format!("{A} - 60"));
        let pending = host_state(&nothing_before).unwrap().pending.unwrap();
        assert_eq!((pending.old, pending.remaining), (None, Duration::ZERO));
    }

    #[test]
    fn links_may_be_missing_or_lead_elsewhere() {
        let text = answer("")
            .replace(&format!("=cim= booted {A}\n"), "")
            .replace("=cim= kernels differ\n", "")
            .replacen(&format!("current {B}\n"), "current /srv/evil\n", 1);
        let state = host_state(&text).unwrap();
        assert_eq!(state.booted, Link::Missing);
        assert_eq!(state.current, Link::Foreign("/srv/evil".into()));
        assert_eq!(state.kernel_is_current, None);
    }

    #[test]
    fn the_same_kernel_needs_no_reboot() {
        let text = answer("").replace("kernels differ", "kernels same");
        assert_eq!(host_state(&text).unwrap().kernel_is_current, Some(true));
    }

    #[test]
    fn only_the_lock_of_switch_to_configuration_counts() {
        let locked = |text: &str| host_state(text).unwrap().switch_locked;
        assert!(!locked(&answer("").replace("76 00:1a:77", "76 00:1b:77")));
        assert!(!locked(&answer("").replace("file 1a:77", "file 1a:78")));
        assert_eq!(as_in_proc_locks("10305:9").as_deref(), Some("103:05:9"));
    }

    #[test]
    fn how_a_store_holds_a_path_is_told_by_the_status_of_verify() {
        let told = ["0", "2", "4", "6", "127"].map(presence);
        let absent = Some(Presence::Absent);
        let wanted = [Some(Presence::Signed), Some(Presence::Unsigned), absent, absent, None];
        assert_eq!(told, wanted);
    }

    #[test]
    fn an_answer_that_was_cut_off_is_no_answer() {
        let whole = answer("");
        assert!(host_state(whole.strip_suffix("=cim= done ok\n").unwrap()).is_err());
        assert!(host_state("").is_err());
    }

    #[test]
    fn the_unit_tells_whether_it_runs_and_how_it_ended() {
        let outcome =
            |unit: String| host_state(&answer(&unit)).unwrap().activation.unwrap().outcome;
        assert_eq!(outcome(unit("activating", "0", "0", "success")), None);
        let queued = unit("inactive", "0", "0", "success").replace("Job=", "Job=4711");
        assert_eq!(outcome(queued), None);
        assert_eq!(outcome(unit("active", "1", "0", "success")), Some(Outcome::Succeeded));
        assert_eq!(outcome(unit("failed", "1", "4", "exit-code")), Some(Outcome::UnitsFailed));
        assert_eq!(outcome(unit("active", "1", "100", "success")), Some(Outcome::RebootRequired));
        assert_eq!(outcome(unit("failed", "0", "0", "exit-code")), Some(Outcome::ProfileNotSet));
        assert_eq!(outcome(unit("failed", "2", "15", "timeout")), Some(Outcome::Interrupted));
        assert_eq!(outcome(unit("failed", "2", "9", "signal")), Some(Outcome::Interrupted));
    }
}
