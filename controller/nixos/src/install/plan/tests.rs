//! What holds for every machine, whatever it was and wherever an installation of it was cut off.

use cim_plan::testkit::assert_converges;
use proptest::prelude::*;

use super::*;
use crate::install::{Consent, Job};

const SYSTEM: &str = "x86_64-linux";

fn path(name: &str) -> StorePath {
    format!("/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-{name}").parse().unwrap()
}

fn disk(path: &str, serial: Option<&str>, ids: &[&str]) -> Disk {
    Disk {
        path: path.to_owned(),
        size_bytes: 1 << 34,
        model: None,
        serial: serial.map(str::to_owned),
        ids: ids.iter().map(ToString::to_string).collect(),
    }
}

fn facts() -> Facts {
    Facts {
        system: Some(SYSTEM.to_owned()),
        memory_bytes: Some(4 << 30),
        boot_id: Some("b1".to_owned()),
        is_root: true,
        disks: vec![
            disk("/dev/sda", Some("S1"), &["ata-A_S1"]),
            disk("/dev/sdb", Some("S2"), &["ata-B_S2"]),
            disk("/dev/vda", None, &[]),
        ],
        ..Facts::default()
    }
}

fn wanted() -> Installation {
    Installation {
        disko_script: path("disko"),
        toplevel: path("nixos-system-host1"),
        disks: vec!["/dev/sda".to_owned()],
        consent: Some(Consent::to_destroy(["S1"])),
        kexec: Some("/kexec.tar.gz".into()),
        files: vec![],
        disk_keys: vec![],
        keep_host_keys: true,
        existing: Existing::Refuse,
        until: Phase::Reboot,
    }
}

/// A machine, as far as an installation sees it.
#[derive(Clone, Debug)]
enum Machine {
    Foreign {
        leaving: bool,
    },
    Installer(InstallerState),
    /// Booted from its disk.
    Runs(StorePath),
}

impl Machine {
    fn seen(&self, wanted: &Installation) -> Seen {
        let facts = Box::new(facts());
        match self {
            Self::Foreign { leaving } => {
                Seen::Foreign { facts, delivered: None, leaving: *leaving, missing: vec![] }
            }
            Self::Installer(state) => {
                Seen::Installer { facts, state: state.clone(), missing: vec![] }
            }
            Self::Runs(closure) if *closure == wanted.toplevel => {
                Seen::Installed { boot_id: "b3".to_owned() }
            }
            Self::Runs(closure) => Seen::Delivered { closure: closure.to_string() },
        }
    }

    fn apply(&mut self, step: &Step) {
        match (&mut *self, step) {
            (Self::Foreign { .. }, Step::Kexec { .. } | Step::Await { phase: Phase::Kexec }) => {
                *self = Self::Installer(InstallerState::default());
            }
            (Self::Installer(state), Step::Await { phase }) => {
                let job = state.job.take().expect("only what runs is awaited");
                assert_eq!(job.phase, *phase);
                let subject = job.subject.parse().unwrap();
                match phase {
                    Phase::Disko => lay_out(state, subject),
                    Phase::Install => fill(state, subject),
                    Phase::Kexec | Phase::Reboot => panic!("{phase} on an installer"),
                }
            }
            (Self::Installer(state), Step::Disko { script, disks }) => {
                assert_eq!(state.job, None, "two at once");
                assert_eq!(*disks, [disk("/dev/sda", Some("S1"), &["ata-A_S1"])]);
                lay_out(state, script.clone());
            }
            (Self::Installer(state), Step::Install { toplevel }) => {
                assert_eq!(state.job, None, "two at once");
                assert!(state.mounted, "there is nothing to install to");
                fill(state, toplevel.clone());
            }
            (Self::Installer(state), Step::Reboot { .. }) => {
                assert_eq!(state.job, None, "rebooted in the middle");
                // What was unmounted is on the disk nevertheless.
                let unmounted = state.install.take().filter(|_| !state.mounted);
                let on_disk = state.system.take().or(unmounted.map(|record| record.subject));
                *self = Self::Runs(on_disk.expect("nothing to boot"));
            }
            (machine, step) => panic!("{step} on {machine:?}"),
        }
    }

