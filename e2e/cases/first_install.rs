//! The first system of a bare machine as its owner has it installed: with kubectl and cimctl, by the
//! controller, against the stand-in of `fixtures/bare-machine`.

use std::{
    error::Error,
    fs,
    panic::{AssertUnwindSafe, resume_unwind},
    time::Duration,
};

use cim_e2e::{
    home::{Home, Object},
    lab::servers::host::Host,
};
use futures::FutureExt;
use serde_json::{Value, json};

use crate::cimctl::{Told, cimctl_in};
use crate::harness::Outcome;
use crate::install::{lines, on_bare_metal};

type Try<T> = Result<T, Box<dyn Error + Send + Sync>>;

const DEADLINE: Duration = Duration::from_mins(2);
const MACHINE: &str = "bare1";

/// The bare machine, its objects, and whoever owns it.
struct Yard<'h> {
    home: &'h Home,
    host: &'h Host,
}

/// Makes the host bare, lets the controller see it, runs `case`, and takes all of it away again.
async fn in_the_yard(home: &Home, case: impl AsyncFnOnce(&Yard<'_>) -> Outcome) -> Outcome {
    on_bare_metal(home.lab(), async || {
        let host = home.hosts().first().ok_or("no host")?;
        let yard = Yard { home, host };
        yard.open().await?;
        // A failed assertion is no reason to leave it to the next case like this.
        let ended = AssertUnwindSafe(case(&yard)).catch_unwind().await;
        let closed = yard.close().await;
        ended.unwrap_or_else(|panic| resume_unwind(panic))?;
        closed
    })
    .await
}

impl Yard<'_> {
    async fn open(&self) -> Try<()> {
        let file = self.home.lab().scratch("first-install")?.join("host-key");
        if !file.exists() {
            let file = file.display().to_string();
            let words = ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &file];
            self.home.lab().tool("ssh-keygen", &words)?;
        }
        let private = fs::read_to_string(&file)?;
        let public = fs::read_to_string(file.with_extension("pub"))?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "bare1-host-key", "namespace": self.namespace()},
            "stringData": {"ssh-privatekey": private, "known_hosts": public},
        });
        self.home.kubectl().apply(&secret.to_string()).await?;
        self.home.start_controller().await?;
        Ok(())
    }

    async fn close(&self) -> Outcome {
        let namespace = self.namespace();
        let words =
            ["delete", "machines.cim.dev", "--all", "--namespace", namespace, "--timeout=30s"];
        let deleted = self.home.kubectl().run(&words).await;
        self.home.controller().kill().await?;
        deleted?;
        Ok(())
    }

    fn namespace(&self) -> &'static str {
        self.home.estate().namespace
    }

    async fn machine(&self) -> Try<Object> {
        Ok(self.home.object("machines", MACHINE).await?)
    }

    async fn patch(&self, patch: &Value) -> Try<()> {
        let patch = patch.to_string();
        let namespace = self.namespace();
        let words =
            ["patch", "machines.cim.dev", MACHINE, "-n", namespace, "--type=merge", "-p", &patch];
        self.home.kubectl().run(&words).await?;
        Ok(())
    }

    async fn cimctl(&self, words: &[&str]) -> Try<Told> {
        let kubeconfig = self.home.lab().kubernetes()?.kubeconfig();
        Ok(cimctl_in(self.namespace(), kubeconfig, words).await?)
    }

    /// Waits until the condition has the reason.
    async fn says(&self, condition: &str, reason: &str) -> Try<Object> {
        let what = format!("{condition} to say {reason}");
        let said = self.home.eventually(&what, DEADLINE, async || {
            let machine = self.machine().await.map_err(|error| error.to_string())?;
            match machine.condition(condition) {
                Some((_, found, _)) if found == reason => Ok(machine),
                found => Err(format!("{found:?}")),
            }
        });
        Ok(said.await?)
    }

    /// Waits until the machine shows `sign` (a shell test).
    async fn shows(&self, sign: &str) -> Try<()> {
        let shown = self.home.eventually(sign, DEADLINE, async || {
            self.host.exec(sign).await.map(drop).map_err(|error| error.to_string())
        });
        Ok(shown.await?)
    }

    /// Describes the disk that the machine told of in the flake, and names it in the spec.
    async fn consent(&self) -> Try<()> {
        let what = "the machine's disks in its status";
        let disk = self.home.eventually(what, DEADLINE, async || {
            let machine = self.machine().await.map_err(|error| error.to_string())?;
            let disk = machine.status()["install"]["disks"][0].clone();
            if disk["device"].is_string() { Ok(disk) } else { Err(machine.to_string()) }
        });
        let disk = disk.await?;
        let device = disk["device"].as_str().unwrap_or_default();
        let layout = format!("{device}\n");
        let files = [("disk", layout.as_str()), ("message", "hello from the first system\n")];
        self.home.repository().commit("Describe the disk", &files).await?;
        self.patch(&json!({"spec": {"install": {"disks": [disk["names"][0]]}}})).await
    }

    /// Confirms the plan that is held. A release that comes meanwhile makes it another one.
    async fn confirm(&self) -> Try<Told> {
        let begun = self.home.eventually("an installation to begin", DEADLINE, async || {
            let told = self.cimctl(&["confirm", "machine/bare1", "--yes"]).await;
            let told = told.map_err(|error| error.to_string())?;
            let machine = self.machine().await.map_err(|error| error.to_string())?;
            let confirmed = &machine.status()["install"]["confirmed"]["plan"];
            if confirmed.is_string() { Ok(told) } else { Err(told.err + &told.out) }
        });
        Ok(begun.await?)
    }

    /// Nothing of an installation has happened on the machine.
    async fn is_untouched(&self, boot: &str) -> Try<()> {
        let traces = "ls -d /srv/*.log /run/cim-install /root/cim-kexec /root/.config/nix /mnt/etc \
            2>/dev/null || true";
        assert_eq!(self.host.exec(traces).await?, "", "something happened");
        assert_eq!(boot_id(self.host).await?, boot, "it was rebooted");
        Ok(())
    }

    async fn done_once(&self) -> Try<()> {
        assert_eq!(lines(self.host, "/srv/kexec.log").await?, "begun ", "once");
        assert_eq!(lines(self.host, "/srv/disko.log").await?, "begun ended ", "once");
        assert_eq!(lines(self.host, "/srv/install.log").await?, "begun ended ", "once");
        Ok(())
    }
}

