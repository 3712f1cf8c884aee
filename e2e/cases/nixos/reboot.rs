//! Reboots: those that are owed, and those that nobody asked for.

use cim_e2e::lab::{Lab, wait_until};
use cim_nixos::{
    Action, Change, Desired, Health, Outcome as Ended, SyncState, apply, assess, plan,
};

use super::{SOON, Site, Try, activations, lines, switch_to, sync, when_activated};
use crate::harness::Outcome;

pub(crate) async fn what_needs_a_reboot_gets_it_by_policy(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n13").await?;
    let host = lab.host(1)?;
    let repository = lab.infra("rebooted").await?;
    let mut old = site.settle(&repository).await?;
    // Each ends the same way: what cannot be switched to waits for the boot that it needs.
    for (what, file) in [
        ("the running init cannot follow", "toplevel/init-interface-version"),
        ("systemd is another one", "toplevel/switch-inhibitors"),
    ] {
        repository.commit(what, &[(file, &format!("{what}\n"))]).await?;
        let desired = switch_to(&site.release(&repository).await?);
        let applied = site.deliver(&desired).await?;
        assert_eq!(applied.outcome, Some(Ended::RebootRequired), "{what}: {applied:?}");
        let assessment = assess(&desired, &applied.observed);
        assert_eq!(assessment.sync, SyncState::Staged, "{what}");
        assert_eq!(assessment.reboot_required, Some(true), "{what}");
        assert_eq!(host.current_system().await?.as_deref(), Some(old.closure.as_str()), "{what}");
        assert!(site.planned(&desired).await?.is_empty(), "{what}: nobody may reboot it");
        old = rebooted(&site, desired).await?;
    }

    // A kernel takes effect at the next boot only, the rest does at once.
    repository.commit("Another kernel", &[("toplevel/kernel", "Linux 6.18\n")]).await?;
    let desired = switch_to(&site.release(&repository).await?);
    let applied = site.deliver(&desired).await?;
    let assessment = assess(&desired, &applied.observed);
    assert_eq!(assessment.sync, SyncState::InSync);
    assert_eq!(assessment.reboot_required, Some(true));
    rebooted(&site, desired).await?;

    // The message alone touches neither.
    repository.commit("Another message", &[("message", "rebooted\n")]).await?;
    let desired = Desired { action: Action::Boot, ..switch_to(&site.release(&repository).await?) };
    let applied = site.deliver(&desired).await?;
    assert_eq!(sync(&desired, &applied), SyncState::Staged, "{applied:?}");
    rebooted(&site, desired).await?;
    assert_eq!(host.website().await?, "host1: rebooted");
    Ok(())
}

/// Lets host1 reboot, which is all that it still needs, and sees that it did so once.
async fn rebooted(site: &Site<'_>, desired: Desired) -> Try<Desired> {
    let before = site.observed(&desired).await?;
    let boot_id = |observed: &cim_nixos::Observed| {
        observed.state().map(|state| state.boot_id.clone()).unwrap_or_default()
    };
    let allowed = Desired { may_reboot: true, ..desired.clone() };
    let reboot = plan(&allowed, &before, &Health::Unasked);
    assert_eq!(reboot.changes, [Change::Reboot { boot_id: boot_id(&before) }]);
    let host = site.host(1)?;
    let applied = apply(site.delivery(&host), &reboot, Some(&desired.closure)).await?;
    assert_ne!(boot_id(&applied.observed), boot_id(&before));
    // A second controller, which saw the same and comes late.
    let again = apply(site.delivery(&host), &reboot, Some(&desired.closure)).await?;
    assert_eq!(boot_id(&again.observed), boot_id(&applied.observed), "rebooted twice");
    site.lab.host(1)?.ready().await?;
    let assessment = assess(&allowed, &site.observed(&allowed).await?);
    assert_eq!((assessment.sync, assessment.reboot_required), (SyncState::InSync, Some(false)));
    assert!(site.planned(&allowed).await?.is_empty());
    Ok(desired)
}

pub(crate) async fn a_loss_of_power_leaves_the_old_closure_or_the_new_one(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n14").await?;
    let host = lab.host(1)?;
    let repository = lab.infra("power").await?;
    let old = site.settle(&repository).await?;
    let runs = async |desired: &Desired, when: &str| {
        let closure = Some(desired.closure.as_str());
        assert_eq!(host.current_system().await?.as_deref(), closure, "{when}");
        assert_eq!(host.profile().await?.as_deref(), closure, "{when}");
        Try::Ok(())
    };

    // In the middle of the activation.
    when_activated(&repository, "[ $1 != test ] || [ -e /run/go-on ] || sleep 600").await?;
    let desired = switch_to(&site.release(&repository).await?);
    {
        let activated = site.test(&desired);
        let begun = wait_until("the activation to begin", SOON, async || {
            match activations(lab, &desired.closure).await {
                Ok(1) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        tokio::select! {
            ended = activated => return Err(format!("it ended: {ended:?}").into()),
            begun = begun => begun?,
        }
    }
    host.pull_the_plug().await?;
    host.power_on().await?;
    runs(&old, "within the activation").await?;
    assert_eq!(site.sync(&desired).await?, SyncState::Outdated);
    assert_eq!(lines(&site.planned(&desired).await?), ["check", "test"]);

    // Activated, and not confirmed.
    repository.commit("Another one", &[("message", "powerful\n")]).await?;
    when_activated(&repository, "").await?;
    let desired = switch_to(&site.release(&repository).await?);
    site.test(&desired).await?;
    host.pull_the_plug().await?;
    host.power_on().await?;
    runs(&old, "before the confirmation").await?;
    let state = site.observed(&desired).await?;
    assert_eq!(state.state().and_then(|state| state.pending.as_ref()), None);

    // Confirmed.
    assert_eq!(sync(&desired, &site.deliver(&desired).await?), SyncState::InSync);
    host.pull_the_plug().await?;
    host.power_on().await?;
    runs(&desired, "after the confirmation").await?;
    assert_eq!(site.sync(&desired).await?, SyncState::InSync);
    assert_eq!(host.website().await?, "host1: powerful");
    Ok(())
}
