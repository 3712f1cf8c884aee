//! What must not be installed is told, and is not touched.

use cim_e2e::home::Home;
use serde_json::json;

use super::{DEADLINE, boot_id, in_the_yard, is_complete};
use crate::harness::Outcome;

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
