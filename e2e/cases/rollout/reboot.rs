//! A kernel takes effect at a boot, which comes when the policy says.

use std::time::Duration;

use cim_e2e::{home::Home, story::complete};
use serde_json::json;
use tokio::time::sleep;

use super::{
    DEADLINE, Try,
    shop::{Machine, Prod1, Prod2, Shop},
};
use crate::harness::Outcome;

const PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn a_reboot_follows_its_policy(home: &Home) -> Outcome {
    let shop = Shop::open(home).await?;
    policy(&shop, "Never").await?;
    // These hosts came up before they had a closure; this is what a boot does with one.
    for machine in [Prod1, Prod2] {
        let booted = "ln -sfn $(readlink -e /run/current-system) /run/booted-system";
        shop.host(machine).exec(booted).await?;
    }
    let before = [boot(&shop, Prod1).await?, boot(&shop, Prod2).await?];
    let kernel = home.repository().read("toplevel/kernel")?;
    let newer = format!("{}.1\n", kernel.trim());
    let revision = shop.release(&[("toplevel/kernel", &newer)]).await?;
    shop.approve().await?;
    let prod = complete(home, "prod", &revision).await?;
    if !prod.is_ready() {
        return Err(format!("a reboot that nobody may make holds: {prod}").into());
    }
    for machine in [Prod1, Prod2] {
        let object = shop.machine(machine).await?;
        if !object.is("RebootRequired") || object.status()["state"] != "RebootRequired" {
            return Err(format!("{object}: {:?}", object.condition("RebootRequired")).into());
        }
        if shop.running(machine).await? != shop.wanted(machine).await? {
            return Err(format!("{machine:?} does not run the release").into());
        }
    }
    if [boot(&shop, Prod1).await?, boot(&shop, Prod2).await?] != before {
        return Err("a machine rebooted against its policy".into());
    }

    policy(&shop, "Immediately").await?;
    let rebooted = shop.until("both to have rebooted", async || {
        for machine in [Prod1, Prod2] {
            let object = shop.machine(machine).await?;
            if object.is("RebootRequired") || !object.is_ready() {
                return Ok(Err(object.to_string()));
            }
        }
        Ok(Ok(()))
    });
    tokio::select! {
        rebooted = rebooted => rebooted?,
        both = both_down(&shop) => return Err(both),
    }
    complete(home, "prod", &revision).await?;
    let after = [boot(&shop, Prod1).await?, boot(&shop, Prod2).await?];
    if after[0] == before[0] || after[1] == before[1] {
        return Err(format!("not every machine rebooted: {before:?}, then {after:?}").into());
    }
    for machine in [Prod1, Prod2] {
        let seen = shop.machine(machine).await?.status()["system"]["bootId"].clone();
        if seen != after[machine as usize - 1].as_str() {
            return Err(format!("{machine:?}: the status holds boot {seen}").into());
        }
    }
    policy(&shop, "InWindow").await?;
    complete(home, "prod", &revision).await?;
    Ok(home.all_ready(DEADLINE).await?)
}

async fn policy(shop: &Shop<'_>, reboot: &str) -> Try<()> {
    for machine in [Prod1, Prod2] {
        let patch = json!({"spec": {"activation": {"reboot": reboot}}});
        shop.patch("machines", machine.name(), &patch).await?;
    }
    Ok(())
}

async fn boot(shop: &Shop<'_>, machine: Machine) -> Try<String> {
    let id = shop.host(machine).exec("cat /proc/sys/kernel/random/boot_id").await?;
    Ok(id.trim().to_owned())
}

/// Ends when nobody in prod serves.
async fn both_down(shop: &Shop<'_>) -> Box<dyn std::error::Error + Send + Sync> {
    loop {
        let (one, two) = tokio::join!(shop.host(Prod1).website(), shop.host(Prod2).website());
        if let (Err(one), Err(two)) = (one, two) {
            return format!("prod1 and prod2 were down at a time: {one}; {two}").into();
        }
        sleep(PAUSE).await;
    }
}
