//! What nobody confirms is given up, by the machine itself.

use std::time::Duration;

use cim_e2e::lab::{Lab, servers::git::Repository};
use cim_nixos::{
    Attempt, CheckOutcome, Desired, DryActivation, Error, Health, Outcome as Ended, Refusal,
    RollbackReason, SyncState, apply, assess, plan, preview, probe, run_check,
};

use super::{SOON, Site, Try, activations, lines, switch_to, sync, when_activated};
use crate::harness::Outcome;

/// Time enough to look at what awaits its confirmation, on a machine that is busy.
const SHORT: Duration = Duration::from_secs(10);

/// A release of host1 that differs from the one before, to be confirmed soon.
async fn next(site: &Site<'_>, repository: &Repository, message: &str) -> Try<Desired> {
    repository.commit(message, &[("message", &format!("{message}\n"))]).await?;
    let toplevel = site.release(repository).await?;
    Ok(Desired { confirm_timeout: SHORT, ..switch_to(&toplevel) })
}

pub(crate) async fn what_is_not_confirmed_goes_back(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n9").await?;
    let host = lab.host(1)?;
    let repository = lab.infra("unconfirmed").await?;
    let old = site.settle(&repository).await?;

    let desired = next(&site, &repository, "nobody confirms this").await?;
    let tested = site.test(&desired).await?;
    let confirm = plan(&desired, &tested.observed, &Health::Passing);
    assert_eq!(lines(&confirm.changes), ["confirm"]);
    // No clock that somebody sets has a say in it.
    for timer in ["cim-rollback.timer", "cim-unconfirmed.timer"] {
        let show = "--property=TimersMonotonic,TimersCalendar,AccuracyUSec";
        let timer = host.exec(&format!("systemctl show {timer} {show}")).await?;
        assert!(timer.contains("TimersMonotonic={ OnActiveUSec="), "{timer}");
        assert!(!timer.contains("OnCalendar"), "{timer}");
        assert!(timer.contains("AccuracyUSec=100ms"), "{timer}");
    }
    let next_boot = host.profile().await?;
    assert_eq!(next_boot.as_deref(), Some(old.closure.as_str()), "a reboot brings the old one");

    site.becomes(&desired, SyncState::RolledBack).await?;
    assert_eq!(host.current_system().await?.as_deref(), Some(old.closure.as_str()));
    assert_eq!(host.website().await?, "host1: hello from the first release");
    let record =
        assess(&desired, &site.observed(&desired).await?).rolled_back.ok_or("no record")?;
    assert_eq!(record.why, RollbackReason::Unconfirmed);
    assert_eq!((record.outcome, record.restored), (Some(Ended::Succeeded), Some(0)));
    assert!(site.planned(&desired).await?.is_empty(), "it is tried again by itself");
    let late = apply(site.delivery(&*site.host(1)?), &confirm, None).await;
    assert!(
        matches!(&late, Err(Error::ActivationRefused { refusal: Refusal::NotPending, .. })),
        "{late:?}"
    );

    // The record outlives a reboot; who asks for it may try again.
    host.pull_the_plug().await?;
    host.power_on().await?;
    assert_eq!(site.sync(&desired).await?, SyncState::RolledBack);
    let again = Desired {
        attempt: Attempt::Again,
        confirm_timeout: Duration::from_mins(2),
        ..desired.clone()
    };
    assert_eq!(sync(&again, &site.deliver(&again).await?), SyncState::InSync);
    let desired = Desired { attempt: Attempt::First, ..again };
    assert!(site.planned(&desired).await?.is_empty());
    assert_eq!(host.website().await?, "host1: nobody confirms this");
    Ok(())
}

