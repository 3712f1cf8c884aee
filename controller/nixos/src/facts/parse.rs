//! Reads what `facts.sh` tells.

use std::net::IpAddr;

use serde_json::Value;

use super::{Disk, Facts, Interface};

const SENTINEL: &str = "=cim= ";
/// `/sys/block/*/size` counts these, whatever the disk's own sectors are.
const SECTOR: u64 = 512;
/// No machine has more; a garbled answer does not fill a status.
const MAX_PARTS: usize = 256;
const MAX_TEXT: usize = 256;

/// The facts of an answer: name and value, in order. What a login script wrote is left out.
pub(crate) struct Lines<'a>(&'a str);

impl<'a> Lines<'a> {
    pub(crate) const fn of(answer: &'a str) -> Self {
        Self(answer)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix(SENTINEL)?.split_once(' ')?;
            Some((name, value.trim())).filter(|(_, value)| !value.is_empty())
        })
    }

    /// What stands between `begin NAME` and `end NAME`.
    fn section(&self, name: &str) -> Option<&'a str> {
        let (_, rest) = self.0.split_once(&format!("{SENTINEL}begin {name}\n"))?;
        Some(rest.split_once(&format!("\n{SENTINEL}end {name}"))?.0)
    }
}

pub(crate) fn facts(answer: &str) -> Result<Facts, &'static str> {
    let lines = Lines::of(answer);
    let mut facts = Facts::default();
    let (mut os, mut arch, mut variant) = ("", "", "");
    for (name, value) in lines.iter() {
        match name {
            "os" => os = value,
            "arch" => arch = value,
            "kernel" => facts.kernel = text(value),
            "uid" => facts.is_root = value == "0",
            "boot-id" => facts.boot_id = text(value),
            "cpus" => facts.cpus = value.parse().ok(),
            "memory-kib" => facts.memory_bytes = value.parse().ok().map(|kib: u64| kib * 1024),
            "vendor" => facts.vendor = made(value),
            "model" => facts.model = made(value),
            "tree-model" => facts.model = facts.model.or_else(|| made(value)),
            "serial" => facts.serial = made(value),
            "tree-serial-number" => facts.serial = facts.serial.or_else(|| made(value)),
            "virtualization" => facts.virtualization = text(value),
            "nix" => facts.nix_version = value.split_whitespace().next_back().and_then(text),
            "os-id" => facts.is_nixos = value == "nixos",
            "os-variant" => variant = value,
            _ => part(&mut facts, name, value),
        }
    }
    if os.is_empty() || arch.is_empty() {
        return Err("it tells neither its kernel nor its architecture");
    }
    facts.system = (os == "Linux").then(|| system(arch));
    facts.is_installer = variant == "installer";
    if let Some(report) = lines.section("facter") {
        facts.facter = serde_json::from_str(report).ok();
        refine(&mut facts);
    }
    Ok(facts)
}

/// A line about the disk or interface that was named last.
fn part(facts: &mut Facts, name: &str, value: &str) {
    match name {
        "disk" if facts.disks.len() < MAX_PARTS => {
            facts.disks.push(Disk { path: format!("/dev/{value}"), ..Disk::default() });
        }
        "interface" if facts.interfaces.len() < MAX_PARTS => {
            facts.interfaces.push(Interface { name: value.to_owned(), ..Interface::default() });
        }
        "mac" | "address" => {
            let Some(interface) = facts.interfaces.last_mut() else { return };
            if name == "mac" {
                interface.mac = text(value);
            } else {
                let address = value.split('/').next().map(str::parse::<IpAddr>);
                interface.addresses.extend(address.and_then(Result::ok));
            }
        }
        _ => {
            let Some(disk) = facts.disks.last_mut() else { return };
            match name {
                "disk-sectors" => disk.size_bytes = value.parse().unwrap_or(0) * SECTOR,
                "disk-model" => disk.model = made(value),
                "disk-serial" => disk.serial = made(value),
                "disk-id" if disk.ids.len() < MAX_PARTS => disk.ids.extend(text(value)),
                _ => {}
            }
        }
    }
}

