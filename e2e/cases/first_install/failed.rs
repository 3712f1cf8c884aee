//! What fails is told at once, with what to do, and waits for a person: no phase that destroys something
//! runs again by itself, and none that ended well runs twice.

use cim_e2e::home::{Home, Object};
use serde_json::{Value, json};

use super::{DEADLINE, MACHINE, Try, Yard, in_the_yard};
use crate::harness::Outcome;
use crate::install::lines;

impl Yard<'_> {
    /// Has it made bare, described, confirmed; `spec` is what differs from the example's installation.
    async fn begin(&self, spec: Value) -> Try<()> {
        self.host.exec("rm /etc/cim/delivery-keys").await?;
        self.home.apply().await?;
        self.ask(spec).await?;
        self.consent().await?;
        self.says("Ready", "AwaitsConfirmation").await?;
        self.confirm().await.map(drop)
    }

    async fn ask(&self, spec: Value) -> Try<()> {
        self.patch(&json!({"spec": {"install": spec}})).await
    }

    async fn retry(&self) -> Try<()> {
        let told = self.cimctl(&["reconcile", "machine/bare1", "--retry"]).await?;
        assert_eq!(told.code, 0, "{}", told.err);
        Ok(())
    }

    /// Waits until a phase is told to have failed, and has the controller look again.
    async fn has_failed(&self, phase: &str) -> Try<Object> {
        self.says("Installed", "InstallFailed").await?;
        self.home.reconcile("machines", MACHINE).await?;
        let machine = self.machine().await?;
        let (status, reason, message) = machine.condition("Ready").ok_or("no condition Ready")?;
        assert_eq!((status, reason), ("False", "InstallFailed"), "{machine}");
        assert!(message.contains("cimctl reconcile --retry"), "{message}");
        assert!(machine.is("Stalled") && !machine.is("Reconciling"), "{}", machine.status());
        let install = &machine.status()["install"];
        assert_eq!(
            (&install["phase"], &install["failed"]["phase"]),
            (&"Failed".into(), &phase.into())
        );
        Ok(machine)
    }

    async fn has_event(&self, reason: &str, says: &str) -> Try<()> {
        let namespace = self.namespace();
        let list = ["get", "events.events.k8s.io", "--namespace", namespace, "--output=json"];
        let what = format!("an Event {reason}");
        let there = self.home.eventually(&what, DEADLINE, async || {
            let events = self.home.kubectl().run(&list).await.map_err(|error| error.to_string())?;
            let events: Value = serde_json::from_str(&events).map_err(|error| error.to_string())?;
            let has = |event: &Value| {
                let note = event["note"].as_str().unwrap_or_default();
                event["regarding"]["name"] == MACHINE
                    && (&event["reason"], &event["type"]) == (&reason.into(), &"Warning".into())
                    && note.contains(says)
            };
            let found = events["items"].as_array().is_some_and(|events| events.iter().any(has));
            if found { Ok(()) } else { Err(events["items"].to_string()) }
        });
        Ok(there.await?)
    }

    async fn power_cycle(&self) -> Try<()> {
        self.host.pull_the_plug().await?;
        Ok(self.host.power_on().await?)
    }
}

fn installed(machine: &Object) -> &str {
    machine.condition("Installed").map_or("", |(_, _, message)| message)
}

pub(crate) async fn a_disk_layout_that_fails_waits_for_a_person(home: &Home) -> Outcome {
    in_the_yard(home, async |yard| {
        let says = "mkfs.ext4: no space left on device";
        yard.host.exec(&format!("echo '{says}' >/srv/disko-fails")).await?;
        yard.begin(json!({})).await?;
        yard.shows("grep -qx begun /srv/disko.log").await?;
        yard.host.exec("touch /run/go-on-disko").await?;

        let told = yard.has_failed("Disko").await?;
        let message = installed(&told);
        assert!(message.contains(&format!("disko failed: exit 5 ({says})")), "{message}");
        assert!(message.contains("correct the disk layout"), "{message}");
        yard.has_event("InstallFailed", says).await?;
        let logs = yard.cimctl(&["logs", "machine/bare1", "--install"]).await?;
        assert!(logs.out.contains("wiping the disk\n") && logs.out.contains(says), "{}", logs.out);
        home.controller().kill().await?;
        home.start_controller().await?;
        home.reconcile("machines", MACHINE).await?;
        assert_eq!(lines(yard.host, "/srv/disko.log").await?, "begun ", "nobody asked again");

        // A corrected layout is another plan, and what was confirmed is not done instead of it.
        let layout = home.repository().read("machine/disko")? + "# A smaller file system.\n";
        home.repository().commit("Correct the layout", &[("machine/disko", &layout)]).await?;
        yard.says("Installed", "AwaitsConfirmation").await?;
        for _ in 0..2 {
            home.reconcile("machines", MACHINE).await?;
        }
        yard.says("Ready", "AwaitsConfirmation").await?;
        assert_eq!(lines(yard.host, "/srv/disko.log").await?, "begun ", "nobody confirmed");
        yard.host.exec("rm /srv/disko-fails; touch /run/go-on-install").await?;
        yard.confirm().await?;
        yard.is_installed().await?;
        let machine = yard.machine().await?;
        assert!(machine.status()["install"]["failed"].is_null(), "{}", machine.status());
        assert_eq!(lines(yard.host, "/srv/kexec.log").await?, "begun ");
        assert_eq!(lines(yard.host, "/srv/disko.log").await?, "begun begun ended ");
        assert_eq!(lines(yard.host, "/srv/install.log").await?, "begun ended ");
        Ok(())
    })
    .await
}