async fn boot_id(host: &Host) -> Try<String> {
    Ok(host.exec("cat /proc/sys/kernel/random/boot_id").await?)
}

fn is_complete(machine: &Object) -> bool {
    machine.is_ready() && machine.status()["install"]["phase"] == "Complete"
}

pub(crate) async fn a_bare_machine_is_installed_once_somebody_confirms(home: &Home) -> Outcome {
    in_the_yard(home, async |yard| {
        yard.host.exec("rm /etc/cim/delivery-keys").await?;
        let boot = boot_id(yard.host).await?;
        home.apply().await?;

        yard.consent().await?;
        let held = yard.says("Installed", "AwaitsConfirmation").await?;
        assert_eq!(held.condition("Ready").map(|it| it.1), Some("AwaitsConfirmation"), "{held}");
        assert_eq!(held.status()["state"], "Bare");
        assert!(held.status()["facts"]["cpus"].is_number(), "{}", held.status());
        let shown = yard.cimctl(&["plan", "machine/bare1"]).await?.out;
        assert!(shown.contains("DESTROY all that is on /dev/"), "{shown}");
        // Whoever cannot be asked confirms nothing, and neither does the word for another plan.
        assert_ne!(yard.cimctl(&["confirm", "machine/bare1"]).await?.code, 0);
        yard.patch(&json!({"metadata": {"annotations": {"cim.dev/confirm": "0123456789abcdef"}}}))
            .await?;
        home.reconcile("machines", MACHINE).await?;
        yard.patch(&json!({"spec": {"mode": "Plan"}})).await?;
        home.reconcile("machines", MACHINE).await?;
        let planned = yard.machine().await?;
        assert!(planned.status()["plan"]["changes"][0].is_string(), "{}", planned.status());
        yard.patch(&json!({"spec": {"mode": "Correct"}})).await?;
        yard.says("Ready", "AwaitsConfirmation").await?;
        // The Cluster does not wait for it.
        let lab = home.object("clusters", "lab").await?;
        assert_eq!(lab.status()["rollout"]["total"], 0, "{}", lab.status()["rollout"]);
        yard.is_untouched(&boot).await?;

        let told = yard.cimctl(&["confirm", "machine/bare1", "--dry-run"]).await?;
        assert!(told.err.contains("IS DESTROYED"), "{}", told.err);
        yard.is_untouched(&boot).await?;
        yard.confirm().await?;
        yard.shows("grep -qx begun /srv/disko.log").await?;
        let busy = yard.machine().await?;
        assert_eq!(busy.status()["state"], "Installing", "{}", busy.status());
        yard.host.exec("touch /run/go-on-disko").await?;
        yard.shows("grep -qx begun /srv/install.log").await?;
        yard.host.exec("touch /run/go-on-install").await?;
        let what = "the machine to be installed";
        home.eventually(what, DEADLINE, async || {
            let machine = yard.machine().await.map_err(|error| error.to_string())?;
            if is_complete(&machine) { Ok(()) } else { Err(machine.to_string()) }
        })
        .await?;
        yard.done_once().await?;
        let machine = yard.machine().await?;
        assert_eq!(machine.condition("Installed").map(|it| it.0), Some("True"));
        let target = machine.status()["target"]["outPath"].as_str().map(str::to_owned);
        assert_eq!(yard.host.profile().await?, target);
        assert_eq!(yard.host.website().await?, "bare1: hello from the first system");

        // From now on it is a machine like any other.
        home.repository().commit("Another", &[("message", "delivered\n")]).await?;
        home.eventually("a delivery", DEADLINE, async || match yard.host.website().await {
            Ok(page) if page == "bare1: delivered" => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await?;
        home.all_ready(DEADLINE).await?;
        let again = yard.cimctl(&["confirm", "machine/bare1", "--yes"]).await?;
        assert!(again.err.contains("holds no plan"), "{}", again.err);
        yard.done_once().await
    })
    .await
}

pub(crate) async fn a_killed_controller_goes_on_and_repeats_nothing(home: &Home) -> Outcome {
    in_the_yard(home, async |yard| {
        yard.host.exec("rm /etc/cim/delivery-keys").await?;
        home.apply().await?;
        yard.consent().await?;
        yard.says("Ready", "AwaitsConfirmation").await?;
        yard.confirm().await?;
        for (begun, go_on) in [
            ("/srv/kexec.log", "true"),
            ("/srv/disko.log", "touch /run/go-on-disko"),
            ("/srv/install.log", "touch /run/go-on-install"),
        ] {
            yard.shows(&format!("grep -qx begun {begun}")).await?;
            home.controller().kill().await?;
            // What runs on the machine goes on meanwhile; a newer release is not what was confirmed.
            yard.host.exec(go_on).await?;
            let message = format!("not what was confirmed, {begun}\n");
            home.repository().commit("Meanwhile", &[("message", &message)]).await?;
            home.start_controller().await?;
        }
        home.eventually("the machine to be installed", DEADLINE, async || {
            let machine = yard.machine().await.map_err(|error| error.to_string())?;
            if is_complete(&machine) { Ok(()) } else { Err(machine.to_string()) }
        })
        .await?;
        home.all_ready(DEADLINE).await?;
        yard.done_once().await
    })
    .await
}

pub(crate) async fn what_nobody_named_is_not_destroyed(home: &Home) -> Outcome {
    in_the_yard(home, async |yard| {
        yard.host.exec("rm /etc/cim/delivery-keys").await?;
        let boot = boot_id(yard.host).await?;
        // The layout of the example names a disk that is not there.
        home.repository().commit("Guess", &[("disk", "/dev/disk/by-id/gone\n")]).await?;
        home.apply().await?;
        let told = yard.says("Installed", "DiskMissing").await?;
        let message = told.condition("Installed").map_or("", |it| it.2);
        assert!(message.contains("/dev/disk/by-id/gone, which is not there"), "{message}");
        assert!(told.is("Stalled"), "{told}");

        yard.consent().await?;
        yard.says("Installed", "AwaitsConfirmation").await?;
        // A consent that also names another disk was meant for another machine.
        let names = yard.machine().await?.spec()["install"]["disks"].clone();
        let more = json!([names[0], "WD-WX11"]);
        yard.patch(&json!({"spec": {"install": {"disks": more}}})).await?;
        let told = yard.says("Installed", "ConsentElsewhere").await?;
        let message = told.condition("Ready").map_or("", |it| it.2);
        assert!(message.contains("names WD-WX11"), "{message}");
        assert!(told.status()["plan"].is_null(), "{}", told.status());
        let told = yard.cimctl(&["confirm", "machine/bare1", "--yes"]).await?;
        assert!(told.err.contains("holds no plan"), "{}", told.err);
        yard.patch(&json!({"spec": {"install": {"disks": null}}})).await?;
        let told = yard.says("Installed", "NoConsent").await?;
        let message = told.condition("Installed").map_or("", |it| it.2);
        assert!(message.contains("name it by"), "{message}");
        yard.is_untouched(&boot).await
    })
    .await
}

pub(crate) async fn what_takes_deliveries_is_not_installed(home: &Home) -> Outcome {
    in_the_yard(home, async |yard| {
        let boot = boot_id(yard.host).await?;
        home.apply().await?;
        // Root gets in, and finds the keys of deliveries: somebody else's machine, it seems.
        let told = yard.says("Installed", "TakesDeliveries").await?;
        assert!(told.is("Stalled"), "{told}");
        yard.is_untouched(&boot).await?;
        yard.host
            .exec("cp -a /srv/before/nix.conf /etc/nix/ && systemctl restart nix-daemon.socket")
            .await?;
        // By the key that it has, deliveries reach it, and it joins without being installed.
        yard.patch(&json!({"spec": {"ssh": {"hostKeysSecretRef": {"name": "host-keys"}}}})).await?;
        home.eventually("a delivery", DEADLINE, async || {
            let machine = yard.machine().await.map_err(|error| error.to_string())?;
            if is_complete(&machine) { Ok(()) } else { Err(machine.to_string()) }
        })
        .await?;
        yard.is_untouched(&boot).await
    })
    .await
}