/// What nixos-facter knows better, where it does.
fn refine(facts: &mut Facts) {
    let Some(report) = facts.facter.as_ref() else { return };
    let at = |path: &str| report.pointer(path).and_then(Value::as_str).and_then(made);
    let vendor = at("/smbios/system/manufacturer");
    let model = at("/smbios/system/product");
    let serial = at("/smbios/system/serial");
    let virtualization = at("/virtualisation");
    facts.vendor = facts.vendor.take().or(vendor);
    facts.model = facts.model.take().or(model);
    facts.serial = facts.serial.take().or(serial);
    facts.virtualization = facts.virtualization.take().or(virtualization);
}

/// The machine of uname(2) as Nix names it.
fn system(arch: &str) -> String {
    let cpu = match arch {
        "i386" | "i586" | "i686" => "i686",
        "arm64" => "aarch64",
        "ppc64le" => "powerpc64le",
        other => other,
    };
    format!("{cpu}-linux")
}

fn text(value: &str) -> Option<String> {
    let plain: String = value.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect();
    Some(plain.trim().to_owned()).filter(|text| !text.is_empty())
}

/// As [`text`], without what a maker leaves who did not fill the field in.
fn made(value: &str) -> Option<String> {
    let blank = [
        "To be filled by O.E.M.",
        "To Be Filled By O.E.M.",
        "Default string",
        "System Product Name",
        "System manufacturer",
        "System Serial Number",
        "Not Specified",
        "Not Applicable",
        "None",
        "0",
    ];
    text(value).filter(|text| !blank.contains(&text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "\
Welcome to the rescue system
=cim= os Linux
=cim= arch aarch64
=cim= uid 0
=cim= memory-kib 2048
=cim= vendor To Be Filled By O.E.M.
=cim= tree-model Raspberry Pi 4
=cim= nix nix (Nix) 2.28.3
=cim= os-id nixos
=cim= os-variant installer
=cim= disk sda
=cim= disk-sectors 8
=cim= disk-id ata-A_1
=cim= disk-id wwn-0x5
=cim= disk nvme0n1
=cim= disk-sectors 16
=cim= disk-serial S1
=cim= interface eth0
=cim= mac 02:00:00:00:00:01
=cim= address 192.0.2.2/24
=cim= address fd00::2/64
=cim= begin facter
{\"version\":1,\"virtualisation\":\"none\",
\"smbios\":{\"system\":{\"manufacturer\":\"Pi Ltd\",\"serial\":\"None\"}}}
=cim= end facter
";

    #[test]
    fn what_is_told_is_understood_and_what_is_not_is_left_out() {
        let facts = facts(ANSWER).unwrap();
        assert_eq!(facts.system.as_deref(), Some("aarch64-linux"));
        assert_eq!(facts.memory_bytes, Some(2 << 20));
        assert_eq!(facts.nix_version.as_deref(), Some("2.28.3"));
        assert!(facts.is_nixos && facts.is_installer && facts.is_root);
        assert_eq!(facts.model.as_deref(), Some("Raspberry Pi 4"));
        assert_eq!(facts.vendor.as_deref(), Some("Pi Ltd"), "nixos-facter knew it");
        assert_eq!(facts.serial, None);
        assert_eq!(facts.virtualization.as_deref(), Some("none"));
        assert_eq!(facts.disks[0].ids, ["ata-A_1", "wwn-0x5"]);
        assert_eq!(facts.disks[1].size_bytes, 8192);
        assert_eq!(facts.disks[1].serial.as_deref(), Some("S1"));
        assert_eq!(facts.interfaces[0].addresses.len(), 2);
    }

    #[test]
    fn an_answer_of_something_else_is_no_machine() {
        assert!(facts("Please login as the user \"admin\".\n").is_err());
        let bsd = facts("=cim= os FreeBSD\n=cim= arch amd64\n").unwrap();
        assert_eq!(bsd.system, None);
    }

    #[test]
    fn the_script_runs_here_and_tells_at_least_the_kernel() {
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", crate::facts::SCRIPT])
            .output()
            .unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        let facts = facts(&answer).unwrap();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(facts.kernel.as_deref(), Some(kernel.trim()), "{answer}");
        assert!(facts.memory_bytes.unwrap() > 1 << 20);
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
