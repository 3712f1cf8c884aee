//! The base root: one Debian tree from which every host, the controller's container, Knot and the
//! lab's own command-line tools run, each on an overlay of its own.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    cache::{self, Cache},
    progress::Progress,
};
use crate::lab::{
    command,
    error::{During, Result},
};

const SUITE: &str = "trixie";
const MIRROR: &str = "http://deb.debian.org/debian";
const EXPECTED: Duration = Duration::from_mins(1);

/// libdbi-perl is named because debootstrap misses it as a dependency of nix-bin.
const PACKAGES: &[&str] = &[
    "bind9-dnsutils",
    "busybox-static",
    "ca-certificates",
    "curl",
    "dbus",
    "git",
    "iproute2",
    "knot",
    "knot-dnsutils",
    "libdbi-perl",
    "libfaketime",
    "nix-bin",
    "openssh-client",
    "openssh-server",
    "sudo",
    "systemd",
    "systemd-sysv",
];

/// Units that would do something which nobody asked for.
const MASKED: &[&str] = &[
    "knot.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "systemd-tmpfiles-clean.timer",
    "ldconfig.service",
    "systemd-journal-catalog-update.service",
];

/// What is done to the tree after debootstrap; part of the cache's key.
const REVISION: &str = "1";

/// The base root, made by debootstrap if it is not in the cache.
pub(crate) fn obtain(cache: &Cache, progress: &Progress) -> Result<PathBuf> {
    let packages = PACKAGES.join(",");
    let masked = MASKED.join(",");
    let key = cache::key([SUITE, &packages, &masked, REVISION]);
    let waiting = || progress.say("another process makes the base root; waiting for it");
    cache.entry("roots", SUITE, &key, waiting, |scratch| {
        let job = progress.begin("make the hosts' base root", EXPECTED);
        let mut debootstrap = command::contained("debootstrap");
        debootstrap
            .args(["--variant=minbase", &format!("--include={packages}"), SUITE])
            .arg(scratch)
            .arg(MIRROR);
        command::run_watched(debootstrap, |line| job.now(line.trim_start_matches("I: ")))?;
        tidy(scratch)?;
        job.done();
        Ok(())
    })
}

fn tidy(root: &Path) -> Result<()> {
    for dir in ["var/cache/apt/archives", "var/lib/apt/lists", "debootstrap"] {
        let dir = root.join(dir);
        if dir.exists() {
            fs::remove_dir_all(&dir).during("remove", &dir)?;
        }
    }
    // What must differ from host to host must not come from the common root.
    for entry in fs::read_dir(root.join("etc/ssh")).during("list", root.join("etc/ssh"))? {
        let path = entry.during("list", root.join("etc/ssh"))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("ssh_host_") {
            fs::remove_file(&path).during("remove", &path)?;
        }
    }
    for file in ["etc/machine-id", "etc/resolv.conf", "etc/hostname"] {
        let path = root.join(file);
        if path.exists() {
            fs::remove_file(&path).during("remove", &path)?;
        }
    }
    for unit in MASKED {
        let path = root.join("etc/systemd/system").join(unit);
        symlink("/dev/null", &path).during("mask", &path)?;
    }
    Ok(())
}
