//! Nothing is planned while anything speaks against it, and nothing is begun that nobody confirmed.

use cim_crds::cluster::release::BuildOutput;
use cim_crds::machine::system::Target;
use cim_nixos::install::{Consent, Deadlines, Existing, Installation, InstallerState, Phase, Seen};
use cim_nixos::{Disk, Facts};
use proptest::prelude::*;

use super::*;

fn path(name: &str) -> String {
    format!("/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-{name}")
}

fn part(name: &str) -> BuildOutput {
    BuildOutput { drv_path: None, out_path: path(name) }
}

/// What is wanted, and what may speak against it.
#[expect(clippy::struct_excessive_bools, reason = "each of them may or may not be")]
#[derive(Clone, Debug)]
struct Case {
    confirmed: bool,
    /// Nothing is released yet.
    waits: bool,
    failed: bool,
    /// The local store has no closure.
    lost: bool,
    /// The consent is for another disk.
    elsewhere: bool,
    delivered: bool,
    installer: bool,
    unreachable: bool,
}

fn wanted(case: &Case) -> Wanted {
    let target = Target { out_path: Some(path("system")), ..Target::default() };
    let candidate = Candidate {
        target,
        layout: part("disko"),
        devices: vec!["/dev/sda".to_owned()],
        kexec: Some(part("kexec")),
        confirmed: case.confirmed,
    };
    let installation = Installation {
        disko_script: path("disko").parse().expect("a path"),
        toplevel: path("system").parse().expect("a path"),
        disks: vec!["/dev/sda".to_owned()],
        consent: Some(Consent::to_destroy([if case.elsewhere { "S2" } else { "S1" }])),
        kexec: Some(path("kexec").into()),
        files: vec![],
        disk_keys: vec![],
        keep_host_keys: true,
        existing: Existing::Refuse,
        until: Phase::Reboot,
    };
    let waits =
        NotYet::Waits { reason: "ReleasePending", message: "there is no release".to_owned() };
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----";
    Wanted {
        login: cim_nixos::Target {
            address: "10.0.0.11".parse().expect("an address"),
            port: 22,
            user: "root".parse().expect("a user"),
            key: key.parse().expect("a key"),
            host_keys: vec![],
        },
        candidate: if case.waits { Err(waits) } else { Ok(candidate) },
        installation: (!case.waits).then_some(installation),
        signing_key: None,
        deadlines: Deadlines::default(),
        failed: case.failed.then(FailedInstall::default),
    }
}

fn bare(case: &Case) -> Bare {
    let disk = |path: &str, serial: &str| Disk {
        path: path.to_owned(),
        serial: Some(serial.to_owned()),
        ..Disk::default()
    };
    let facts = Box::new(Facts {
        system: Some("x86_64-linux".to_owned()),
        memory_bytes: Some(4 << 30),
        boot_id: Some("b1".to_owned()),
        is_root: true,
        disks: vec![disk("/dev/sda", "S1"), disk("/dev/sdb", "S2")],
        ..Facts::default()
    });
    let seen = if case.unreachable {
        Err(Error::HostTimeout {
            host: "host1".to_owned(),
            command: "look".to_owned(),
            after: std::time::Duration::from_secs(1),
        })
    } else if case.installer {
        Ok(Seen::Installer { facts, state: InstallerState::default(), missing: vec![] })
    } else {
        let delivered = case.delivered.then(|| "no closure".to_owned());
        Ok(Seen::Foreign { facts, delivered, leaving: false, missing: vec![] })
    };
    Bare { seen, system: (!case.lost).then(|| "x86_64-linux".to_owned()) }
}

prop_compose! {
    fn cases()(bits: [bool; 8]) -> Case {
        let [confirmed, waits, failed, lost, elsewhere, delivered, installer, unreachable] = bits;
        Case { confirmed, waits, failed, lost, elsewhere, delivered, installer, unreachable }
    }
}

proptest! {
    #[test]
    fn a_plan_has_nothing_against_it_and_is_held_until_it_is_confirmed(case in cases()) {
        let (wanted, bare) = (wanted(&case), bare(&case));
        let plan = plan(&wanted, &bare);
        let Case { confirmed, waits, failed, lost, elsewhere, delivered, installer, unreachable } =
            case;
        let against =
            waits || failed || lost || elsewhere || unreachable || (delivered && !installer);
        prop_assert_eq!(plan.is_empty(), against);
        let destroys = |change: &Change| matches!(change, Change::Install(Step::Disko { .. }));
        prop_assert_eq!(plan.changes.iter().any(destroys), !against);
        let hold = hold(&wanted, &plan);
        prop_assert_eq!(hold.is_some(), !against && !confirmed);
        if let Some(hold) = hold {
            prop_assert!(hold.message.contains("/dev/sda (serial S1"), "{}", hold.message);
            prop_assert!(!hold.message.contains("/dev/sdb"), "{}", hold.message);
        }
    }
}

#[test]
fn what_failed_is_told_also_while_nobody_answers() {
    let case = Case {
        confirmed: true,
        waits: false,
        failed: true,
        lost: false,
        elsewhere: false,
        delivered: false,
        installer: false,
        unreachable: true,
    };
    let (failed, away) = (wanted(&case), bare(&case));
    assert!(matches!(stand(&failed, &away), Stand::Failed(_)));
    let again = wanted(&Case { failed: false, ..case });
    assert!(matches!(stand(&again, &away), Stand::Unseen(_)));
}