pub(crate) async fn a_phase_that_fails_unseen_is_told(home: &Home) -> Outcome {
    in_the_yard(home, async |yard| {
        yard.begin(json!({})).await?;
        for phase in ["disko", "install"] {
            yard.shows(&format!("grep -qx begun /srv/{phase}.log")).await?;
            home.controller().kill().await?;
            let says = format!("{phase}: no such device");
            yard.host.exec(&format!("echo '{says}' >/srv/{phase}-fails")).await?;
            yard.host.exec(&format!("touch /run/go-on-{phase}")).await?;
            yard.shows(&format!("grep -q ' [56]$' /run/cim-install/{phase}")).await?;
            home.start_controller().await?;

            let told = yard.has_failed(if phase == "disko" { "Disko" } else { "Install" }).await?;
            let message = installed(&told);
            assert!(message.contains(&format!("{phase} failed: exit ")), "{message}");
            assert!(message.contains(&says), "{message}");
            let log = lines(yard.host, &format!("/srv/{phase}.log")).await?;
            assert_eq!(log, "begun ", "nobody asked again");
            yard.host.exec(&format!("rm /srv/{phase}-fails")).await?;
            yard.retry().await?;
        }
        yard.is_installed().await?;
        assert_eq!(lines(yard.host, "/srv/kexec.log").await?, "begun ");
        assert_eq!(lines(yard.host, "/srv/disko.log").await?, "begun begun ended ");
        assert_eq!(lines(yard.host, "/srv/install.log").await?, "begun begun ended ");
        Ok(())
    })
    .await
}

pub(crate) async fn a_phase_that_hangs_is_ended_by_its_deadline(home: &Home) -> Outcome {
    in_the_yard(home, async |yard| {
        yard.begin(json!({"deadlines": {"disko": "5s"}})).await?;
        let told = yard.has_failed("Disko").await?;
        let message = installed(&told);
        assert!(message.contains("disko failed: it did not end within its deadline"), "{message}");
        assert!(message.contains("deadlines.disko = 5s"), "{message}");
        assert!(message.contains("(wiping the disk)"), "{message}");
        yard.shows("flock -n /run/cim-install/lock true").await?;
        assert_eq!(lines(yard.host, "/srv/disko.log").await?, "begun ");

        // The spec changes; nobody need ask besides.
        yard.host.exec("touch /run/go-on-disko /run/go-on-install").await?;
        yard.ask(json!({"deadlines": {"disko": "10m"}})).await?;
        yard.is_installed().await?;
        assert_eq!(lines(yard.host, "/srv/kexec.log").await?, "begun ");
        assert_eq!(lines(yard.host, "/srv/disko.log").await?, "begun begun ended ");
        assert_eq!(lines(yard.host, "/srv/install.log").await?, "begun ended ");
        Ok(())
    })
    .await
}

pub(crate) async fn a_kexec_that_does_not_come_back_says_what_to_do(home: &Home) -> Outcome {
    in_the_yard(home, async |yard| {
        let advice = "power-cycle it (its disks are untouched)";
        yard.host.exec("touch /srv/kexec-hangs").await?;
        yard.begin(json!({"deadlines": {"kexec": "5s"}})).await?;
        let told = yard.has_failed("Kexec").await?;
        let message = installed(&told);
        assert!(message.contains("kexec failed: no installer after 5s"), "{message}");
        assert!(message.contains(advice), "{message}");
        assert_eq!(told.condition("Reachable").map(|it| it.0), Some("False"), "{told}");
        yard.power_cycle().await?;

        // Again, and the controller dies while it is away.
        yard.ask(json!({"deadlines": {"kexec": "10m"}})).await?;
        yard.shows("[ $(grep -c begun /srv/kexec.log) = 2 ] && ! systemctl is-active ssh").await?;
        home.controller().kill().await?;
        yard.ask(json!({"deadlines": {"kexec": "5s"}})).await?;
        home.start_controller().await?;
        home.eventually("somebody to be told what to do", DEADLINE, async || {
            let machine = yard.machine().await.map_err(|error| error.to_string())?;
            let told = installed(&machine).contains(advice);
            let told = told && installed(&machine).contains("overdue (deadlines.kexec = 5s)");
            if told { Ok(()) } else { Err(machine.to_string()) }
        })
        .await?;

        // It goes on by itself once the machine answers.
        yard.ask(json!({"deadlines": {"kexec": "10m"}})).await?;
        yard.host.exec("rm /srv/kexec-hangs").await?;
        yard.power_cycle().await?;
        for phase in ["disko", "install"] {
            yard.shows(&format!("grep -qx begun /srv/{phase}.log")).await?;
            yard.host.exec(&format!("touch /run/go-on-{phase}")).await?;
        }
        yard.is_installed().await?;
        assert_eq!(lines(yard.host, "/srv/kexec.log").await?, "begun begun begun ");
        assert_eq!(lines(yard.host, "/srv/disko.log").await?, "begun ended ");
        assert_eq!(lines(yard.host, "/srv/install.log").await?, "begun ended ");
        Ok(())
    })
    .await
}
