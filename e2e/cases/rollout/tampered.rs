//! What is not as it was approved, or not as it was delivered.

use cim_e2e::{home::Home, story::complete};
use serde_json::{Value, json};

use super::{
    Try,
    shop::{Dev1, Machine, Prod1, Prod2, Shop},
};
use crate::harness::Outcome;

pub(crate) async fn what_was_tampered_with_is_refused(home: &Home) -> Outcome {
    let shop = Shop::open(home).await?;
    let mark = shop.mark().await?;
    let ran = [shop.running(Prod1).await?, shop.running(Prod2).await?];

    // An approval that names another closure for what runs, another tree, another service.
    let approved = shop.cluster("prod").await?.spec()["promotion"]["approved"].clone();
    let other = shop.running(Dev1).await?;
    let forge = |field: &str, value: Value| {
        let mut forged = approved.clone();
        forged[field] = value;
        forged
    };
    let path = json!([{"name": "prod1", "outPath": other}]);
    let service = json!([{"name": "accounting", "outPath": other}]);
    let hash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (forged, said) in [
        (forge("configurations", path), other.as_str()),
        (forge("services", service), other.as_str()),
        (forge("narHash", json!(hash)), hash),
    ] {
        approve_as_jane(&shop, &forged).await?;
        refused(&shop, said).await?;
    }
    approve_as_jane(&shop, &approved).await?;
    complete(home, "prod", &home.repository().head()?).await?;

    // The approved commit is rewritten before prod has looked at it, and no cache knows it.
    let revision = shop.release(&[]).await?;
    shop.patch("clusters", "prod", &json!({"spec": {"suspend": true}})).await?;
    shop.approve().await?;
    let rewritten = home.repository().rewrite("Nobody approved", &[("message", "evil\n")]).await?;
    complete(home, "dev", &rewritten).await?;
    home.controller().exec("chmod -R u+w .cache/nix; rm -rf .cache/nix").await?;
    shop.patch("clusters", "prod", &json!({"spec": {"suspend": false}})).await?;
    shop.until("prod to say that the approved commit is gone", async || {
        let prod = shop.cluster("prod").await?;
        Ok(match prod.condition("ReleaseReady") {
            Some(("False", _, message)) if message.contains(&revision) => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await?;
    if [shop.running(Prod1).await?, shop.running(Prod2).await?] != ran {
        return Err("prod does not run what it ran".into());
    }
    shop.activated(&mark, [&shop.generations(Dev1, 2).await?, &[], &[]]).await?;

    // Once it is there again, what was approved is taken.
    home.repository().restore(&revision).await?;
    home.reconcile("clusters", "prod").await?;
    complete(home, "dev", &revision).await?;
    complete(home, "prod", &revision).await?;
    Ok(())
}

async fn approve_as_jane(shop: &Shop<'_>, approved: &Value) -> Try<()> {
    let patch = json!({"spec": {"promotion": {"approved": approved}}}).to_string();
    let namespace = shop.home.estate().namespace;
    let words = ["patch", "cluster.cim.dev", "prod", "--namespace", namespace, "--type=merge"];
    shop.jane.kubectl.run(&[&words[..], &["--patch", &patch]].concat()).await?;
    Ok(())
}

/// prod says that it is not what was approved, and names `what`; what it runs goes on.
async fn refused(shop: &Shop<'_>, what: &str) -> Try<()> {
    let mark = shop.mark().await?;
    shop.until(&format!("prod to refuse {what}"), async || {
        let prod = shop.cluster("prod").await?;
        Ok(match prod.condition("SameAsApproved") {
            Some(("False", _, message)) if message.contains(what) && !prod.is_ready() => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await?;
    shop.activated(&mark, [&[], &[], &[]]).await
}

pub(crate) async fn what_was_drifted_or_rots_is_seen(home: &Home) -> Outcome {
    let shop = Shop::open(home).await?;
    let revision = shop.release(&[]).await?;
    shop.approve().await?;
    complete(home, "prod", &revision).await?;
    let wanted = shop.wanted(Prod1).await?;

    by_hand(&shop, Prod1).await?;
    home.reconcile("machines", "prod1").await?;
    becomes(&shop, Prod1, "InSync").await?;
    if shop.running(Prod1).await? != wanted {
        return Err("prod1 was not put back".into());
    }

    let policy = |on_drift: &str| json!({"spec": {"activation": {"onDrift": on_drift}}});
    shop.patch("machines", "prod1", &policy("Report")).await?;
    // A visit that began before would still put it right.
    home.reconcile("machines", "prod1").await?;
    // One that was delivered before is as foreign to the release as any other.
    let earlier = shop.machine(Prod1).await?.status()["delivered"][1].clone();
    let earlier = earlier.as_str().ok_or("prod1 ran one release only")?;
    shop.host(Prod1).exec(&format!("ln -sfn {earlier} /run/current-system")).await?;
    home.reconcile("machines", "prod1").await?;
    becomes(&shop, Prod1, "Drifted").await?;
    let other = by_hand(&shop, Prod1).await?;
    home.reconcile("machines", "prod1").await?;
    becomes(&shop, Prod1, "Drifted").await?;
    home.reconcile("machines", "prod1").await?;
    if shop.running(Prod1).await? != other {
        return Err("prod1 was not left alone".into());
    }
    shop.patch("machines", "prod1", &policy("Revert")).await?;
    becomes(&shop, Prod1, "InSync").await?;
    shop.host(Prod1).exec(&format!("rm -rf {other}")).await?;
    complete(home, "prod", &home.repository().head()?).await?;

    // A file of the closure is not what was delivered.
    let host = shop.host(Prod2);
    let site = "nix-store --query --requisites /run/current-system | grep -- '-site$'";
    let page = format!("{}/index.html", host.exec(site).await?.trim());
    let every = |interval: &str| json!({"spec": {"activation": {"verifyInterval": interval}}});
    host.exec(&format!("cp -a {page} /root/page && echo rot >> {page}")).await?;
    shop.patch("machines", "prod2", &every("1s")).await?;
    let corrupt = becomes(&shop, Prod2, "Corrupt").await;
    host.exec(&format!("cp -a /root/page {page} && rm /root/page")).await?;
    corrupt?;
    becomes(&shop, Prod2, "InSync").await?;
    shop.patch("machines", "prod2", &every("168h")).await?;
    complete(home, "prod", &home.repository().head()?).await?;
    Ok(home.all_ready(super::DEADLINE).await?)
}

/// Somebody makes a machine run what nobody delivered; that closure.
async fn by_hand(shop: &Shop<'_>, machine: Machine) -> Try<String> {
    let other = format!("/nix/store/{}-nixos-system-by-hand", "0".repeat(32));
    let script = format!(
        "rm -rf {other}; cp -a $(readlink -e /run/current-system) {other}
        ln -sfn {other} /run/current-system"
    );
    shop.host(machine).exec(&script).await?;
    Ok(other)
}

async fn becomes(shop: &Shop<'_>, machine: Machine, state: &str) -> Try<()> {
    shop.until(&format!("{machine:?} to be {state}"), async || {
        let object = shop.machine(machine).await?;
        let seen = &object.status()["state"];
        Ok(if *seen == state { Ok(()) } else { Err(format!("it is {seen}; {object}")) })
    })
    .await
}
