//! Builds that fail, and builds that other machines make.

use cim_e2e::{
    home::Home,
    lab::servers::{controller::Controller, controller::ControllerConfig, host::Host},
    story::complete,
};
use serde_json::json;

use super::{
    DEADLINE, Try,
    shop::{Dev1, Prod2, Shop},
};
use crate::harness::Outcome;

/// The script that builds every toplevel.
const BUILD: &str = "toplevel/build.sh";

pub(crate) async fn a_failed_build_is_told_with_its_log(home: &Home) -> Outcome {
    let shop = Shop::open(home).await?;
    let mark = shop.mark().await?;
    let good = home.repository().read(BUILD)?;
    let cheese = "echo 'the disk is made of cheese' >&2\nexit 3\n";
    shop.commit(&[(BUILD, cheese)]).await?;
    shop.until("dev to say that its build failed", async || {
        let dev = shop.cluster("dev").await?;
        let told = [dev.condition("Ready"), dev.condition("Stalled")];
        Ok(match told {
            [Some(("False", "BuildFailed", ready)), Some(("True", "BuildFailed", _))]
                if ready.contains("dev1") && ready.contains("nixos-system-dev1") =>
            {
                Ok(())
            }
            told => Err(format!("{told:?}")),
        })
    })
    .await?;
    // Nothing was delivered, and the machine says that something newer does not come.
    shop.activated(&mark, [&[], &[], &[]]).await?;
    let dev = shop.cluster("dev").await?;
    let rollout = &dev.status()["rollout"];
    if !rollout["message"]
        .as_str()
        .is_some_and(|it| it.contains("dev1: the release has no closure"))
    {
        return Err(format!("the rollout does not say so: {rollout}").into());
    }
    let release = dev.condition("ReleaseReady");
    if !matches!(release, Some(("False", _, message)) if message.contains("dev1")) {
        return Err(format!("ReleaseReady: {release:?}").into());
    }
    for words in [&["logs", "machine/dev1"][..], &["logs", "dev1", "--build"]] {
        let log = shop.jane.cimctl(home, words).await?;
        if !log.contains("the disk is made of cheese") || !log.contains("nixos-system-dev1") {
            return Err(format!("cimctl {words:?}: {log}").into());
        }
    }
    let revision = shop.release(&[(BUILD, &good)]).await?;
    let waiting = async || -> Try<Option<f64>> {
        let metrics = home.metrics().await?;
        Ok(metrics.sum("cim_approval_waiting", &[("name", "prod")]))
    };
    shop.until("the metrics to say that prod waits for a person", async || {
        let waits = waiting().await?;
        Ok(if waits == Some(1.0) { Ok(()) } else { Err(format!("{waits:?}")) })
    })
    .await?;
    shop.approve().await?;
    complete(home, "prod", &revision).await?;
    match waiting().await? {
        Some(0.0) => Ok(()),
        waits => Err(format!("it still waits for a person: {waits:?}").into()),
    }
}

pub(crate) async fn another_machine_builds(home: &Home) -> Outcome {
    let shop = Shop::open(home).await?;
    let forge = shop.host(Prod2);
    // A builder trusts those who use it: they bring what is unsigned.
    let invite = "mkdir -p /root/.ssh; cp ~deploy/.ssh/authorized_keys /root/.ssh/";
    forge.exec(invite).await?;
    home.controller().kill().await?;
    let config = home.controller().config().clone();
    let list = "/var/lib/cim-controller/builders.json";
    let args = config.args.iter().cloned().chain([format!("--builders={list}")]).collect();
    let other = home.lab().controller(ControllerConfig { replica: 2, args, ..config })?;
    let told = by_a_builder(&shop, &other, forge, list).await;
    // Whatever came of it, the next case finds what it knows.
    let stopped = other.stop().await;
    forge.exec("systemctl start ssh; rm -rf /root/.ssh").await?;
    home.start_controller().await?;
    told?;
    stopped?;
    let good = home.repository().read(BUILD)?.replace(WHERE, "");
    let revision = shop.release(&[(BUILD, &good)]).await?;
    shop.approve().await?;
    complete(home, "prod", &revision).await?;
    Ok(())
}

/// Notes in the toplevel where it was built.
const WHERE: &str = "\"$busybox\" cat /proc/sys/kernel/hostname > \"$out/built-on\"\n";

async fn by_a_builder(shop: &Shop<'_>, other: &Controller, forge: &Host, list: &str) -> Try<()> {
    let home = shop.home;
    home.lab().start_controller(other).await?;
    other.ready(DEADLINE).await?;
    let key = &home.lab().deploy_key().private;
    let builders = json!({"builders": [{
        "name": "forge", "host": forge.address().to_string(), "user": "root",
        "keyFile": "/var/lib/cim-controller/builder-key", "hostKeys": [forge.host_key()],
        "systems": ["x86_64-linux"], "maxJobs": 2,
    }]});
    let write = format!(
        "umask 077; cat > builder-key <<'KEY'\n{key}\nKEY\ncat > {list} <<'LIST'\n{builders}\nLIST\n"
    );
    other.exec(&write).await?;
    let script = home.repository().read(BUILD)?;
    let revision = shop.release(&[(BUILD, &format!("{script}{WHERE}"))]).await?;
    complete(home, "dev", &revision).await?;
    let built_on = "cat /run/current-system/built-on";
    let found = shop.host(Dev1).exec(built_on).await?;
    if found.trim() != forge.name() {
        return Err(
            format!("dev1 runs what was built on {found:?}, not on {}", forge.name()).into()
        );
    }

    // The builder is away: it is named, nothing is built elsewhere, and nothing is given up.
    let ran = shop.running(Dev1).await?;
    forge.exec("systemctl stop ssh.socket ssh.service 2>/dev/null || systemctl stop ssh; pkill -x sshd-session || true")
        .await?;
    let revision = shop.commit(&[]).await?;
    shop.until("dev to name the builder that is away", async || {
        let dev = shop.cluster("dev").await?;
        Ok(match dev.condition("Ready") {
            Some(("False", "BuilderLost", message)) if message.contains("builder forge") => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await?;
    if shop.running(Dev1).await? != ran {
        return Err("dev1 was changed although nothing could be built".into());
    }
    forge.exec("systemctl start ssh").await?;
    complete(home, "dev", &revision).await?;
    let found = shop.host(Dev1).exec(built_on).await?;
    if found.trim() != forge.name() {
        return Err(format!("dev1 runs what was built on {found:?}").into());
    }
    Ok(())
}
