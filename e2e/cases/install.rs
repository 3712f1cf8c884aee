//! The first system of a bare machine, against a host of the lab that stands in for one: SSH, copies,
//! stores, boots and jobs are real; the kexec is a reboot, the disk a directory, and the boot loader a
//! file (`fixtures/bare-machine`).

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, resume_unwind},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use cim_e2e::lab::{
    Lab,
    servers::{
        git::Repository,
        host::{DEPLOY_USER, Host as Machine},
    },
    wait_until,
};
use cim_nixos::{
    BuildOptions, Disk, Error, Facts, Host, Hosts, Limits, Nix, PrivateDir, Signer, SigningKey,
    Source, StorePath, Target, facts,
    install::{
        Consent, Deadlines, Existing, ExtraFile, InstallProgress, Installation, Installed,
        Installer, Phase, Refused, Seen, Step, forget, install, observe,
    },
};
use futures::FutureExt;
use serde_json::json;
use tokio::{sync::watch, time::timeout};

use crate::harness::Outcome;
use crate::nixos::{Try, tools};

const SOON: Duration = Duration::from_mins(1);
const MACHINE: u8 = 2;
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// A bare machine and what it takes to install it.
struct Ground<'lab> {
    lab: &'lab Lab,
    nix: Nix,
    scratch: PathBuf,
    signer: Signer,
    bare: Arc<Host>,
    deploy: Arc<Host>,
    /// The new system's host key, private.
    host_key: String,
    disk: Disk,
}

impl<'lab> Ground<'lab> {
    async fn new(lab: &'lab Lab, name: &str) -> Try<Self> {
        let scratch = lab.scratch(name)?;
        let nix = Nix::detect(tools(lab, &scratch)?, Limits::default()).await?;
        let key: SigningKey = lab.nix_key().secret.parse()?;
        let signer = Signer::new(&PrivateDir::open(scratch.join("p"))?, &key)?;
        let hosts = Hosts::new(PrivateDir::open(scratch.join("h"))?, nix.tools().clone());
        let file = scratch.join("host-key").display().to_string();
        lab.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &file])?;
        let host_key = fs::read_to_string(&file)?;
        let machine = lab.host(MACHINE)?;
        let target = |user: &str, key: &str| -> Try<Target> {
            Ok(Target {
                address: machine.address().to_string().parse()?,
                port: 22,
                user: user.parse()?,
                key: lab.deploy_key().private.parse()?,
                host_keys: vec![key.parse()?],
            })
        };
        let bare = hosts.host("bare", target("root", machine.host_key())?)?;
        let new_key = fs::read_to_string(format!("{file}.pub"))?;
        let deploy = hosts.host("machine", target(DEPLOY_USER, &new_key)?)?;
        let disk = Disk::default();
        let mut ground = Self { lab, nix, scratch, signer, bare, deploy, host_key, disk };
        let disks = ground.facts().await?.disks;
        ground.disk = disks.into_iter().next().ok_or("this machine has no disk in /sys/block")?;
        Ok(ground)
    }

    fn machine(&self) -> Try<&Machine> {
        Ok(self.lab.host(MACHINE)?)
    }

    async fn facts(&self) -> Try<Facts> {
        Ok(facts(&self.bare, self.nix.limits()).await?)
    }

    async fn closure(&self, repository: &Repository) -> Try<StorePath> {
        let source = Source::parse(&repository.url(), Some("main"), None)?;
        let source = self.nix.resolve(&source).await?;
        let name = "host2".parse()?;
        let mut evaluation = self.nix.evaluate(&source, None, &[name]).await?;
        let (_, host2) = evaluation.configurations.pop_first().ok_or("not evaluated")?;
        let toplevel = host2?.toplevel;
        self.nix.build(&toplevel, BuildOptions::default()).await?;
        Ok(toplevel.closure)
    }

    /// The disk layout as a store path; `change` makes another of it.
    fn disko(&self, change: impl FnOnce(String) -> String) -> Try<StorePath> {
        let script = fs::read_to_string(fixture("disko"))?.replace("@disk@", &self.disk.path);
        let file = self.scratch.join("disko");
        fs::write(&file, change(script))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        let file = file.display().to_string();
        let args = ["--extra-experimental-features", "nix-command", "store", "add-path", &file];
        Ok(self.lab.tool("nix", &args)?.trim().parse()?)
    }

    /// A kexec image whose `kexec/run` is `script`.
    fn kexec(&self, script: &str) -> Try<PathBuf> {
        let dir = self.scratch.join("image");
        fs::create_dir_all(dir.join("kexec"))?;
        let run = dir.join("kexec/run");
        fs::write(&run, script)?;
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755))?;
        let file = self.scratch.join("kexec.tar.gz");
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(&file).arg("-C").arg(&dir).arg("kexec");
        assert!(tar.status()?.success());
        Ok(file)
    }

    fn wanted(&self, toplevel: &StorePath) -> Try<Installation> {
        Ok(Installation {
            disko_script: self.disko(|script| script)?,
            toplevel: toplevel.clone(),
            disks: vec![self.disk.path.clone()],
            consent: Some(Consent::to_destroy([self.disk.names().swap_remove(0)])),
            kexec: Some(self.kexec(&fs::read_to_string(fixture("run"))?)?),
            files: vec![
                ExtraFile::new(HOST_KEY, 0o600, (0, 0), self.host_key.clone())?,
                ExtraFile::new("/var/lib/cim/token", 0o640, (0, 1000), "hunter2")?,
            ],
            disk_keys: vec![],
            keep_host_keys: false,
            existing: Existing::Refuse,
            until: Phase::Reboot,
        })
    }

    fn installer<'a>(
        &'a self,
        progress: Option<&'a watch::Sender<InstallProgress>>,
    ) -> Installer<'a> {
        Installer {
            nix: &self.nix,
            signer: &self.signer,
            bare: &self.bare,
            deploy: &self.deploy,
            deadlines: Deadlines::default(),
            progress,
            copies: None,
        }
    }

    /// Installs, and again as long as only the connection is at fault, as a controller does.
    async fn install(&self, wanted: &Installation) -> Try<Installed> {
        Ok(wait_until("the machine to answer", SOON, async || {
            match install(self.installer(None), wanted).await {
                Err(error @ (Error::Unreachable { .. } | Error::HostTimeout { .. })) => {
                    Err(error.to_string())
                }
                ended => Ok(ended),
            }
        })
        .await??)
    }

    /// Installs until the machine shows `sign` (a shell test), and is killed then.
    async fn die_when(&self, wanted: &Installation, sign: &str) -> Try<()> {
        let machine = self.machine()?;
        let shown = wait_until(sign, SOON, async || match machine.exec(sign).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        });
        tokio::select! {
            ended = self.install(wanted) => Err(format!("it ended: {ended:?}").into()),
            shown = shown => Ok(shown?),
        }
    }

    async fn refused(&self, wanted: &Installation) -> Try<Vec<Refused>> {
        match install(self.installer(None), wanted).await {
            Err(Error::InstallRefused { why, .. }) => Ok(why),
            other => Err(format!("not refused: {other:?}").into()),
        }
    }

    async fn seen(&self, wanted: &Installation) -> Try<Seen> {
        Ok(observe(&self.bare, &self.deploy, Some(&wanted.toplevel), self.nix.limits()).await?)
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(&Lab::fixture("bare-machine")).join(name)
}

