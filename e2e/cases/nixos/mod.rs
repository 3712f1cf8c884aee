//! Deliveries by the crate that the controller uses, to the lab's hosts.

mod activation;
mod delivery;
mod faults;
mod reboot;
mod rollback;
mod source;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cim_e2e::lab::{Lab, servers::git::Repository, servers::host::DEPLOY_USER, wait_until};
use cim_nixos::{
    Action, Applied, Attempt, Attribute, BuildOptions, Change, Delivery, Desired, Evaluation,
    Health, Host, Hosts, Limits, LockedSource, Nix, Observed, PrivateDir, Signer, SigningKey,
    Source, StorePath, SyncState, Target, Tools, Toplevel, apply, assess, observe, plan, probe,
};

pub(crate) use activation::{
    an_activation_outlives_its_connection, an_activation_outlives_its_controller,
    each_end_of_an_activation_is_told,
};
pub(crate) use delivery::{
    a_commit_becomes_what_the_host_runs, a_host_refuses_what_is_not_signed_for_it,
    a_host_that_is_not_the_pinned_one_is_not_touched,
    what_the_deploy_user_made_does_not_run_as_root,
};
pub(crate) use faults::{
    a_connection_that_is_cut_harms_nothing, a_full_disk_is_told_and_harms_nothing,
    an_activation_that_hangs_is_ended, rot_in_the_store_is_found, two_controllers_do_it_once,
};
pub(crate) use reboot::{
    a_loss_of_power_leaves_the_old_closure_or_the_new_one, what_needs_a_reboot_gets_it_by_policy,
};
pub(crate) use rollback::{
    a_closure_tells_what_it_would_do, a_closure_that_kills_sshd_comes_back,
    checks_are_made_over_a_new_connection, what_is_not_confirmed_goes_back,
};
pub(crate) use source::{
    a_broken_machine_does_not_stop_the_others, a_flake_that_pins_nothing_is_refused,
};

pub(crate) type Try<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SOON: Duration = Duration::from_secs(30);
/// More than any delivery takes.
const PASSES: usize = 8;
const SWITCH: &str = "toplevel/switch-to-configuration.sh";
/// Where a closure of these cases notes each of its activations.
const NOTES: &str = "/var/log/activations";

/// What a delivery needs, on the lab's tools.
struct Site<'lab> {
    lab: &'lab Lab,
    nix: Nix,
    dir: PrivateDir,
    signer: Signer,
    hosts: Hosts,
}

impl<'lab> Site<'lab> {
    async fn new(lab: &'lab Lab, name: &str) -> Try<Self> {
        Self::with_limits(lab, name, Limits::default()).await
    }

    async fn with_limits(lab: &'lab Lab, name: &str, limits: Limits) -> Try<Self> {
        let scratch = lab.scratch(name)?;
        let nix = Nix::detect(tools(lab, &scratch)?, limits).await?;
        let dir = PrivateDir::open(scratch.join("p"))?;
        let key: SigningKey = lab.nix_key().secret.parse()?;
        assert_eq!(key.public().to_string(), lab.nix_key().public, "derived as Nix derives it");
        let signer = Signer::new(&dir, &key)?;
        let hosts = Hosts::new(PrivateDir::open(scratch.join("h"))?, nix.tools().clone());
        Ok(Self { lab, nix, dir, signer, hosts })
    }

    fn target(&self, n: u8) -> Try<Target> {
        let host = self.lab.host(n)?;
        Ok(Target {
            address: host.address().to_string().parse()?,
            port: 22,
            user: DEPLOY_USER.parse()?,
            key: self.lab.deploy_key().private.parse()?,
            host_keys: vec![host.host_key().parse()?],
        })
    }

    fn host(&self, n: u8) -> Try<Arc<Host>> {
        Ok(self.hosts.host(&format!("host{n}"), self.target(n)?)?)
    }

    async fn lock(&self, repository: &Repository) -> Try<LockedSource> {
        let source = Source::parse(&repository.url(), Some("main"), None)?;
        Ok(self.nix.resolve(&source).await?)
    }

    async fn evaluate(&self, source: &LockedSource, names: &[&str]) -> Try<Evaluation> {
        let names = names.iter().map(|name| name.parse()).collect::<Result<Vec<_>, _>>()?;
        Ok(self.nix.evaluate(source, None, &names).await?)
    }

    /// Locks, evaluates and builds host1 of what the repository says now.
    async fn release(&self, repository: &Repository) -> Try<Toplevel> {
        let source = self.lock(repository).await?;
        let mut evaluation = self.evaluate(&source, &["host1"]).await?;
        let host1 = evaluation.configurations.remove(&attribute("host1")?);
        let toplevel = host1.ok_or("not evaluated")??.toplevel;
        self.nix.build(&toplevel, BuildOptions::default()).await?;
        Ok(toplevel)
    }

    /// One pass: observes host1, plans, applies. Nothing when there is nothing to do.
    async fn pass(&self, desired: &Desired, health: &Health) -> Try<Option<Applied>> {
        let host = self.host(1)?;
        let plan = plan(desired, &self.observed(desired).await?, health);
        if plan.is_empty() {
            return Ok(None);
        }
        Ok(Some(apply(self.delivery(&host), &plan, Some(&desired.closure)).await?))
    }