    fn lose_power(&mut self) {
        if let Self::Installer(state) = self {
            // The firmware prefers the disk.
            let system = state.system.take().filter(|_| state.job.is_none());
            *self = system.map_or(Self::Foreign { leaving: false }, Self::Runs);
        }
    }
}

fn lay_out(state: &mut InstallerState, subject: StorePath) {
    let disko = Some(Record { subject, status: 0 });
    *state = InstallerState { disko, mounted: true, ..InstallerState::default() };
}

fn fill(state: &mut InstallerState, subject: StorePath) {
    state.system = Some(subject.clone());
    state.install = Some(Record { subject, status: 0 });
}

fn record(name: &'static str) -> impl Strategy<Value = Option<Record>> {
    let subject = prop_oneof![Just(path(name)), Just(path("another"))];
    let record = (subject, prop_oneof![3 => Just(0), 1 => Just(1)])
        .prop_map(|(subject, status)| Record { subject, status });
    prop::option::of(record)
}

fn installer() -> impl Strategy<Value = InstallerState> {
    let system = || prop_oneof![Just(path("nixos-system-host1")), Just(path("another"))];
    let job = prop_oneof![
        prop_oneof![Just(path("disko")), Just(path("another"))]
            .prop_map(|it| Job { phase: Phase::Disko, subject: it.to_string() }),
        system().prop_map(|it| Job { phase: Phase::Install, subject: it.to_string() }),
    ];
    let job = prop::option::of(job);
    let (disko, install) = (record("disko"), record("nixos-system-host1"));
    (job, disko, any::<bool>(), install, prop::option::of(system())).prop_map(
        |(job, disko, mounted, install, system)| {
            // Whatever installs, installs to something.
            let fills = job.as_ref().is_some_and(|job| job.phase == Phase::Install);
            let mounted = mounted || fills;
            // What runs has no record until it ends.
            let install = install.filter(|_| !fills);
            // What is not mounted cannot be seen.
            let system = system.filter(|_| mounted);
            InstallerState { job, disko, mounted, install, system }
        },
    )
}

fn machine() -> impl Strategy<Value = Machine> {
    prop_oneof![
        1 => any::<bool>().prop_map(|leaving| Machine::Foreign { leaving }),
        4 => installer().prop_map(Machine::Installer),
        1 => Just(Machine::Runs(path("nixos-system-host1"))),
    ]
}

fn planned(wanted: &Installation, machine: &Machine) -> Plan<Step> {
    plan(wanted, SYSTEM, &machine.seen(wanted)).unwrap()
}