/// Makes the host a bare machine, runs `case`, and makes it what it was, however that ended.
pub(crate) async fn on_bare_metal(lab: &Lab, case: impl AsyncFnOnce() -> Outcome) -> Outcome {
    let machine = lab.host(MACHINE)?;
    for (name, path, mode) in [
        ("nixos-install", "/usr/local/bin/nixos-install", "755"),
        ("firmware", "/usr/local/sbin/firmware", "755"),
        ("firmware.service", "/etc/systemd/system/firmware.service", "644"),
    ] {
        let text = fs::read_to_string(fixture(name))?;
        let write = format!("cat >{path} <<'end-of-file'\n{text}end-of-file\nchmod {mode} {path}");
        machine.exec(&write).await?;
    }
    let key = &lab.deploy_key().public;
    let become_bare = fs::read_to_string(fixture("become.sh"))?;
    machine.exec(&format!("key='{key}'\n{become_bare}")).await?;
    // A failed assertion is no reason to leave it to the next case like this.
    let ended = AssertUnwindSafe(case()).catch_unwind().await;
    let restored = restore(machine).await;
    // What went wrong first tells more.
    ended.unwrap_or_else(|panic| resume_unwind(panic))?;
    restored
}

async fn restore(machine: &Machine) -> Outcome {
    let script = fs::read_to_string(fixture("restore.sh"))?;
    // It may be between two boots.
    wait_until("the machine to be restored", SOON, async || machine.exec(&script).await).await?;
    machine.pull_the_plug().await?;
    Ok(machine.power_on().await?)
}

pub(crate) async fn lines(machine: &Machine, file: &str) -> Try<String> {
    Ok(machine.exec(&format!("cat {file} 2>/dev/null || true")).await?.replace('\n', " "))
}