    /// Passes until there is nothing to do, as a controller makes them, whose only check is that it
    /// can log in; the last that did something.
    async fn deliver(&self, desired: &Desired) -> Try<Applied> {
        let mut last = None;
        for _ in 0..PASSES {
            let login = probe(&*self.host(1)?, SOON).await;
            let health = login.map_or(Health::Unasked, |()| Health::Passing);
            match self.pass(desired, &health).await? {
                Some(applied) => last = Some(applied),
                None => return last.ok_or_else(|| "there was nothing to do".into()),
            }
            // What failed would only be tried again.
            let failed = last.as_ref().and_then(|applied| applied.outcome.as_ref());
            if failed.is_some_and(|outcome| !outcome.is_success()) {
                break;
            }
        }
        last.ok_or_else(|| "nothing was done".into())
    }

    async fn observed(&self, desired: &Desired) -> Try<Observed> {
        let host = self.host(1)?;
        let observed = observe(&host, self.nix.limits(), Some(&desired.closure)).await;
        if observed.state().is_none() {
            return Err(format!("{observed:?}").into());
        }
        Ok(observed)
    }

    /// Brings host1 to what the repository says now, which must work.
    async fn settle(&self, repository: &Repository) -> Try<Desired> {
        let desired = switch_to(&self.release(repository).await?);
        // What another case left may only be left by a reboot.
        let allowed = Desired { may_reboot: true, ..desired.clone() };
        if !self.planned(&allowed).await?.is_empty() {
            self.deliver(&allowed).await?;
            self.lab.host(1)?.ready().await?;
        }
        assert_eq!(self.sync(&desired).await?, SyncState::InSync);
        Ok(desired)
    }

    /// Brings `desired` to host1 and tests it there, without confirming it.
    async fn test(&self, desired: &Desired) -> Try<Applied> {
        let tested = self.pass(desired, &Health::Unasked).await?.ok_or("there is nothing to do")?;
        assert_eq!(sync(desired, &tested), SyncState::Confirming, "{tested:?}");
        Ok(tested)
    }

    async fn sync(&self, desired: &Desired) -> Try<SyncState> {
        Ok(assess(desired, &self.observed(desired).await?).sync)
    }

    /// Waits until host1 stands to `desired` as `wanted`.
    async fn becomes(&self, desired: &Desired, wanted: SyncState) -> Try<()> {
        let what = format!("host1 to be {wanted:?}");
        let seen = async || match self.sync(desired).await {
            Ok(seen) if seen == wanted => Ok(()),
            Ok(seen) => Err(format!("{seen:?}")),
            Err(error) => Err(error.to_string()),
        };
        Ok(wait_until(&what, SOON, seen).await?)
    }

    fn delivery<'a>(&'a self, host: &'a Host) -> Delivery<'a> {
        Delivery { nix: &self.nix, signer: &self.signer, host, progress: None }
    }

    /// What would be done now.
    async fn planned(&self, desired: &Desired) -> Try<Vec<Change>> {
        Ok(plan(desired, &self.observed(desired).await?, &Health::Unasked).changes)
    }
}

/// The lab's tools live in a root of their own, in which its files have the same paths.
pub(crate) fn tools(lab: &Lab, scratch: &Path) -> Try<Tools> {
    let root = toolbox(lab);
    let wrap = |program: &str| -> Try<PathBuf> {
        let path = scratch.join(program);
        let script = format!("#!/bin/sh\nexec chroot {} {program} \"$@\"\n", root.display());
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    };
    let settings = scratch.join("nix.conf");
    fs::write(&settings, "build-users-group =\nsandbox = false\nsubstituters =\n")?;
    Ok(Tools {
        nix: wrap("nix")?,
        git: wrap("git")?,
        ssh: wrap("ssh")?,
        path: "/usr/sbin:/usr/bin:/sbin:/bin".into(),
        home: scratch.into(),
        env: vec![("NIX_USER_CONF_FILES".into(), settings.into())],
    })
}

/// Where that root lies.
pub(crate) fn toolbox(lab: &Lab) -> PathBuf {
    lab.inside().volatile().join("roots/toolbox/root")
}

fn attribute(name: &str) -> Try<Attribute> {
    Ok(name.parse()?)
}

fn switch_to(toplevel: &Toplevel) -> Desired {
    Desired {
        closure: toplevel.closure.clone(),
        known: vec![],
        action: Action::Switch,
        confirm_timeout: Duration::from_mins(2),
        may_reboot: false,
        attempt: Attempt::First,
    }
}

fn sync(desired: &Desired, applied: &Applied) -> SyncState {
    assess(desired, &applied.observed).sync
}

/// Makes the closures of `repository` do `script` when they are activated, after noting that they
/// were.
async fn when_activated(repository: &Repository, script: &str) -> Try<()> {
    let original = fs::read_to_string(Lab::fixture("infra").join(SWITCH))?;
    let (head, body) = original.split_once("activate() {\n").ok_or("no activate()")?;
    let changed = format!("{head}activate() {{\necho $out >> {NOTES}\n{script}\n{body}");
    repository.commit("Another way to switch", &[(SWITCH, &changed)]).await?;
    Ok(())
}

/// How often host1 activated a closure of [`when_activated`].
async fn activations(lab: &Lab, closure: &StorePath) -> Try<usize> {
    let notes = lab.host(1)?.exec(&format!("cat {NOTES} 2>/dev/null || true")).await?;
    Ok(notes.lines().filter(|line| *line == closure.as_str()).count())
}

/// What each change does, without its closure.
fn lines(changes: &[Change]) -> Vec<String> {
    let line = |change: &Change| change.to_string().split(" /nix").next().map(str::to_owned);
    changes.iter().filter_map(line).collect()
}
