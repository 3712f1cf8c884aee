//! What a person has confirmed is done once, whoever is killed meanwhile.

use cim_e2e::home::Home;
use serde_json::json;

use super::{DEADLINE, MACHINE, boot_id, in_the_yard};
use crate::harness::Outcome;

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
        yard.is_installed().await?;
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
        yard.is_installed().await?;
        home.all_ready(DEADLINE).await?;
        yard.done_once().await
    })
    .await
}
