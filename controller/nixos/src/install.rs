//! The first system on a bare machine: any Linux that root can reach over SSH becomes a NixOS that
//! deliveries can reach.
//!
//! ```text
//! any Linux ──kexec──▶ installer in memory ──disko──▶ /mnt ──install──▶ ──reboot──▶ NixOS
//! ```
//!
//! The phases are those of nixos-anywhere, with store paths that were built before: nothing is
//! evaluated on the way, so what is installed is what was approved. [`plan`] tells from what is seen on the
//! machine which phases are left, so that an installation that was cut off goes on where it was.
//! What runs on the machine runs in a session of its own and keeps a record there: neither our end
//! nor that of the connection stops it half way, and nothing runs twice. What failed there stays failed
//! until somebody has seen it ([`forget`]).

mod apply;
mod files;
mod job;
mod kexec;
mod observe;
mod plan;
mod refusal;

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use crate::facts::{Disk, Facts};
use crate::nix::Nix;
use crate::progress::ProgressSink;
use crate::sign::Signer;
use crate::ssh::Host;
use crate::store_path::StorePath;

pub use apply::install;
pub use files::ExtraFile;
pub use job::forget;
pub use observe::observe;
pub use plan::{InstallerState, Job, Record, Seen, Step, plan};
pub use refusal::Refused;

/// A phase, in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Boot the installer from the running system. Left out where an installer runs already.
    Kexec,
    /// Partition, format and mount the disks. Destroys what is on them.
    Disko,
    /// Bring the closure and the files, and make it bootable.
    Install,
    /// Boot it, and see that deliveries reach it.
    Reboot,
}

impl Phase {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Kexec => "kexec",
            Self::Disko => "disko",
            Self::Install => "install",
            Self::Reboot => "reboot",
        }
    }

    /// What a person does about its failure.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Kexec => {
                "look at its console; if it hangs, power-cycle it (its disks are untouched) or boot \
                 it from the installer's ISO or by network"
            }
            Self::Disko => {
                "nothing is installed; correct the disk layout or the disks, and install again: it \
                 begins with this phase"
            }
            Self::Install => "the disks are laid out; install again: it goes on with this phase",
            Self::Reboot => {
                "look at its console: it may not find its boot loader, its address or its keys; \
                 boot an installer to try again"
            }
        }
    }
}

impl Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is to be on a machine, and what may be done to it for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// `config.system.build.diskoScript`: destroys, formats and mounts at `/mnt`.
    pub disko_script: StorePath,
    /// The closure, `config.system.build.toplevel`.
    pub toplevel: StorePath,
    /// The devices that the disk layout names (`disko.devices.disk.*.device`): `/dev/sda`, or
    /// `/dev/disk/by-id/…`.
    pub disks: Vec<String>,
    /// Leave to destroy exactly those; without it nothing later than [`Phase::Kexec`] is done.
    pub consent: Option<Consent>,
    /// The installer for a machine that runs something else: the tarball of nixos-images, a file of
    /// ours (it may lie in the store).
    pub kexec: Option<PathBuf>,
    /// Files of the new system that no closure may hold: keys.
    pub files: Vec<ExtraFile>,
    /// Files that the disk layout reads on the installer: the keys of encrypted disks.
    pub disk_keys: Vec<ExtraFile>,
    /// Whether the installer's own SSH host keys, which a kexec has kept, become those of the new
    /// system, as far as [`Installation::files`] bring none.
    pub keep_host_keys: bool,
    /// What to do about a machine that runs a closure of ours already.
    pub existing: Existing,
    /// The last phase to do.
    pub until: Phase,
}

/// What to do about a machine that deliveries reach already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Existing {
    /// Refuse: it would lose all that it holds, and a delivery is what it needs.
    #[default]
    Refuse,
    /// Install over it.
    Replace,
}

/// Leave to destroy what is on certain disks. A device's path may be another disk's after the next
/// boot, so it names them by what stays: a serial number or a name below `/dev/disk/by-id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent(BTreeSet<String>);