pub(crate) async fn a_closure_that_kills_sshd_comes_back(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n10").await?;
    let host = lab.host(1)?;
    let repository = lab.infra("no-sshd").await?;
    let old = site.settle(&repository).await?;
    let boots = async || {
        let default = host.exec("readlink -e /boot/default-system /nix/var/nix/profiles/system");
        Try::Ok(default.await?)
    };
    let before = boots().await?;
    assert_eq!(before, format!("{0}\n{0}\n", old.closure));

    // The listener is gone. Connections that are open go on, and must not deceive anybody.
    repository.commit("Nobody can log in", &[("toplevel/sshd", "off\n")]).await?;
    let desired =
        Desired { confirm_timeout: SHORT, ..switch_to(&site.release(&repository).await?) };
    site.test(&desired).await?;
    let login = probe(&*site.host(1)?, SOON).await;
    assert!(matches!(login, Err(Error::Unreachable { .. })), "{login:?}");
    site.becomes(&desired, SyncState::RolledBack).await?;
    probe(&*site.host(1)?, SOON).await?;

    // And now with the connections too: nobody sees it until it comes back by itself.
    when_activated(&repository, "openssh; pkill -x sshd-session || true").await?;
    let desired =
        Desired { confirm_timeout: SHORT, ..switch_to(&site.release(&repository).await?) };
    let applied = site.deliver(&desired).await?;
    assert_eq!(applied.outcome, Some(Ended::RolledBack), "{applied:?}");
    assert_eq!(sync(&desired, &applied), SyncState::RolledBack);
    assert_eq!(activations(lab, &desired.closure).await?, 1);
    assert_eq!(boots().await?, before, "the old generation is what boots");

    host.pull_the_plug().await?;
    host.power_on().await?;
    assert_eq!(host.current_system().await?.as_deref(), Some(old.closure.as_str()));
    probe(&*site.host(1)?, SOON).await?;
    Ok(())
}

pub(crate) async fn checks_are_made_over_a_new_connection(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n11").await?;
    let host = site.host(1)?;
    let check = async |argv: &[&str], deadline: Duration| {
        let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
        run_check(&host, &argv, deadline).await
    };
    assert_eq!(check(&["true"], SOON).await?, CheckOutcome::Passed);
    assert_eq!(
        check(&["test", "a'b $(id) ;", "=", "a'b $(id) ;"], SOON).await?,
        CheckOutcome::Passed
    );
    let failed = check(&["ls", "/nowhere"], SOON).await?;
    assert!(
        matches!(&failed, CheckOutcome::Failed { status: 2, output } if output.contains("/nowhere")),
        "{failed:?}"
    );
    let missing = check(&["no-such-program"], SOON).await?;
    assert!(matches!(missing, CheckOutcome::Failed { status: 127, .. }), "{missing:?}");
    assert_eq!(check(&["sleep", "600"], Duration::from_secs(1)).await?, CheckOutcome::TimedOut);
    assert!(check(&[], SOON).await.is_err(), "nothing to run");
    Ok(())
}

pub(crate) async fn a_closure_tells_what_it_would_do(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n12").await?;
    let repository = lab.infra("preview").await?;
    site.settle(&repository).await?;
    let unit = repository.read("toplevel/web.service")?;
    let unit = unit.replace("Restart=on-failure", "Restart=always");
    repository.commit("Another unit", &[("toplevel/web.service", &unit)]).await?;
    let checks = [("toplevel/pre-switch-check.sh", "echo not today >&2; exit 1\n")];
    repository.commit("Its own check refuses it", &checks).await?;
    let desired = switch_to(&site.release(&repository).await?);
    let before = lab.host(1)?.current_system().await?;
    let applied = site.deliver(&desired).await?;
    assert_eq!(applied.outcome, Some(Ended::Rejected), "{applied:?}");
    assert!(applied.log.as_deref().is_some_and(|log| log.contains("not today")), "{applied:?}");
    let state = applied.observed.state().ok_or("unreachable")?;
    assert!(state.pending.is_none(), "it was touched: {state:?}");
    assert_eq!(assess(&desired, &applied.observed).rolled_back, None);
    assert_eq!(lab.host(1)?.current_system().await?, before);

    let would = preview(&*site.host(1)?, &desired.closure, site.nix.limits()).await?;
    let restart = vec!["web.service".to_owned()];
    assert_eq!(would, DryActivation { restart, ..DryActivation::default() });
    Ok(())
}