fn steps(wanted: &Installation, seen: &Seen) -> Vec<String> {
    let plan = plan(wanted, SYSTEM, seen).unwrap();
    plan.changes.iter().map(|step| step.phase().to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn every_machine_is_installed_wherever_it_was_cut_off(machine in machine()) {
        let wanted = wanted();
        assert_converges(&machine, |it| planned(&wanted, it), Machine::apply);
    }

    #[test]
    fn a_power_loss_between_any_two_steps_is_got_over(start in machine(), after in 0..5_usize) {
        let wanted = wanted();
        let mut machine = start;
        planned(&wanted, &machine).changes.iter().take(after).for_each(|it| machine.apply(it));
        machine.lose_power();
        // It may have installed what somebody else had begun; that is reported, not destroyed.
        if !matches!(&machine, Machine::Runs(closure) if *closure != wanted.toplevel) {
            assert_converges(&machine, |it| planned(&wanted, it), Machine::apply);
        }
    }

    #[test]
    fn what_was_laid_out_is_not_destroyed_again(state in installer()) {
        let wanted = wanted();
        let mut machine = Machine::Installer(InstallerState { job: None, ..state });
        let mut destroyed = 0;
        for _ in 0..5 {
            let plan = planned(&wanted, &machine);
            let Some(step) = plan.changes.first() else { break };
            destroyed += usize::from(matches!(step, Step::Disko { .. }));
            machine.apply(step);
        }
        prop_assert!(destroyed <= 1);
        prop_assert!(planned(&wanted, &machine).is_empty());
    }

    #[test]
    fn nothing_is_destroyed_without_consent_to_exactly_that(
        machine in machine(),
        names in prop::collection::btree_set(
            prop::sample::select(vec!["S1", "ata-A_S1", "S2", "/dev/sda", "/dev/vda:17179869184", "X"]),
            0..4,
        ),
    ) {
        let wanted = Installation {
            consent: Some(Consent::to_destroy(names.clone())),
            ..wanted()
        };
        let good = names.contains("S1") || names.contains("ata-A_S1");
        let evil = names.iter().any(|name| !["S1", "ata-A_S1"].contains(name));
        let plan = plan(&wanted, SYSTEM, &machine.seen(&wanted));
        let destroys = |plan: &Plan<Step>| {
            plan.changes.iter().any(|step| matches!(step, Step::Disko { .. }))
        };
        if !good || evil {
            prop_assert!(plan.is_err() || !destroys(&plan.unwrap()));
        } else {
            prop_assert!(plan.is_ok());
        }
    }

    #[test]
    fn phases_come_in_order_and_none_after_the_last_one_asked_for(
        machine in machine(),
        until in prop::sample::select(vec![Phase::Kexec, Phase::Disko, Phase::Install, Phase::Reboot]),
    ) {
        let wanted = Installation { until, ..wanted() };
        let plan = planned(&wanted, &machine);
        let phases: Vec<Phase> = plan
            .changes
            .iter()
            .filter(|step| !matches!(step, Step::Await { .. }))
            .map(Step::phase)
            .collect();
        prop_assert!(phases.is_sorted());
        prop_assert!(plan.changes.iter().all(|step| step.phase() <= until));
    }
}

#[test]
fn a_foreign_machine_goes_through_all_phases_and_an_installer_needs_no_kexec() {
    let wanted = wanted();
    let foreign = Machine::Foreign { leaving: false }.seen(&wanted);
    assert_eq!(steps(&wanted, &foreign), ["kexec", "disko", "install", "reboot"]);
    let installer = Machine::Installer(InstallerState::default()).seen(&wanted);
    let without = Installation { kexec: None, ..wanted };
    assert_eq!(steps(&without, &installer), ["disko", "install", "reboot"]);
}

#[test]
fn every_reason_is_told_at_once() {
    let wanted = Installation {
        kexec: None,
        consent: None,
        disks: vec!["/dev/sda".into(), "/dev/disk/by-id/gone".into()],
        ..wanted()
    };
    let facts = Facts { memory_bytes: Some(1 << 30), is_root: false, ..facts() };
    let seen = Seen::Foreign {
        facts: Box::new(facts),
        delivered: Some("/nix/store/x".into()),
        leaving: false,
        missing: vec!["flock".into()],
    };
    let told: Vec<_> = plan(&wanted, "aarch64-linux", &seen)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(told.len(), 8, "{told:#?}");
    for (line, has) in told.iter().zip([
        "it is x86_64-linux, and the closure is for aarch64-linux",
        "log in as root",
        "lacks flock",
        "ask to replace it",
        "no kexec image is given",
        "1024 MiB of memory",
        "names /dev/disk/by-id/gone, which is not there; it has /dev/sda, /dev/sdb, /dev/vda",
        "on /dev/sda: name it by S1 or ata-A_S1",
    ]) {
        assert!(line.contains(has), "{line:?} has no {has:?}");
    }
}

#[test]
fn a_failure_is_that_of_the_same_step() {
    let wanted = wanted();
    let disko = Step::Disko { script: wanted.disko_script.clone(), disks: vec![] };
    let install = Step::Install { toplevel: wanted.toplevel.clone() };
    let ended = |subject: &StorePath, status| Some(Record { subject: subject.clone(), status });
    let state = InstallerState {
        disko: ended(&wanted.disko_script, 5),
        install: ended(&path("another"), 7),
        ..InstallerState::default()
    };
    assert_eq!(state.failure(&disko), Some(5));
    assert_eq!(state.failure(&install), None, "another closure failed");
    let well = InstallerState { disko: ended(&wanted.disko_script, 0), ..state };
    assert_eq!(well.failure(&disko), None);
}

#[test]
fn what_runs_is_ours_by_its_subject() {
    let wanted = wanted();
    let at = |phase, subject: StorePath| {
        let job = Some(Job { phase, subject: subject.to_string() });
        InstallerState { job, ..InstallerState::default() }.is_at(&wanted)
    };
    assert!(at(Phase::Disko, wanted.disko_script.clone()));
    assert!(at(Phase::Install, wanted.toplevel.clone()));
    assert!(!at(Phase::Disko, path("another")));
    assert!(!InstallerState::default().is_at(&wanted));
}

#[test]
fn what_unmounts_to_reboot_is_not_laid_out_again() {
    let wanted = wanted();
    let done = |subject: &StorePath| Some(Record { subject: subject.clone(), status: 0 });
    let state = InstallerState {
        disko: done(&wanted.disko_script),
        install: done(&wanted.toplevel),
        ..InstallerState::default()
    };
    assert_eq!(steps(&wanted, &Machine::Installer(state.clone()).seen(&wanted)), ["reboot"]);
    // Before anything was installed it is nothing that could be kept.
    let state = InstallerState { install: None, ..state };
    let seen = Machine::Installer(state).seen(&wanted);
    assert_eq!(steps(&wanted, &seen), ["disko", "install", "reboot"]);
}

#[test]
fn a_disk_without_a_name_of_its_own_is_consented_to_by_device_and_size() {
    let consent = Some(Consent::to_destroy(["/dev/vda:17179869184"]));
    let wanted = Installation { consent, disks: vec!["/dev/vda".into()], ..wanted() };
    let seen = Machine::Installer(InstallerState::default()).seen(&wanted);
    assert_eq!(steps(&wanted, &seen), ["disko", "install", "reboot"]);
}

#[test]
fn what_takes_deliveries_is_replaced_only_when_told() {
    let seen = Seen::Foreign {
        facts: Box::new(facts()),
        delivered: Some("/nix/store/x".into()),
        leaving: false,
        missing: vec![],
    };
    assert!(plan(&wanted(), SYSTEM, &seen).is_err());
    let replace = Installation { existing: Existing::Replace, ..wanted() };
    assert_eq!(steps(&replace, &seen).len(), 4);
    // Without root there is no way, told or not.
    let seen = Seen::Delivered { closure: "/nix/store/x".into() };
    assert_eq!(plan(&replace, SYSTEM, &seen).unwrap_err(), [Refused::NotRoot]);
}

#[test]
fn whoever_confirms_reads_which_disk_it_is() {
    let told = |disk: Disk| disk.to_string();
    let model =
        Disk { model: Some("WD Red".to_owned()), ..disk("/dev/sda", Some("S1"), &["ata-A"]) };
    assert_eq!(told(model), "/dev/sda (WD Red, serial S1, 17.1 GB)");
    assert_eq!(told(disk("/dev/sdb", None, &["ata-B"])), "/dev/sdb (ata-B, 17.1 GB)");
    assert_eq!(told(disk("/dev/vda", None, &[])), "/dev/vda (17.1 GB)");
    let of = |size_bytes| told(Disk { size_bytes, ..disk("/dev/vda", None, &[]) });
    assert_eq!(of(4_000_787_030_016), "/dev/vda (4.0 TB)");
    assert_eq!(of(999_999_999), "/dev/vda (999.9 MB)");
    assert_eq!(of(512), "/dev/vda (0.5 kB)");
}
