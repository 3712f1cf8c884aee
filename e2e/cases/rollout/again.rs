//! What failed is tried again when somebody asks, and once; and is not held against a namesake.

use cim_crds::annotations::{REQUESTED_AT, RETRY};
use cim_e2e::{
    home::Home,
    story::{complete, phase},
};
use serde_json::{Value, json};

use super::{
    Try,
    shop::{Dev1, Shop},
};
use crate::harness::Outcome;

/// How often the machine is looked at after it went back: each look might be a test too many.
const VISITS: usize = 3;

/// dev1 loses its sshd with each attempt, and goes back by itself: nobody can tell it to.
pub(crate) async fn what_goes_back_again_was_tried_once(home: &Home) -> Outcome {
    let shop = Shop::open(home).await?;
    // Where it stays the machine's, not taken back by its Cluster.
    on_abort(&shop, "Hold").await?;
    let tried = tried_once(&shop).await;
    on_abort(&shop, "Revoke").await?;
    let mended = shop.release(&[("deaf", "nobody\n")]).await?;
    shop.approve().await?;
    tried?;
    complete(home, "prod", &mended).await?;
    Ok(())
}

async fn on_abort(shop: &Shop<'_>, what: &str) -> Try<()> {
    shop.patch("clusters", "dev", &json!({"spec": {"rollout": {"onAbort": what}}})).await
}

async fn tried_once(shop: &Shop<'_>) -> Try<()> {
    let home = shop.home;
    let mark = shop.mark().await?;
    shop.commit(&[("deaf", "dev1\n")]).await?;
    phase(home, "dev", "Aborted").await?;
    let closure = shop.wanted(Dev1).await?;
    let mut tried = vec![closure.clone()];
    shop.activated(&mark, [&tried, &[], &[]]).await?;

    let mut before = shop.machine(Dev1).await?.status()["failed"].clone();
    for whom in [Whom::Machine, Whom::Cluster] {
        ask(shop, whom).await?;
        tried.push(closure.clone());
        before = went_back(shop, &before).await?;
        phase(home, "dev", "Aborted").await?;
        for _ in 0..VISITS {
            home.reconcile("machines", "dev1").await?;
        }
        shop.activated(&mark, [&tried, &[], &[]]).await?;
        if shop.machine(Dev1).await?.status()["failed"] != before {
            return Err(format!("{whom:?}: another failure is told: {before}").into());
        }
    }
    let columns = ["get", "mach", "dev1", "--output=wide", "--namespace", home.estate().namespace];
    let shown = home.kubectl().run(&columns).await?;
    if !shown.contains("it went back: unconfirmed") || !shown.contains("OutOfDate") {
        return Err(format!("kubectl get mach: {shown}").into());
    }
    made_anew(shop).await
}

/// The Machine is made anew while no controller runs: what its namesake failed at is not held against
/// it.
async fn made_anew(shop: &Shop<'_>) -> Try<()> {
    let home = shop.home;
    let namespace = home.estate().namespace;
    let rollout = shop.cluster("dev").await?.status()["rollout"].clone();
    let was = rollout["machines"][0]["uid"].clone();
    if rollout["failed"] != json!(["dev1"]) || !was.is_string() {
        return Err(format!("dev1 is not held as failed: {rollout}").into());
    }
    home.controller().kill().await?;
    let spec = shop.machine(Dev1).await?.spec().clone();
    home.kubectl().run(&["delete", "mach", "dev1", "--namespace", namespace]).await?;
    let machine = json!({"apiVersion": "cim.dev/v1alpha1", "kind": "Machine", "spec": spec,
        "metadata": {"name": "dev1", "namespace": namespace}});
    home.kubectl().apply(&machine.to_string()).await?;
    home.start_controller().await?;
    shop.until("dev1 to be another machine to its Cluster", async || {
        let rollout = shop.cluster("dev").await?.status()["rollout"].clone();
        let machines = rollout["machines"].as_array();
        let is_known = machines.is_some_and(|all| all.iter().any(|it| it["uid"] == was));
        let failed = rollout["failed"].as_array().is_some_and(|failed| !failed.is_empty());
        Ok(if is_known || failed { Err(rollout.to_string()) } else { Ok(()) })
    })
    .await
}

/// What is asked to try again.
#[derive(Clone, Copy, Debug)]
enum Whom {
    Machine,
    Cluster,
}

/// jane may do so with a Cluster, and the owner with its machines.
async fn ask(shop: &Shop<'_>, whom: Whom) -> Try<()> {
    match whom {
        Whom::Machine => {
            let asked = json!({"metadata": {"annotations": {RETRY: "1", REQUESTED_AT: "1"}}});
            shop.patch("machines", "dev1", &asked).await
        }
        Whom::Cluster => {
            let words = ["reconcile", "cluster/dev", "--retry", "--wait", "--timeout", "2m"];
            let said = shop.jane.cimctl(shop.home, &words).await?;
            if said.contains("to be tried again") { Ok(()) } else { Err(said.into()) }
        }
    }
}

/// Waits until the machine tells of a failure after `before`; what it tells.
async fn went_back(shop: &Shop<'_>, before: &Value) -> Try<Value> {
    let mut told = Value::Null;
    shop.until("dev1 to tell that it went back again", async || {
        let machine = shop.machine(Dev1).await?;
        let failed = &machine.status()["failed"];
        let ready = machine.condition("Ready");
        let says_so = failed["reason"] == "RolledBack"
            && machine.status()["deliveryPhase"] == "RolledBack"
            && ready.is_some_and(|(_, reason, _)| reason == "RolledBack");
        // The time is the controller's, and that in the message the machine's own.
        if says_so && failed["time"] != before["time"] && failed["message"] != before["message"] {
            told = failed.clone();
            return Ok(Ok(()));
        }
        Ok(Err(format!("{failed}, Ready: {ready:?}, before: {before}")))
    })
    .await?;
    Ok(told)
}
