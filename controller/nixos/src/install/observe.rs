//! What an installation has come to on a machine.

use std::str::FromStr;

use super::{InstallerState, Job, Phase, Record, Seen};
use crate::error::Error;
use crate::facts::{self, Facts, Lines};
use crate::nix::Limits;
use crate::observe::{Link, Observed, observe as observe_delivered};
use crate::ssh::{Host, Script};
use crate::store_path::StorePath;

/// The facts come first: what follows uses its functions and what it has read.
const SCRIPT: &str = concat!(include_str!("../facts/facts.sh"), include_str!("look.sh"));

/// Looks at a machine: as root at `bare`, and where that is refused or `toplevel` (if it is known
/// already) runs, as the deploy user at `deploy`.
///
/// # Errors
/// Those of SSH, when neither answers; [`Error::BadOutput`].
pub async fn observe(
    bare: &Host,
    deploy: &Host,
    toplevel: Option<&StorePath>,
    limits: &Limits,
) -> Result<Seen, Error> {
    let script = Script { what: "looking at its installation", text: SCRIPT, args: &[] };
    let answer = match bare.run(script, limits.command).await {
        Ok(answer) => answer,
        // A system of ours lets nobody in as root, and has the host key that it was given.
        Err(error @ (Error::AuthFailed { .. } | Error::HostKeyMismatch { .. })) => {
            return delivered(deploy, toplevel, limits).await.ok_or(error);
        }
        Err(error) => return Err(error),
    };
    let look = parse(&answer).map_err(|why| Error::BadOutput {
        what: format!("looking at {}", bare.name()),
        why: why.to_owned(),
    })?;
    if !look.facts.is_installer && toplevel.is_some_and(|toplevel| look.runs(toplevel)) {
        let seen = delivered(deploy, toplevel, limits).await;
        if let Some(seen @ Seen::Installed { .. }) = seen {
            return Ok(seen);
        }
    }
    Ok(look.into_seen())
}

/// What the deploy user sees, if it gets in.
async fn delivered(deploy: &Host, toplevel: Option<&StorePath>, limits: &Limits) -> Option<Seen> {
    let observed = observe_delivered(deploy, limits, None).await;
    let Observed::Reached(state) = observed else { return None };
    if toplevel.is_some_and(|path| state.current.is(path) && state.profile.is(path)) {
        return Some(Seen::Installed { boot_id: state.boot_id });
    }
    let closure = match state.current {
        Link::Closure(path) => path.to_string(),
        Link::Foreign(path) => path,
        Link::Missing => "no closure".to_owned(),
    };
    Some(Seen::Delivered { closure })
}

#[derive(Debug)]
struct Look {
    facts: Facts,
    missing: Vec<String>,
    takes_deliveries: bool,
    current: Option<String>,
    state: InstallerState,
}

impl Look {
    fn runs(&self, toplevel: &StorePath) -> bool {
        self.current.as_deref() == Some(toplevel.as_str())
    }

    fn into_seen(self) -> Seen {
        let Self { facts, missing, takes_deliveries, current, state } = self;
        let facts = Box::new(facts);
        if facts.is_installer {
            return Seen::Installer { facts, state, missing };
        }
        let current = current.unwrap_or_else(|| "no closure".to_owned());
        let delivered = takes_deliveries.then_some(current);
        let leaving = state.job.is_some_and(|job| job.phase == Phase::Kexec);
        Seen::Foreign { facts, delivered, leaving, missing }
    }
}

fn parse(answer: &str) -> Result<Look, &'static str> {
    let facts = facts::parse(answer)?;
    let mut look = Look {
        facts,
        missing: vec![],
        takes_deliveries: false,
        current: None,
        state: InstallerState::default(),
    };
    let mut whole = false;
    for (name, value) in Lines::of(answer).iter() {
        match name {
            "missing" => look.missing.push(value.to_owned()),
            "delivered" => look.takes_deliveries = true,
            "current" => look.current = Some(value.to_owned()),
            "job" => look.state.job = job(value),
            "disko" => look.state.disko = record(value),
            "install" => look.state.install = record(value),
            "mounted" => look.state.mounted = true,
            "system" => look.state.system = value.parse().ok(),
            "done" => whole = true,
            _ => {}
        }
    }
    if whole { Ok(look) } else { Err("the answer is incomplete") }
}

/// `PHASE SUBJECT`.
fn job(line: &str) -> Option<Job> {
    let (phase, subject) = line.split_once(' ')?;
    let phase = [Phase::Kexec, Phase::Disko, Phase::Install]
        .into_iter()
        .find(|known| known.as_str() == phase)?;
    Some(Job { phase, subject: subject.to_owned() })
}

/// `PATH STATUS`.
pub(super) fn record(line: &str) -> Option<Record> {
    let (subject, status) = line.split_once(' ')?;
    Some(Record { subject: StorePath::from_str(subject).ok()?, status: status.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "=cim= os Linux\n=cim= arch x86_64\n=cim= uid 0\n";
    const PATH: &str = "/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-nixos-system-host1";

    #[test]
    fn the_state_of_an_installer_is_read() {
        let look = parse(&format!(
            "{BOTH}=cim= os-variant installer\n=cim= job install {PATH}\n=cim= disko {PATH} 0\n\
             =cim= mounted yes\n=cim= system {PATH}\n=cim= done ok\n"
        ))
        .unwrap();
        let Seen::Installer { state, .. } = look.into_seen() else { panic!() };
        assert_eq!(state.job.unwrap().phase, Phase::Install);
        assert_eq!(state.disko.unwrap().status, 0);
        assert!(state.mounted);
        assert_eq!(state.system.unwrap().as_str(), PATH);
    }

    #[test]
    fn half_an_answer_is_none() {
        assert!(parse(BOTH).is_err());
    }

    #[test]
    fn a_machine_that_takes_deliveries_is_known_by_its_keys() {
        let look = parse(&format!(
            "{BOTH}=cim= delivered yes\n=cim= current {PATH}\n=cim= job kexec -\n=cim= done ok\n"
        ));
        let Seen::Foreign { delivered, leaving, .. } = look.unwrap().into_seen() else { panic!() };
        assert_eq!(delivered.as_deref(), Some(PATH));
        assert!(leaving);
    }
}