impl Consent {
    /// To destroy what is on the disks of these names, each one of [`Disk::names`].
    pub fn to_destroy<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }
}

impl Disk {
    /// The names by which a person consents to its destruction: its serial number and its names
    /// below `/dev/disk/by-id`. A disk that has neither (a virtual one) is named by its device and
    /// its size, `/dev/vda:10737418240`.
    pub fn names(&self) -> Vec<String> {
        let names: Vec<String> = self.serial.iter().chain(&self.ids).cloned().collect();
        if names.is_empty() { vec![format!("{}:{}", self.path, self.size_bytes)] } else { names }
    }

    /// Whether a disk layout means it by `device`.
    pub fn is(&self, device: &str) -> bool {
        let id = device.strip_prefix("/dev/disk/by-id/");
        self.path == device || id.is_some_and(|id| self.ids.iter().any(|own| own == id))
    }
}

impl Display for Disk {
    /// `/dev/sda (Samsung SSD 870, serial S5Y1NJ0R, 500.1 GB)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let serial = self.serial.as_ref().map(|serial| format!("serial {serial}"));
        let id = self.ids.first().filter(|_| serial.is_none()).cloned();
        let known = self.model.iter().cloned().chain(serial).chain(id);
        let known: Vec<String> = known.chain([size(self.size_bytes)]).collect();
        write!(f, "{} ({})", self.path, known.join(", "))
    }
}

/// In the units of its maker: powers of 1000, one decimal.
fn size(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB")];
    let (unit, name) = units.into_iter().find(|(unit, _)| bytes >= *unit).unwrap_or((1_000, "kB"));
    let tenths = bytes / (unit / 10);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// The deadline of each phase. A copy has that of [`crate::Limits::copy`] besides.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Until the installer answers. Default 15 min: firmware of servers is slow.
    pub kexec: Duration,
    /// Until the disks are mounted. Default 30 min.
    pub disko: Duration,
    /// Until the closure, which is there, is bootable. Default 30 min.
    pub install: Duration,
    /// Until the new system answers. Default 15 min.
    pub reboot: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let minutes = Duration::from_mins;
        Self { kexec: minutes(15), disko: minutes(30), install: minutes(30), reboot: minutes(15) }
    }
}

impl Deadlines {
    const fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Kexec => self.kexec,
            Phase::Disko => self.disko,
            Phase::Install => self.install,
            Phase::Reboot => self.reboot,
        }
    }
}

/// What installing needs.
#[derive(Clone, Copy)]
pub struct Installer<'a> {
    /// The local Nix; its store has the disko script and the closure.
    pub nix: &'a Nix,
    /// Signs what is copied; the installer is told to trust this key and no other.
    pub signer: &'a Signer,
    /// The machine as root, as it is now and as the installer, which keep the same host key.
    pub bare: &'a Host,
    /// The machine as it will be: the deploy user, and the new system's host key.
    pub deploy: &'a Host,
    /// How long each phase may take.
    pub deadlines: Deadlines,
    /// Where progress goes.
    pub progress: Option<&'a InstallSink>,
    /// Where the progress of copies goes.
    pub copies: Option<&'a ProgressSink>,
}

/// How far an installation is. Only the latest is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallProgress {
    /// What is being done.
    pub step: Option<Step>,
    /// What will be done after that, as far as can be foreseen.
    pub left: Vec<Step>,
    /// What it said last.
    pub latest: Option<String>,
}

/// Where [`InstallProgress`] goes.
pub type InstallSink = watch::Sender<InstallProgress>;

/// How an installation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The machine at the end; read back. [`Seen::Installed`] unless it was to end earlier.
    pub seen: Seen,
    /// What it is, as it told last before it rebooted; `None` when nothing was left to do.
    pub facts: Option<Facts>,
    /// What was done now, in order.
    pub done: Vec<Report>,
}

/// How one step went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The step.
    pub step: Step,
    /// How long it took.
    pub took: Duration,
    /// The end of what it wrote on the machine, at most 8 KiB.
    pub log: String,
}
