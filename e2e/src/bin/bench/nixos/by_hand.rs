//! The same work as a person would do it with Nix and ssh in a shell, see `by_hand.sh`.

use std::{
    fmt::Write,
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use cim_e2e::lab::servers::host::DEPLOY_USER;
use cim_nixos::StorePath;

use super::{
    fleet::{Fleet, PATH},
    ours::{PASS_WIDTH, WIDTH},
    wire::Interface,
};
use crate::Try;

const SCRIPT: &str = include_str!("by_hand.sh");

pub(super) struct Loop {
    dir: PathBuf,
    programs: PathBuf,
    url: String,
    machines: Vec<String>,
}

/// How machines are activated.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// And nothing else.
    AtOnce,
    /// With a way back, a login and a confirmation.
    WithCare,
}

/// A rollout that went well.
pub(super) struct Rollout {
    /// The closure of each target, in order.
    pub(super) release: Vec<StorePath>,
    pub(super) total: Duration,
    pub(super) bytes: u64,
}

impl Loop {
    pub(super) fn new(fleet: &Fleet<'_>) -> Try<Self> {
        let dir = fleet.scratch.join("l");
        fs::create_dir_all(&dir)?;
        let mut config = format!(
            "Host *\n  User {DEPLOY_USER}\n  IdentityFile {}\n  UserKnownHostsFile {dir}/known_hosts\n  \
             ControlMaster auto\n  ControlPath {dir}/%n\n  ControlPersist 600\n  LogLevel ERROR\n",
            fleet.lab.deploy_key_file().display(),
            dir = dir.display()
        );
        let mut known_hosts = String::new();
        for target in &fleet.targets {
            let (name, address) = (target.name(), target.address());
            // Writing to a string cannot fail.
            let _ = writeln!(config, "Host {name}\n  HostName {address}");
            let _ = writeln!(known_hosts, "{address} {}", target.host_key());
        }
        fs::write(dir.join("ssh_config"), config)?;
        fs::write(dir.join("known_hosts"), known_hosts)?;
        fs::write(dir.join("key"), &fleet.lab.nix_key().secret)?;
        fs::write(dir.join("by_hand.sh"), SCRIPT)?;
        fs::copy(fleet.settings(), dir.join("nix.conf"))?;
        let machines = fleet.names().map(str::to_owned).collect();
        Ok(Self { dir, programs: fleet.scratch.clone(), url: fleet.repository.url(), machines })
    }

    /// From a commit to its activation on all targets.
    pub(super) fn roll_out(&self, rev: &str, how: How) -> Try<Rollout> {
        let (began, before) = (Instant::now(), Interface::read()?);
        let url = format!("{}?ref=main&rev={rev}", self.url);
        let how = match how {
            How::AtOnce => "at-once",
            How::WithCare => "with-care",
        };
        let printed = self.run("roll-out", &[&url, &WIDTH.to_string(), how])?;
        let (total, bytes) = (began.elapsed(), before.since()?);
        let release = printed.lines().map(str::parse).collect::<Result<Vec<StorePath>, _>>()?;
        if release.len() != self.machines.len() {
            return Err(format!("the loop by hand built {} closures", release.len()).into());
        }
        Ok(Rollout { release, total, bytes })
    }

    /// One multiplexed round trip to each target.
    pub(super) fn round_trips(&self) -> Try<Duration> {
        let began = Instant::now();
        self.run("true", &[&PASS_WIDTH.to_string()])?;
        Ok(began.elapsed())
    }

    fn run(&self, verb: &str, args: &[&str]) -> Try<String> {
        let mut shell = Command::new("sh");
        shell.arg(self.dir.join("by_hand.sh")).arg(verb).arg(&self.dir);
        shell.args(args).args(&self.machines).env_clear();
        // The programs that our side runs, by the same wrappers.
        let path = format!("{}:{PATH}", self.programs.display());
        shell.env("PATH", path).env("HOME", &self.programs);
        let output = shell.output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        Err(format!("by hand: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}
