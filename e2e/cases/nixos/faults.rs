//! What goes wrong around one machine: its connection, its disk, its store, its controllers.

use std::time::Duration;

use cim_e2e::lab::{Lab, wait_until};
use cim_nixos::{
    Error, Health, Integrity, Limits, Outcome as Ended, RollbackReason, SyncState, apply, assess,
    plan, probe, verify,
};
use tokio::process::Command;

use super::{Desired, SOON, Site, Try, activations, lines, switch_to, sync, when_activated};
use crate::harness::Outcome;

/// Longer than it takes to notice that a connection is dead (`ServerAliveInterval` of ours).
const LONG: Duration = Duration::from_secs(20);

/// Whether host1's link carries anything.
async fn link(state: &str) -> Try<()> {
    let ip = Command::new("ip").args(["link", "set", "vb-host1", state]).output().await?;
    if ip.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&ip.stderr).into_owned().into())
}

pub(crate) async fn a_connection_that_is_cut_harms_nothing(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n15").await?;
    let host = lab.host(1)?;
    let repository = lab.infra("cut-off").await?;
    site.settle(&repository).await?;

    repository.commit("Not there yet", &[("message", "cut off\n")]).await?;
    // While it is copied: Nix on the machine is stopped, so that the copy cannot be over before.
    when_activated(&repository, "until \"$busybox\" test -e /run/go-on; do sleep 0.1; done")
        .await?;
    let desired = switch_to(&site.release(&repository).await?);
    host.exec("rm -f /run/go-on; systemctl start nix-daemon.service").await?;
    let observed = site.observed(&desired).await?;
    let reached = site.host(1)?;
    let first = plan(&desired, &observed, &Health::Unasked);
    assert_eq!(lines(&first.changes), ["copy", "check", "test"]);
    host.exec("systemctl kill --kill-whom=main --signal=STOP nix-daemon.service").await?;
    let copying = apply(site.delivery(&reached), &first, None);
    let cut = async {
        let what = "the copy to begin";
        let begun = async || host.exec("pgrep --exact nix").await;
        wait_until(what, SOON, begun).await?;
        link("down").await
    };
    let (copied, cut) = tokio::join!(copying, cut);
    let resumed = link("up").await;
    host.exec("systemctl kill --kill-whom=main --signal=CONT nix-daemon.service").await?;
    cut?;
    resumed?;
    assert!(matches!(copied, Err(Error::Unreachable { .. })), "{copied:?}");
    assert_eq!(site.sync(&desired).await?, SyncState::Outdated);

    // While it is activated, for so long that the connection dies.
    let activating = site.test(&desired);
    let cut = async {
        begins(lab, &desired).await?;
        link("down").await?;
        tokio::time::sleep(LONG).await;
        host.exec("touch /run/go-on").await?;
        link("up").await
    };
    let (tested, cut) = tokio::join!(activating, cut);
    cut?;
    assert_eq!(tested?.outcome, Some(Ended::Succeeded));
    assert_eq!(activations(lab, &desired.closure).await?, 1, "activated once");
    assert_eq!(sync(&desired, &site.deliver(&desired).await?), SyncState::InSync);

    // Once it is activated: what nobody can reach to confirm it goes back.
    let before = desired;
    when_activated(&repository, "").await?;
    let desired = switch_to(&site.release(&repository).await?);
    let desired = Desired { confirm_timeout: Duration::from_secs(3), ..desired };
    site.test(&desired).await?;
    link("down").await?;
    let login = probe(&reached, Duration::from_secs(5)).await;
    let back = wait_until("it to go back", SOON, async || match host.current_system().await {
        Ok(Some(closure)) if closure != desired.closure.as_str() => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let back = back.await;
    link("up").await?;
    back?;
    assert!(login.is_err(), "the link was down");
    site.becomes(&desired, SyncState::RolledBack).await?;
    assert_eq!(host.current_system().await?.as_deref(), Some(before.closure.as_str()));
    assert_eq!(host.profile().await?.as_deref(), Some(before.closure.as_str()));
    Ok(())
}

async fn begins(lab: &Lab, desired: &Desired) -> Try<()> {
    let begun = wait_until("the activation to begin", SOON, async || {
        match activations(lab, &desired.closure).await {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    Ok(begun.await?)
}

pub(crate) async fn an_activation_that_hangs_is_ended(lab: &Lab) -> Outcome {
    let limits = Limits { activation: Duration::from_secs(4), ..Limits::default() };
    let site = Site::with_limits(lab, "n16", limits).await?;
    let repository = lab.infra("hangs").await?;
    let old = site.settle(&repository).await?;
    when_activated(&repository, "systemctl stop web; sleep 600").await?;
    let desired = switch_to(&site.release(&repository).await?);
    let desired = Desired { confirm_timeout: Duration::from_secs(1), ..desired };
    let applied = site.deliver(&desired).await?;
    assert!(applied.outcome.is_some_and(|outcome| !outcome.is_success()));
    site.becomes(&desired, SyncState::RolledBack).await?;
    let record =
        assess(&desired, &site.observed(&desired).await?).rolled_back.ok_or("no record")?;
    assert_eq!((record.why, record.outcome), (RollbackReason::Unconfirmed, None));
    assert_eq!(lab.host(1)?.current_system().await?.as_deref(), Some(old.closure.as_str()));
    lab.host(1)?.website().await.map(drop)?;
    Ok(())
}

pub(crate) async fn a_full_disk_is_told_and_harms_nothing(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n17").await?;
    let host = lab.host(1)?;
    let repository = lab.infra("full").await?;
    let old = site.settle(&repository).await?;
    let unit = repository.read("toplevel/web.service")?;
    let large = "# a comment of some length\n".repeat(80_000) + &unit;
    repository.commit("Two megabytes", &[("toplevel/web.service", &large)]).await?;
    let desired = switch_to(&site.release(&repository).await?);

    // The store gets a disk of its own, of one megabyte.
    host.exec(
        "systemctl stop nix-daemon.socket nix-daemon.service
         mkdir -p /run/small && mount -t tmpfs -o size=1m tmpfs /run/small
         mkdir /run/small/up /run/small/work
         mount -t overlay -o lowerdir=/nix/store,upperdir=/run/small/up,workdir=/run/small/work \
             overlay /nix/store
         systemctl start nix-daemon.socket",
    )
    .await?;
    let refused = site.deliver(&desired).await;
    let after = site.observed(&desired).await;
    // It gets room; then what is on it moves to the disk below.
    host.exec("mount -o remount,size=64m /run/small").await?;
    let delivered = site.deliver(&desired).await;
    host.exec(
        "systemctl stop nix-daemon.socket nix-daemon.service
         umount -l /nix/store && cp -a /run/small/up/. /nix/store/ && umount -l /run/small
         systemctl start nix-daemon.socket && systemctl restart web",
    )
    .await?;
    let refused = refused.err().ok_or("two megabytes on a disk of one")?.downcast::<Error>()?;
    assert_eq!(refused.reason(), "DiskFull", "{refused}");
    assert!(refused.to_string().contains("no space left"), "{refused}");
    let after = after?;
    let state = after.state().ok_or("unreachable")?;
    assert!(state.current.is(&old.closure) && state.profile.is(&old.closure), "{state:?}");
    assert!(state.pending.is_none(), "{state:?}");
    assert_eq!(sync(&desired, &delivered?), SyncState::InSync);
    assert_eq!(site.sync(&desired).await?, SyncState::InSync);
    Ok(())
}

pub(crate) async fn rot_in_the_store_is_found(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n18").await?;
    let host = lab.host(1)?;
    let repository = lab.infra("rot").await?;
    let desired = site.settle(&repository).await?;
    let reached = site.host(1)?;
    let verified = async || verify(&reached, std::slice::from_ref(&desired.closure), SOON).await;
    assert_eq!(verified().await?, Integrity::Intact);

    let website = "nix-store --query --requisites /run/current-system | grep -- '-site$'";
    let website = host.exec(website).await?.trim().to_owned();
    let of_website = Integrity::Corrupt { paths: vec![website.parse()?] };
    host.exec(&format!("cp -a {website}/index.html /root/ && echo rot >> {website}/index.html"))
        .await?;
    assert_eq!(verified().await?, of_website, "changed");
    host.exec(&format!("rm {website}/index.html")).await?;
    assert_eq!(verified().await?, of_website, "lost");
    host.exec(&format!("cp -a /root/index.html {website}/ && rm /root/index.html")).await?;
    assert_eq!(verified().await?, Integrity::Intact);

    // Signed by somebody else only, as what was built there.
    host.exec("mv /etc/cim/delivery-keys /root/ && echo > /etc/cim/delivery-keys").await?;
    let told = verified().await;
    host.exec("mv /root/delivery-keys /etc/cim/").await?;
    assert_eq!(told?, Integrity::Untrusted { paths: vec![desired.closure.clone()] });
    let absent = "/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-nowhere".parse()?;
    let absent = verify(&reached, &[absent], SOON).await?;
    assert!(matches!(absent, Integrity::Unverified { .. }), "{absent:?}");
    Ok(())
}

pub(crate) async fn two_controllers_do_it_once(lab: &Lab) -> Outcome {
    let (one, other) = (Site::new(lab, "n19").await?, Site::new(lab, "n20").await?);
    let repository = lab.infra("two").await?;
    one.settle(&repository).await?;
    when_activated(&repository, "sleep 1").await?;
    let desired = switch_to(&one.release(&repository).await?);
    let generation = async || -> Try<u64> {
        let observed = one.observed(&desired).await?;
        Ok(observed.state().and_then(|state| state.generation).ok_or("no generation")?)
    };
    let before = generation().await?;

    // Both see the same, and do the same at once: bring it, test it, confirm it.
    let both = async |health: Health| -> Try<()> {
        let (mine, theirs) =
            tokio::join!(one.pass(&desired, &health), other.pass(&desired, &health));
        let harmless = |ended: Try<_>| match ended {
            Ok(_) => Ok(()),
            // One may come just when the other has it in hand.
            Err(error) if error.downcast_ref().is_some_and(Error::is_transient) => Ok(()),
            Err(error) => Err(error),
        };
        harmless(mine)?;
        harmless(theirs)?;
        Ok(())
    };
    both(Health::Unasked).await?;
    one.becomes(&desired, SyncState::Confirming).await?;
    assert_eq!(activations(lab, &desired.closure).await?, 1, "tested once");
    both(Health::Passing).await?;
    one.becomes(&desired, SyncState::InSync).await?;
    assert_eq!(generation().await?, before + 1, "confirmed once");

    // They want different things: what is pending is not replaced behind its back.
    repository.commit("One wants this", &[("message", "mine\n")]).await?;
    let mine = switch_to(&one.release(&repository).await?);
    repository.commit("The other that", &[("message", "theirs\n")]).await?;
    let theirs = switch_to(&other.release(&repository).await?);
    let late = plan(&theirs, &other.observed(&theirs).await?, &Health::Unasked);
    one.test(&mine).await?;
    let refused = apply(other.delivery(&*other.host(1)?), &late, None).await;
    let busy = |error: &Error| error.to_string().contains("awaits its confirmation");
    assert!(refused.as_ref().is_err_and(busy), "{refused:?}");
    assert_eq!(lines(&other.planned(&theirs).await?), ["go back from"]);
    assert_eq!(sync(&mine, &one.deliver(&mine).await?), SyncState::InSync);
    assert_eq!(sync(&theirs, &other.deliver(&theirs).await?), SyncState::InSync);
    Ok(())
}
