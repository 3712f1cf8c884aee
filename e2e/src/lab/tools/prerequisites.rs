//! What the machine itself must have. On Debian and Ubuntu it is installed, elsewhere asked for.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use super::progress::Progress;
use crate::lab::{
    command,
    error::{LabError, Result},
};

/// Programs with the Debian package of each.
const PROGRAMS: [(&str, &str); 5] = [
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
];

/// Why this process may not run a lab, in one sentence, or nothing if it may.
pub fn refusal() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("the lab runs containers, which needs Linux".into());
    }
    (!rustix::process::geteuid().is_root())
        .then(|| "the lab runs containers, which needs root: run it with sudo".into())
}

/// Makes sure that every program is there.
pub(crate) fn ensure(progress: &Progress) -> Result<()> {
    if let Some(why) = refusal() {
        return Err(LabError::Prerequisite { what: "root on Linux".into(), remedy: why });
    }
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    if !Path::new("/etc/debian_version").exists() {
        return Err(absent(&missing));
    }
    progress.say(&format!("installing on this machine: {}", packages.join(" ")));
    if install(&packages).is_err() {
        // The usual reason is an image whose package lists are absent or old.
        command::run(apt_get(&["update"]))?;
        install(&packages)?;
    }
    let missing = self::missing();
    if missing.is_empty() { Ok(()) } else { Err(absent(&missing)) }
}

fn absent(missing: &[(&str, &str)]) -> LabError {
    let join = |names: Vec<&str>| names.join(", ");
    let programs = join(missing.iter().map(|(name, _)| *name).collect());
    let packages = join(missing.iter().map(|(_, package)| *package).collect());
    LabError::Prerequisite {
        what: format!("the programs {programs} on PATH"),
        remedy: format!("install what your distribution has for Debian's packages {packages}"),
    }
}

fn missing() -> Vec<(&'static str, &'static str)> {
    let found = |name: &str| {
        let mut probe = Command::new(name);
        probe.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok()
    };
    PROGRAMS.into_iter().filter(|(name, _)| !found(name)).collect()
}

fn install(packages: &[&str]) -> Result<Vec<u8>> {
    command::run(apt_get(&[&["install", "--yes", "--no-install-recommends"], packages].concat()))
}

fn apt_get(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
    command
}
