//! Jobs on the machine: begun detached, watched until they have left a record.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::apply::Watch;
use super::{Deadlines, Installer, Phase};
use crate::error::Error;
use crate::facts::Lines;
use crate::nix::Limits;
use crate::ssh::{Connection, Host, Script};

const START: &str = include_str!("start.sh");
const POLL: &str = include_str!("poll.sh");
/// What runs leaves its record later; only one that is there can have failed.
const FORGET: &str = "\
dir=/run/cim-install
[ -e \"$dir/lock\" ] || exit 0
exec 9>>\"$dir/lock\"
flock -w 5 9 || exit 0
for record in \"$dir/disko\" \"$dir/install\"; do
    [ -r \"$record\" ] || continue
    read -r _ status <\"$record\"
    [ \"$status\" = 0 ] || rm -f \"$record\"
done
";
const LOG: &str = "tail -c 8192 \"/run/cim-install/$1.log\"\n";
const PAUSE: Duration = Duration::from_secs(1);

/// How a job stands.
pub(super) struct Poll {
    pub(super) boot_id: String,
    pub(super) is_installer: bool,
    running: bool,
    /// Its exit status, if it has ended.
    pub(super) status: Option<i32>,
    latest: Option<String>,
}

/// Begins a job. That another runs is an error.
pub(super) async fn start(
    installer: Installer<'_>,
    phase: Phase,
    subject: &str,
    program: &[&str],
) -> Result<(), Error> {
    let limit = installer.deadlines.of(phase).as_secs().max(1).to_string();
    let args: Vec<&str> =
        [phase.as_str(), subject, &limit].into_iter().chain(program.iter().copied()).collect();
    let script = Script { what: "starting a phase of its installation", text: START, args: &args };
    installer.bare.run(script, installer.nix.limits().command).await.map(drop)
}

/// Asks once. `None` when the machine cannot be reached just now.
pub(super) async fn poll(
    host: &Host,
    over: Connection,
    phase: Phase,
    deadline: Duration,
) -> Result<Poll, Error> {
    let args = [phase.as_str()];
    let script = Script { what: "watching its installation", text: POLL, args: &args };
    let output = host.run_over(over, script, deadline).await?;
    if !output.success() {
        return Err(host.failure("watching its installation", &output, false));
    }
    let mut poll = Poll {
        boot_id: String::new(),
        is_installer: false,
        running: false,
        status: None,
        latest: None,
    };
    for (name, value) in Lines::of(&output.stdout).iter() {
        match name {
            "boot-id" => value.clone_into(&mut poll.boot_id),
            "os-variant" => poll.is_installer = value == "installer",
            "running" => poll.running = true,
            "record" => poll.status = value.rsplit(' ').next().and_then(|word| word.parse().ok()),
            "latest" => poll.latest = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(poll)
}

impl Poll {
    /// Why nothing more is to be expected of a job that should still run.
    pub(super) fn ended(&self, phase: Phase, deadlines: &Deadlines) -> Option<String> {
        match self.status {
            _ if self.running => None,
            Some(status) => Some(exit(status, phase, deadlines)),
            None => Some("it was killed, or the machine was rebooted".to_owned()),
        }
    }

    pub(super) fn tell(&self, watch: &Watch<'_>) {
        if let Some(latest) = &self.latest {
            watch.latest(latest);
        }
    }
}

/// What the exit status of a job means, which `timeout` has run.
pub(super) fn exit(status: i32, phase: Phase, deadlines: &Deadlines) -> String {
    let limit = format!("its deadline, deadlines.{phase} = {:?}", deadlines.of(phase));
    match status {
        124 => format!("it did not end within {limit}, and was stopped"),
        // Also how it ends when it does not heed being stopped.
        137 => format!("it was killed: the memory did not suffice, or it outlasted {limit}"),
        status => format!("exit {status}"),
    }
}

/// Waits for a job's end; that the machine cannot be reached meanwhile is no end.
///
/// The machine stops the job itself at its deadline; ours is longer by what that may take.
pub(super) async fn wait(
    installer: Installer<'_>,
    phase: Phase,
    watch: &Watch<'_>,
) -> Result<(), Error> {
    let Installer { bare: host, nix, .. } = installer;
    let after = installer.deadlines.of(phase);
    let deadline = Instant::now() + after + Duration::from_mins(1);
    loop {
        let last = match poll(host, Connection::Shared, phase, nix.limits().command).await {
            Ok(poll) => {
                poll.tell(watch);
                match poll.ended(phase, &installer.deadlines) {
                    Some(_) if poll.status == Some(0) => return Ok(()),
                    Some(why) => return Err(failed(installer, phase, why).await),
                    None => "it still runs".to_owned(),
                }
            }
            Err(error @ Error::HostKeyMismatch { .. }) => return Err(error),
            Err(error) => error.to_string(),
        };
        if Instant::now() + PAUSE >= deadline {
            let why = format!("not done after {after:?}: {last}");
            return Err(failed(installer, phase, why).await);
        }
        sleep(PAUSE).await;
    }
}

/// Forgets which phases have failed on the machine, so that [`super::install`] does them again. Leaves
/// alone what runs and what ended well.
///
/// # Errors
/// Those of SSH.
pub async fn forget(bare: &Host, limits: &Limits) -> Result<(), Error> {
    let script = Script { what: "forgetting what failed", text: FORGET, args: &[] };
    bare.run(script, limits.command).await.map(drop)
}

/// The error of a phase, with the end of its log.
pub(super) async fn failed(installer: Installer<'_>, phase: Phase, why: String) -> Error {
    let log = log(installer, phase).await;
    Error::InstallFailed { host: installer.bare.name().to_owned(), phase, why, log }
}

/// The end of a phase's log. Only explains, so failing to get it is no error.
pub(super) async fn log(installer: Installer<'_>, phase: Phase) -> String {
    let args = [phase.as_str()];
    let script = Script { what: "reading the log of its installation", text: LOG, args: &args };
    let log = installer.bare.run(script, installer.nix.limits().command).await;
    log.map(|log| log.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_named_as_it_is_set() {
        let deadlines = Deadlines { disko: Duration::from_secs(5), ..Deadlines::default() };
        let told = exit(124, Phase::Disko, &deadlines);
        assert!(told.contains("deadlines.disko = 5s"), "{told}");
        assert!(exit(137, Phase::Disko, &deadlines).contains("killed"));
        assert_eq!(exit(5, Phase::Disko, &deadlines), "exit 5");
    }
}
