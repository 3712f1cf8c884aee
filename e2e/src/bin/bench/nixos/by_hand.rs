//! The same work as a person would do it with Nix and ssh in a shell, see `by_hand.sh`.

use std::{
    fmt::Write,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use cim_e2e::lab::{Lab, servers::host::DEPLOY_USER};
use cim_nixos::StorePath;

use super::{
    fleet::Fleet,
    ours::{PASS_WIDTH, WIDTH},
    wire::Interface,
};
use crate::Try;

const SCRIPT: &str = include_str!("by_hand.sh");

pub(super) struct Loop<'a> {
    lab: &'a Lab,
    dir: PathBuf,
    url: String,
    machines: Vec<String>,
}

/// A rollout that went well.
pub(super) struct Rollout {
    /// The closure of each target, in order.
    pub(super) release: Vec<StorePath>,
    pub(super) total: Duration,
    pub(super) bytes: u64,
}

impl<'a> Loop<'a> {
    pub(super) fn new(fleet: &Fleet<'a>) -> Try<Self> {
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
        Ok(Self { lab: fleet.lab, dir, url: fleet.repository.url(), machines })
    }

    /// From a commit to its activation on all targets.
    pub(super) fn roll_out(&self, rev: &str) -> Try<Rollout> {
        let (began, before) = (Instant::now(), Interface::read()?);
        let url = format!("{}?ref=main&rev={rev}", self.url);
        let printed = self.run("roll-out", &[&url, &WIDTH.to_string()])?;
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
        let (script, dir) = (self.dir.join("by_hand.sh"), self.dir.display().to_string());
        let script = script.display().to_string();
        let words = [&script, verb, &*dir].into_iter().chain(args.iter().copied());
        let words: Vec<&str> = words.chain(self.machines.iter().map(String::as_str)).collect();
        Ok(self.lab.tool("sh", &words)?)
    }
}
