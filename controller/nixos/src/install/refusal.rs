//! Why nothing is done to a machine.

use std::fmt::{self, Display};

/// A reason not to install. Each is seen before anything is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It runs no Linux.
    NotLinux,
    /// Whoever logs in is not root, or root cannot log in.
    NotRoot,
    /// The closure is for another machine.
    WrongSystem {
        /// What the machine is.
        machine: String,
        /// What the closure is for.
        closure: String,
    },
    /// The installer would not fit into its memory.
    TooLittleMemory {
        /// What it has, in bytes.
        bytes: u64,
    },
    /// It runs no installer, and there is none to boot.
    NoInstaller,
    /// Programs that booting an installer, or running one, needs.
    MissingTools(Vec<String>),
    /// The disk layout names a device that is not there.
    DiskMissing {
        /// The device.
        device: String,
        /// The disks that are there.
        there: Vec<String>,
    },
    /// The disk layout names no disk.
    NoDisks,
    /// Nobody consented to the destruction of a disk.
    NoConsent {
        /// The device.
        device: String,
        /// The names by which it can be consented to.
        names: Vec<String>,
    },
    /// The consent names a disk that is not to be destroyed, or is not there: whoever gave it had
    /// another machine, or another layout, in mind.
    ConsentElsewhere {
        /// The name.
        name: String,
    },
    /// Deliveries reach it already.
    Delivered {
        /// What it runs.
        closure: String,
    },
}

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLinux => f.write_str("it runs no Linux: boot an installer on it"),
            Self::NotRoot => f.write_str(
                "nobody can log in as root: an installation needs root's authorized_keys",
            ),
            Self::WrongSystem { machine, closure } => {
                write!(f, "it is {machine}, and the closure is for {closure}")
            }
            Self::TooLittleMemory { bytes } => write!(
                f,
                "it has {} MiB of memory and the installer needs 1.5 GB: boot it from an ISO or \
                 install an image",
                bytes >> 20
            ),
            Self::NoInstaller => f.write_str(
                "it runs no installer, and no kexec image is given: give one, or boot an installer",
            ),
            Self::MissingTools(tools) => {
                write!(f, "it lacks {}: install them there", tools.join(", "))
            }
            Self::DiskMissing { device, there } => write!(
                f,
                "the disk layout names {device}, which is not there; it has {}",
                if there.is_empty() { "no disk".to_owned() } else { there.join(", ") }
            ),
            Self::NoDisks => f.write_str("no disk of the disk layout is named"),
            Self::NoConsent { device, names } => write!(
                f,
                "nobody consented to the destruction of what is on {device}: name it by {}",
                names.join(" or ")
            ),
            Self::ConsentElsewhere { name } => write!(
                f,
                "the consent names {name}, which the disk layout does not use on this machine: is \
                 it the right one?"
            ),
            Self::Delivered { closure } => write!(
                f,
                "it runs {closure} and takes deliveries: deliver to it, or ask to replace it, which \
                 destroys all that it holds"
            ),
        }
    }
}