pub(crate) async fn a_bare_machine_comes_to_take_deliveries(lab: &Lab) -> Outcome {
    on_bare_metal(lab, async || {
        let ground = Ground::new(lab, "i1").await?;
        let machine = ground.machine()?;
        let repository = lab.infra("first").await?;
        let toplevel = ground.closure(&repository).await?;
        let wanted = ground.wanted(&toplevel)?;

        let told = ground.refused(&wanted).await?;
        assert!(matches!(told.as_slice(), [Refused::Delivered { .. }]), "{told:?}");
        machine.exec("rm /etc/cim/delivery-keys").await?;
        let boot = ground.facts().await?.boot_id;

        // Killed while the machine is on its way into the installer.
        ground.die_when(&wanted, "grep -qx begun /srv/kexec.log").await?;
        // Killed while the disk is being laid out.
        ground.die_when(&wanted, "grep -qx begun /srv/disko.log").await?;
        assert_eq!(lines(machine, "/srv/kexec.log").await?, "begun ", "once");
        let facts = ground.facts().await?;
        assert!(facts.is_installer && facts.boot_id != boot, "{facts:?}");
        let Seen::Installer { state, .. } = ground.seen(&wanted).await? else {
            return Err("no installer".into());
        };
        assert_eq!(state.job.map(|job| job.phase), Some(Phase::Disko));
        assert!(state.disko.is_none());

        machine.exec("touch /run/go-on-disko").await?;
        // Killed while it is being installed; before that it awaits what was begun.
        ground.die_when(&wanted, "grep -qx begun /srv/install.log").await?;
        assert_eq!(lines(machine, "/srv/disko.log").await?, "begun ended ", "once");
        let mode = "stat -c '%a %u:%g' /mnt/etc/ssh/ssh_host_ed25519_key /mnt/var/lib/cim/token";
        assert_eq!(machine.exec(mode).await?, "600 0:0\n640 0:1000\n");
        assert_eq!(machine.exec("cat /mnt/var/lib/cim/token").await?, "hunter2");

        // It is let go on only when it is seen to be awaited.
        let (sink, mut progress) = watch::channel(InstallProgress::default());
        let go_on = async {
            let awaited = Some(Step::Await { phase: Phase::Install });
            timeout(SOON, progress.wait_for(|progress| progress.step == awaited)).await??;
            machine.exec("touch /run/go-on-install").await?;
            Try::Ok(())
        };
        let installed = install(ground.installer(Some(&sink)), &wanted);
        let (installed, go_on) = tokio::join!(installed, go_on);
        go_on?;
        let installed = installed?;
        let phases: Vec<_> = installed.done.iter().map(|report| report.step.phase()).collect();
        assert_eq!(phases, [Phase::Install, Phase::Reboot], "{installed:?}");
        assert!(matches!(installed.seen, Seen::Installed { .. }), "{installed:?}");
        assert_eq!(lines(machine, "/srv/install.log").await?, "begun ended ", "once");

        // It runs and boots the closure, from the disk's own store.
        assert_eq!(machine.current_system().await?.as_deref(), Some(toplevel.as_str()));
        assert_eq!(machine.profile().await?.as_deref(), Some(toplevel.as_str()));
        assert!(machine.website().await?.starts_with("host2: "));
        let again = install(ground.installer(None), &wanted).await?;
        assert!(again.done.is_empty(), "{again:?}");
        Ok(())
    })
    .await
}

pub(crate) async fn nothing_is_destroyed_that_nobody_named(lab: &Lab) -> Outcome {
    on_bare_metal(lab, async || {
        let ground = Ground::new(lab, "i2").await?;
        let machine = ground.machine()?;
        machine.exec("rm /etc/cim/delivery-keys; touch /run/go-on-disko").await?;
        let repository = lab.infra("refused").await?;
        let toplevel = ground.closure(&repository).await?;
        let wanted = ground.wanted(&toplevel)?;

        let nobody = Installation { consent: None, ..wanted.clone() };
        let told = ground.refused(&nobody).await?;
        assert!(matches!(told.as_slice(), [Refused::NoConsent { .. }]), "{told:?}");
        let another = Consent::to_destroy(["WD-123"]);
        let told =
            ground.refused(&Installation { consent: Some(another), ..wanted.clone() }).await?;
        let [Refused::NoConsent { .. }, Refused::ConsentElsewhere { name }] = told.as_slice()
        else {
            return Err(format!("{told:?}").into());
        };
        assert_eq!(name, "WD-123");

        let build = repository.read("toplevel/build.sh")?.replace("x86_64-linux", "aarch64-linux");
        repository.commit("Another machine", &[("toplevel/build.sh", &build)]).await?;
        let elsewhere =
            Installation { toplevel: ground.closure(&repository).await?, ..wanted.clone() };
        let told = ground.refused(&elsewhere).await?;
        assert!(matches!(told.as_slice(), [Refused::WrongSystem { .. }]), "{told:?}");

        // On the installer: a layout that speaks of another disk than those consented to.
        machine.exec("echo VARIANT_ID=installer >>/etc/os-release").await?;
        let beside = ground.disko(|script| script + "# wipefs /dev/loop0\n")?;
        let error = install(
            ground.installer(None),
            &Installation { disko_script: beside, ..wanted.clone() },
        )
        .await
        .err()
        .ok_or("another disk was wiped")?;
        assert!(error.to_string().contains("names /dev/loop0"), "{error}");
        assert_eq!(lines(machine, "/srv/disko.log").await?, "", "it did not run");

        // One that fails is told with what it said, and is tried again when that is wanted.
        let fails =
            ground.disko(|script| script + "echo 'no space for a partition' >&2; exit 5\n")?;
        let fails = Installation { disko_script: fails, ..wanted };
        let once = "begun ended ";
        for (again, log) in [(false, once), (false, once), (true, "begun ended begun ended ")] {
            if again {
                forget(&ground.bare, ground.nix.limits()).await?;
            }
            let error = install(ground.installer(None), &fails).await.err().ok_or("it went on")?;
            let told = error.to_string();
            assert!(told.contains("disko failed: exit 5 (no space for a partition)"), "{told}");
            assert_eq!(lines(machine, "/srv/disko.log").await?, log);
        }
        Ok(())
    })
    .await
}

