//! Windows, and a pause in the middle.

use std::time::SystemTime;

use cim_e2e::{
    home::Home,
    story::{complete, phase},
};
use serde_json::json;

use super::shop::{Moment, Prod1, Prod2, Shop};
use crate::harness::Outcome;

pub(crate) async fn windows_and_pause_hold(home: &Home) -> Outcome {
    let shop = Shop::open(home).await?;
    let mark = shop.mark().await?;
    let ran = [shop.running(Prod1).await?, shop.running(Prod2).await?];
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let hour = (seconds / 3600 + 12) % 24;
    let tonight = json!({"cron": format!("0 {hour} * * *"), "duration": "1h"});
    let always = json!({"cron": "* * * * *", "duration": "1h"});
    let never = json!({"cron": "* * * * *", "duration": "1h", "kind": "Deny"});

    let windows = |list: serde_json::Value| json!({"spec": {"windows": list}});
    shop.patch("clusters", "prod", &windows(json!([tonight]))).await?;
    let revision = shop.release(&[]).await?;
    shop.approve().await?;
    let waits = async |opens: bool| {
        shop.until("prod to wait for a window", async || {
            let prod = shop.cluster("prod").await?;
            let (release, rollout) = (&prod.status()["release"], &prod.status()["rollout"]);
            let waits = matches!(prod.condition("Ready"), Some(("False", "WaitingForWindow", _)));
            let same = release["rev"] == revision && release["digest"] == rollout["release"];
            let told = rollout["phase"] == "WaitingForWindow";
            if waits && same && told && rollout["nextWindow"].is_null() != opens {
                return Ok(Ok(()));
            }
            Ok(Err(format!("{prod}; {rollout}")))
        })
        .await
    };
    waits(true).await?;
    // Whatever else allows it: Deny wins.
    shop.patch("clusters", "prod", &windows(json!([always, never]))).await?;
    waits(false).await?;
    if [shop.running(Prod1).await?, shop.running(Prod2).await?] != ran {
        return Err("prod was changed out of a window".into());
    }
    shop.patch("clusters", "prod", &windows(json!(null))).await?;
    complete(home, "prod", &revision).await?;

    let ran = shop.running(Prod2).await?;
    let pause = |paused: bool| json!({"spec": {"rollout": {"paused": paused}}});
    let revision = shop.release(&[]).await?;
    shop.approve().await?;
    shop.come(&mark, Moment::Tested(Prod1), &revision).await?;
    shop.patch("clusters", "prod", &pause(true)).await?;
    phase(home, "prod", "Paused").await?;
    // What was begun is finished.
    let wanted = shop.wanted(Prod1).await?;
    shop.until("prod1 to be confirmed", async || {
        let boots = shop.host(Prod1).profile().await?;
        Ok(if boots.as_ref() == Some(&wanted) { Ok(()) } else { Err(format!("{boots:?}")) })
    })
    .await?;
    for machine in ["prod1", "prod2"] {
        home.reconcile("machines", machine).await?;
    }
    home.reconcile("clusters", "prod").await?;
    phase(home, "prod", "Paused").await?;
    if shop.running(Prod2).await? != ran {
        return Err("prod2 was begun in a pause".into());
    }
    shop.patch("clusters", "prod", &pause(false)).await?;
    complete(home, "prod", &revision).await?;
    let mut wanted = Vec::new();
    for machine in super::shop::Machine::ALL {
        wanted.push(shop.generations(machine, 2).await?);
    }
    shop.activated(&mark, [&wanted[0], &wanted[1], &wanted[2]]).await
}
