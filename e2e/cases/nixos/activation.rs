//! How an activation goes on and ends, on a machine that stays reachable.

use cim_e2e::lab::{Lab, wait_until};
use cim_nixos::{
    Attempt, Change, Desired, Health, Outcome as Ended, SyncState, apply, observe, plan,
};

use super::{SOON, Site, Try, activations, lines, switch_to, sync, when_activated};
use crate::harness::Outcome;

pub(crate) async fn an_activation_outlives_its_controller(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n6").await?;
    let repository = lab.infra("outlived").await?;
    // It waits for our word, so that nothing here depends on how fast it is.
    when_activated(&repository, "until \"$busybox\" test -e /run/go-on; do sleep 0.1; done")
        .await?;
    let toplevel = site.release(&repository).await?;
    let desired = switch_to(&toplevel);
    lab.host(1)?.exec("rm -f /run/go-on").await?;

    let host = site.host(1)?;
    let observed = observe(&host, site.nix.limits(), Some(&desired.closure)).await;
    let first = plan(&desired, &observed, &Health::Unasked);
    {
        // Dropped in the middle, as a controller that is killed drops it.
        let controller = apply(site.delivery(&host), &first, None);
        let running = wait_until("the activation to begin", SOON, async || {
            match activations(lab, &toplevel.closure).await {
                Ok(1) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        tokio::select! {
            applied = controller => return Err(format!("it ended: {applied:?}").into()),
            running = running => running?,
        }
    }
    let changes = site.planned(&desired).await?;
    assert!(matches!(changes.as_slice(), [Change::Await { job: Some(_) }]), "{changes:?}");

    let next = site.deliver(&desired);
    let go_on = async {
        lab.host(1)?.exec("touch /run/go-on").await?;
        Try::Ok(())
    };
    let (applied, go_on) = tokio::join!(next, go_on);
    go_on?;
    let applied = applied?;
    assert_eq!(applied.outcome, Some(Ended::Succeeded), "{applied:?}");
    assert_eq!(sync(&desired, &applied), SyncState::InSync);
    assert_eq!(activations(lab, &toplevel.closure).await?, 1, "activated once");
    Ok(())
}

pub(crate) async fn an_activation_outlives_its_connection(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n7").await?;
    let repository = lab.infra("cut").await?;
    let cut = "systemctl stop ssh; pkill -x sshd-session || true; sleep 2; systemctl start ssh";
    when_activated(&repository, cut).await?;
    let desired = switch_to(&site.release(&repository).await?);
    let applied = site.deliver(&desired).await?;
    assert_eq!(applied.outcome, Some(Ended::Succeeded), "{applied:?}");
    assert_eq!(sync(&desired, &applied), SyncState::InSync);
    Ok(())
}

pub(crate) async fn each_end_of_an_activation_is_told(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n8").await?;
    let repository = lab.infra("ends").await?;
    let host = lab.host(1)?;
    let good = switch_to(&site.release(&repository).await?);
    assert_eq!(sync(&good, &site.deliver(&good).await?), SyncState::InSync);
    for (script, ended, log) in [
        ("echo the disk is full >&2; exit 1", Ended::Rejected, Some("the disk is full")),
        ("exit 2", Ended::ActivationScriptFailed, None),
        ("systemctl stop web; exit 4", Ended::UnitsFailed, None),
    ] {
        when_activated(&repository, script).await?;
        let desired = switch_to(&site.release(&repository).await?);
        let applied = site.deliver(&desired).await?;
        assert_eq!(applied.outcome, Some(ended), "{applied:?}");
        assert_eq!(sync(&desired, &applied), SyncState::RolledBack);
        let told = applied.log.unwrap_or_default();
        assert!(log.is_none_or(|log| told.contains(log)), "{told}");
        assert!(site.planned(&desired).await?.is_empty(), "it is not tried again by itself");
        assert_eq!(host.current_system().await?.as_deref(), Some(good.closure.as_str()));
        host.website().await?;
    }

    // Killed by somebody: it goes back, and somebody who asks for it gets another try.
    when_activated(&repository, "\"$busybox\" kill -9 $PPID").await?;
    let desired = switch_to(&site.release(&repository).await?);
    let applied = site.deliver(&desired).await?;
    assert_eq!(applied.outcome, Some(Ended::Interrupted), "{applied:?}");
    let back = site.deliver(&desired).await?;
    assert_eq!(sync(&desired, &back), SyncState::RolledBack);
    assert!(site.planned(&desired).await?.is_empty());
    let again = Desired { attempt: Attempt::Again, ..desired };
    assert_eq!(lines(&site.planned(&again).await?), ["check", "test"]);
    Ok(())
}
