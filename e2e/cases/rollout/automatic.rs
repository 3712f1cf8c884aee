//! Checks that approve where nobody does.

use cim_e2e::{
    home::{Home, Object},
    story::{complete, phase},
};
use serde_json::json;

use super::{
    Try,
    shop::{Dev1, Prod1, Prod2, Shop},
};
use crate::harness::Outcome;

pub(crate) async fn checks_approve_what_passed_and_nothing_else(home: &Home) -> Outcome {
    let shop = Shop::open(home).await?;
    let promotion = |spec: serde_json::Value| json!({"spec": {"promotion": spec}});
    shop.patch("clusters", "prod", &promotion(json!({"approval": "Automatic"}))).await?;
    let told = by_checks(&shop).await;
    // A person approves again, and before prod could go back to what a person approved before.
    shop.patch("clusters", "prod", &json!({"spec": {"suspend": true}})).await?;
    shop.patch("clusters", "prod", &promotion(json!({"approval": "Manual"}))).await?;
    let revision = shop.release(&[("broken", "nobody\n")]).await?;
    shop.approve().await?;
    shop.patch("clusters", "prod", &json!({"spec": {"suspend": false}})).await?;
    told?;
    complete(home, "prod", &revision).await?;
    Ok(())
}

async fn by_checks(shop: &Shop<'_>) -> Try<()> {
    let home = shop.home;
    let mark = shop.mark().await?;
    let first = shop.release(&[]).await?;
    complete(home, "prod", &first).await?;
    let prod = shop.cluster("prod").await?;
    let approval = &prod.status()["approval"];
    if approval["by"] != "checks" || approval["from"] != "dev" || !prod.is("SameAsApproved") {
        return Err(format!("it is not recorded who approved: {approval}").into());
    }
    // dev has soaked before prod began.
    let dev = shop.cluster("dev").await?;
    if approval["digest"] != dev.status()["release"]["digest"] {
        return Err(format!("{approval} is not what dev runs").into());
    }

    let ran = [shop.running(Prod1).await?, shop.running(Prod2).await?];
    let good = shop.running(Dev1).await?;
    let bad = shop.commit(&[("broken", "dev1\n")]).await?;
    let dev = phase(home, "dev", "Aborted").await?;
    if dev.status()["release"]["rev"] != bad {
        return Err(
            format!("dev aborted something else: {}", dev.status()["release"]["rev"]).into()
        );
    }
    let tried = shop.wanted(Dev1).await?;
    again(shop, &dev).await?;
    home.reconcile("clusters", "prod").await?;
    let prod = shop.cluster("prod").await?;
    if prod.status()["release"]["rev"] != first || prod.status()["approval"]["rev"] != first {
        return Err(format!("prod took what failed in dev: {}", prod.status()["release"]).into());
    }
    if [shop.running(Prod1).await?, shop.running(Prod2).await?] != ran {
        return Err("prod was changed by what failed in dev".into());
    }
    let second = shop.release(&[("broken", "nobody\n")]).await?;
    complete(home, "prod", &second).await?;
    let by = shop.jane.cimctl(home, &["history", "prod"]).await?;
    shows(home, "prod", "Complete").await?;
    if by.lines().skip(1).filter(|line| line.contains("checks")).count() < 2 {
        return Err(format!("cimctl history: {by}").into());
    }
    let dev = [good, tried.clone(), tried, shop.running(Dev1).await?];
    let (one, two) = (shop.generations(Prod1, 2).await?, shop.generations(Prod2, 2).await?);
    shop.activated(&mark, [&dev, &one, &two]).await
}

/// jane has it tried again, which ends as before: in the attempt after the one that `dev` shows.
async fn again(shop: &Shop<'_>, dev: &Object) -> Try<()> {
    let home = shop.home;
    shows(home, "dev", "Aborted").await?;
    let words = ["reconcile", "cluster/dev", "--retry", "--wait", "--timeout", "1m"];
    let said = shop.jane.cimctl(home, &words).await?;
    let now = shop.cluster("dev").await?;
    let attempt = |dev: &Object| dev.status()["rollout"]["attempt"].as_u64();
    if !said.contains("to be tried again") || attempt(&now) != attempt(dev).map(|it| it + 1) {
        return Err(format!("{said}; {}", now.status()["rollout"]).into());
    }
    phase(home, "dev", "Aborted").await?;
    Ok(())
}

/// The metrics have the rollout in that phase, and what was done for it.
async fn shows(home: &Home, cluster: &str, phase: &str) -> Try<()> {
    let metrics = home.metrics().await?;
    let at_least = |name: &str, labels: &[(&str, &str)]| {
        let found = metrics.sum(name, labels);
        if found.is_some_and(|count| count >= 1.0) {
            return Ok(());
        }
        Err(format!("{name} {labels:?}: {found:?}"))
    };
    at_least("cim_rollout_phase", &[("name", cluster), ("phase", phase)])?;
    at_least("cim_rollout_settled_timestamp_seconds", &[("name", cluster)])?;
    at_least("cim_evaluations_total", &[("result", "ok")])?;
    at_least("cim_evaluation_peak_memory_bytes_sum", &[])?;
    at_least("cim_builds_total", &[("result", "ok")])?;
    at_least("cim_deliveries_total", &[("step", "activate"), ("outcome", "ok")])?;
    at_least("cim_machine_state", &[("name", "prod1"), ("state", "InSync")])?;
    Ok(())
}