pub(crate) async fn a_kexec_that_does_not_come_back_is_told(lab: &Lab) -> Outcome {
    on_bare_metal(lab, async || {
        let ground = Ground::new(lab, "i3").await?;
        let machine = ground.machine()?;
        machine.exec("rm /etc/cim/delivery-keys").await?;
        let toplevel = ground.closure(&lab.infra("lost").await?).await?;
        let wanted = ground.wanted(&toplevel)?;

        let fails =
            ground.kexec("#!/bin/sh\necho 'kexec_load failed: not permitted' >&2\nexit 3\n")?;
        let fails = Installation { kexec: Some(fails), ..wanted.clone() };
        let error = install(ground.installer(None), &fails).await.err().ok_or("it went on")?;
        let told = error.to_string();
        assert!(told.contains("kexec failed: exit 3 (kexec_load failed: not permitted)"), "{told}");

        // It reboots, and into no installer.
        let elsewhere = ground.kexec("#!/bin/sh\nsetsid sh -c 'sleep 1; reboot' &\n")?;
        let elsewhere = Installation { kexec: Some(elsewhere), ..wanted.clone() };
        let error = install(ground.installer(None), &elsewhere).await.err().ok_or("it went on")?;
        assert!(error.to_string().contains("no installer"), "{error}");
        machine.ready().await?;

        // It is gone for good.
        let gone = ground.kexec("#!/bin/sh\nsystemctl stop ssh.socket ssh.service\n")?;
        let gone = Installation { kexec: Some(gone), ..wanted };
        let deadlines = Deadlines { kexec: Duration::from_secs(5), ..Deadlines::default() };
        let installer = Installer { deadlines, ..ground.installer(None) };
        let error = install(installer, &gone).await.err().ok_or("it came back")?;
        let Error::InstallFailed { phase: Phase::Kexec, why, .. } = &error else {
            return Err(error.into());
        };
        assert!(why.starts_with("no installer after 5s: bare is unreachable"), "{why}");
        assert!(error.to_string().contains("power-cycle it"), "{error}");
        Ok(())
    })
    .await
}

/// The images' module sees nixpkgs by stand-ins here; that they build is not shown.
pub(crate) async fn images_are_made_of_the_machines_own_configuration(lab: &Lab) -> Outcome {
    let images = crate::nix_lib::evaluate(
        lab,
        "images",
        "import ./nix-lib/images.nix { cim = ./cim; nixpkgs = ./nixpkgs; }",
    )?;
    assert_eq!(images["azure"]["delivered"], true, "deliveries reach what boots from it");
    assert_eq!(images["packages"], json!(["host1-azure", "host1-kexec"]));
    assert_eq!(images["unknown"], false, "a variant that nixpkgs has not is refused");
    assert_eq!(images["iso"]["variant"], "iso-installer");
    for (kind, system) in [("netboot", "installer-kexec"), ("diskless", "host1")] {
        let script = &images[kind][2];
        let (name, text) = (script["name"].as_str(), script["path"].as_str());
        let path = format!("r7b3by83ir2s7fd6dqhwi0npkdhn3a94-nixos-system-{system}");
        assert_eq!(name, Some(format!("{path}/netboot.ipxe").as_str()), "{images}");
        let boots = format!("kernel kernel init=/nix/store/{path}/init initrd=initrd quiet");
        assert!(text.is_some_and(|text| text.contains(&boots)), "{images}");
    }
    Ok(())
}
