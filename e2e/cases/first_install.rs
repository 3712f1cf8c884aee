//! The first system of a bare machine as its owner has it installed: with kubectl and cimctl, by the
//! controller, against the stand-in of `fixtures/bare-machine`.

mod done;
mod failed;
mod refused;

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

pub(crate) use done::{
    a_bare_machine_is_installed_once_somebody_confirms,
    a_killed_controller_goes_on_and_repeats_nothing,
};
pub(crate) use failed::{
    a_disk_layout_that_fails_waits_for_a_person, a_kexec_that_does_not_come_back_says_what_to_do,
    a_phase_that_fails_unseen_is_told, a_phase_that_hangs_is_ended_by_its_deadline,
};
pub(crate) use refused::{
    what_nobody_named_is_not_destroyed, what_takes_deliveries_is_not_installed,
};

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
        let before = self.machine().await?.status()["install"]["confirmed"]["plan"].clone();
        let begun = self.home.eventually("an installation to begin", DEADLINE, async || {
            let told = self.cimctl(&["confirm", "machine/bare1", "--yes"]).await;
            let told = told.map_err(|error| error.to_string())?;
            let machine = self.machine().await.map_err(|error| error.to_string())?;
            let confirmed = &machine.status()["install"]["confirmed"]["plan"];
            if confirmed.is_string() && *confirmed != before {
                Ok(told)
            } else {
                Err(told.err + &told.out)
            }
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

    /// Waits until it takes deliveries.
    async fn is_installed(&self) -> Try<()> {
        let installed = self.home.eventually("the machine to be installed", DEADLINE, async || {
            let machine = self.machine().await.map_err(|error| error.to_string())?;
            if is_complete(&machine) { Ok(()) } else { Err(machine.to_string()) }
        });
        Ok(installed.await?)
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
