//! What a machine is, told by any Linux over SSH: nothing of ours and no Nix has to be there.

mod parse;

use std::net::IpAddr;

use serde::Serialize;

use crate::error::Error;
use crate::nix::Limits;
use crate::ssh::{Host, Script};

pub(crate) const SCRIPT: &str = include_str!("facts/facts.sh");
pub(crate) use parse::{Lines, facts as parse};

/// What a machine is, as far as it tells. Not a secret: serial numbers and addresses are in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// As Nix names it: `x86_64-linux`. `None` on another kernel than Linux.
    pub system: Option<String>,
    /// Logical processors in use.
    pub cpus: Option<u32>,
    /// Memory that the kernel manages, in bytes; somewhat less than what is built in.
    pub memory_bytes: Option<u64>,
    /// Who made it, by DMI.
    pub vendor: Option<String>,
    /// What they call it, by DMI or the device tree.
    pub model: Option<String>,
    /// Its serial number; DMI's can be read by root alone.
    pub serial: Option<String>,
    /// What virtualises it, as `systemd-detect-virt` names it; `none` for hardware. `None` where
    /// nothing tells.
    pub virtualization: Option<String>,
    /// The running kernel's release.
    pub kernel: Option<String>,
    /// The version of Nix, as `nix --version` writes it; `None` where there is none.
    pub nix_version: Option<String>,
    /// Changes with each boot.
    pub boot_id: Option<String>,
    /// Whether it runs NixOS.
    pub is_nixos: bool,
    /// Whether it runs an installer, by `VARIANT_ID=installer` in os-release(5): whatever it needs
    /// is in memory, and its disks are free.
    pub is_installer: bool,
    /// Whether whoever asked is root there.
    pub is_root: bool,
    /// Disks with a medium, without loop, RAM, optical and composed devices.
    pub disks: Vec<Disk>,
    /// Network interfaces without the loopback.
    pub interfaces: Vec<Interface>,
    /// The report of nixos-facter as JSON (`hardware.facter.reportPath` of NixOS), where that program
    /// is and root asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facter: Option<serde_json::Value>,
}

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// Its device: `/dev/nvme0n1`. May be another one's after the next boot.
    pub path: String,
    /// In bytes.
    pub size_bytes: u64,
    /// What its maker calls it.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its names below `/dev/disk/by-id`, which stay the same over boots.
    pub ids: Vec<String>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// The kernel's name: `eno1`.
    pub name: String,
    /// Its hardware address.
    pub mac: Option<String>,
    /// Its addresses, without their prefix lengths.
    pub addresses: Vec<IpAddr>,
}

/// Asks `host` what it is, in one round trip. Reads only, and needs no rights: what only root may
/// read (serial numbers, a report of nixos-facter) is left out for others.
///
/// # Errors
/// Those of SSH, and [`Error::BadOutput`] when the machine answers something else.
pub async fn facts(host: &Host, limits: &Limits) -> Result<Facts, Error> {
    let script = Script { what: "telling its facts", text: SCRIPT, args: &[] };
    let answer = host.run(script, limits.command).await?;
    parse(&answer).map_err(|why| Error::BadOutput {
        what: format!("telling the facts of {}", host.name()),
        why: why.to_owned(),
    })
}
