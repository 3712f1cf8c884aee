//! Deliveries by the crate that the controller uses, to the lab's hosts.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cim_e2e::lab::{
    Lab, network, servers::git::Repository, servers::host::DEPLOY_USER, wait_until,
};
use cim_nixos::{
    Action, Applied, Attribute, AttributeError, BuildOptions, Change, Configuration, Delivery,
    Desired, Error, Evaluation, Host, Hosts, Limits, LockedSource, Nix, Observed, Outcome as Ended,
    PrivateDir, Signer, SigningKey, Source, SyncState, Target, Tools, Toplevel, apply, assess,
    observe, plan,
};

use crate::harness::Outcome;

type Try<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SOON: Duration = Duration::from_secs(30);
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
        let scratch = lab.scratch(name)?;
        let nix = Nix::detect(tools(lab, &scratch)?, Limits::default()).await?;
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

    /// Observes host1, plans, applies.
    async fn deliver(&self, desired: &Desired) -> Try<Applied> {
        let host = self.host(1)?;
        let observed = observe(&host, self.nix.limits(), Some(&desired.closure)).await;
        let plan = plan(desired, &observed);
        Ok(apply(self.delivery(&host), &plan, Some(&desired.closure)).await?)
    }

    fn delivery<'a>(&'a self, host: &'a Host) -> Delivery<'a> {
        Delivery { nix: &self.nix, signer: &self.signer, host, progress: None }
    }

    /// What would be done now, a line each.
    async fn planned(&self, desired: &Desired) -> Try<Vec<Change>> {
        let host = self.host(1)?;
        let observed = observe(&host, self.nix.limits(), Some(&desired.closure)).await;
        assert!(observed.state().is_some(), "{observed:?}");
        Ok(plan(desired, &observed).changes)
    }
}

/// The lab's tools live in a root of their own, in which its files have the same paths.
fn tools(lab: &Lab, scratch: &Path) -> Try<Tools> {
    let root = lab.inside().volatile().join("roots/toolbox/root");
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
        home: "/root".into(),
        env: vec![("NIX_USER_CONF_FILES".into(), settings.into())],
    })
}

fn attribute(name: &str) -> Try<Attribute> {
    Ok(name.parse()?)
}

fn switch_to(toplevel: &Toplevel) -> Desired {
    Desired { closure: toplevel.closure.clone(), known: vec![], action: Action::Switch }
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

async fn activations(lab: &Lab, toplevel: &Toplevel) -> Try<usize> {
    let notes = lab.host(1)?.exec(&format!("cat {NOTES} 2>/dev/null || true")).await?;
    Ok(notes.lines().filter(|line| *line == toplevel.closure.as_str()).count())
}

pub(crate) async fn a_commit_becomes_what_the_host_runs(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n1").await?;
    let repository = lab.infra("delivered").await?;
    let host = lab.host(1)?;

    let first = site.release(&repository).await?;
    let desired = switch_to(&first);
    let applied = site.deliver(&desired).await?;
    assert_eq!(applied.outcome, Some(Ended::Succeeded), "{applied:?}");
    assert_eq!(sync(&desired, &applied), SyncState::InSync);
    assert_eq!(host.current_system().await?.as_deref(), Some(first.closure.as_str()));
    assert_eq!(host.profile().await?.as_deref(), Some(first.closure.as_str()));
    assert!(site.planned(&desired).await?.is_empty());

    let source = Source::parse(&repository.url(), Some("main"), None)?;
    let before = site.nix.current_rev(&source).await?;
    let commit = repository.commit("Next", &[("message", "delivered\n")]).await?;
    let after = site.nix.current_rev(&source).await?;
    assert_ne!(before, after, "a branch that moved is seen at once");
    assert_eq!(after.as_str(), commit);

    let second = site.release(&repository).await?;
    let desired = Desired { known: vec![first.closure.clone()], ..switch_to(&second) };
    let applied = site.deliver(&desired).await?;
    assert_eq!(sync(&desired, &applied), SyncState::InSync);
    assert_eq!(host.website().await?, "host1: delivered");

    // Somebody switches by hand, to a closure of ours and by another way than ours.
    host.exec(&format!("{}/bin/switch-to-configuration test", first.closure)).await?;
    let observed = observe(&*site.host(1)?, site.nix.limits(), Some(&desired.closure)).await;
    assert_eq!(assess(&desired, &observed).sync, SyncState::Staged);
    assert_eq!(plan(&desired, &observed).findings.len(), 1);
    // And to nothing of ours.
    host.exec("ln -sfn /srv /run/current-system").await?;
    let observed = observe(&*site.host(1)?, site.nix.limits(), Some(&desired.closure)).await;
    assert_eq!(assess(&desired, &observed).sync, SyncState::Drifted);
    let applied = site.deliver(&desired).await?;
    assert_eq!(sync(&desired, &applied), SyncState::InSync);
    assert_eq!(host.website().await?, "host1: delivered");
    Ok(())
}

pub(crate) async fn a_host_refuses_what_is_not_signed_for_it(lab: &Lab) -> Outcome {
    let mut site = Site::new(lab, "n2").await?;
    let repository = lab.infra("unsigned").await?;
    repository.commit("Not for you", &[("message", "unsigned\n")]).await?;
    let toplevel = site.release(&repository).await?;
    let desired = switch_to(&toplevel);
    let before = lab.host(1)?.current_system().await?;

    let args = ["--extra-experimental-features", "nix-command", "key", "generate-secret"];
    let stranger = lab.tool("nix", &[&args[..], &["--key-name", "stranger-1"]].concat())?;
    let stranger: SigningKey = stranger.parse()?;
    let ours = std::mem::replace(&mut site.signer, Signer::new(&site.dir, &stranger)?);
    let refused = async |site: &Site<'_>| -> Try<String> {
        let error = site.deliver(&desired).await.err().ok_or("a stranger's closure runs")?;
        Ok(error.downcast::<Error>()?.to_string())
    };
    let told = refused(&site).await?;
    assert!(told.contains("no signature by a trusted key"), "{told}");
    assert_eq!(lines(&site.planned(&desired).await?), ["copy", "switch"], "nothing is there yet");

    // Somebody whom Nix trusts (a public cache) may bring paths, but not what the machine runs.
    let trust = format!("extra-trusted-public-keys = {}", stranger.public());
    let host = lab.host(1)?;
    host.exec(&format!(
        "cp /etc/nix/nix.conf /root/ && echo '{trust}' >> /etc/nix/nix.conf &&
         systemctl restart nix-daemon.service"
    ))
    .await?;
    let told = refused(&site).await?;
    assert!(told.contains("no signature by a key of /etc/cim/delivery-keys"), "{told}");
    host.exec("mv /root/nix.conf /etc/nix/ && systemctl restart nix-daemon.service").await?;
    assert_eq!(host.current_system().await?, before);

    site.signer = ours;
    assert_eq!(lines(&site.planned(&desired).await?), ["copy signatures of", "switch"]);
    assert_eq!(sync(&desired, &site.deliver(&desired).await?), SyncState::InSync);
    Ok(())
}

/// What each change does, without its closure.
fn lines(changes: &[Change]) -> Vec<String> {
    let line = |change: &Change| change.to_string().split(" /nix").next().map(str::to_owned);
    changes.iter().filter_map(line).collect()
}

/// The deploy user may add and build paths on the host; none of these must become root's code.
pub(crate) async fn what_the_deploy_user_made_does_not_run_as_root(lab: &Lab) -> Outcome {
    let script = "
set -eu
dir=$(mktemp -d)
mkdir $dir/bin
echo x > $dir/nixos-version
printf '#!/bin/sh\\nid > /root/owned\\n' > $dir/bin/switch-to-configuration
chmod 755 $dir/bin/switch-to-configuration
added=$(nix --extra-experimental-features nix-command store add $dir --name evil)
cat > $dir/evil.nix <<'END'
derivation {
  name = \"evil\"; system = \"x86_64-linux\"; builder = \"/bin/sh\";
  args = [ \"-c\" \"/bin/mkdir -p $out/bin; echo x > $out/nixos-version;
    echo id > $out/bin/switch-to-configuration; /bin/chmod 755 $out/bin/switch-to-configuration\" ];
}
END
built=$(nix-build --no-out-link $dir/evil.nix 2>/dev/null || nix --extra-experimental-features nix-command build --no-link --print-out-paths --file $dir/evil.nix)
for path in $added $built; do
    test -x $path/bin/switch-to-configuration
    if sudo -n cim-activate switch $path; then echo accepted $path; else echo refused $?; fi
done
for path in / /nix/store /etc $built/bin \"$built -x\" \"$built
/etc\" --help; do
    if sudo -n cim-activate switch \"$path\"; then echo accepted $path; else echo refused $?; fi
done
";
    let host = lab.host(1)?;
    let script = script.replace('\'', r"'\''");
    let answer = host.exec(&format!("su {DEPLOY_USER} -c '{script}'")).await?;
    let lines: Vec<&str> = answer.lines().collect();
    let (made, other) = lines.split_at_checked(2).ok_or("two closures were tried")?;
    assert_eq!(made, ["refused 77", "refused 77"], "{answer}");
    assert_eq!(other.len(), 7, "{answer}");
    assert!(other.iter().all(|line| *line == "refused 65"), "{answer}");
    assert!(host.exec("test ! -e /root/owned").await.is_ok(), "it ran");
    Ok(())
}

pub(crate) async fn a_broken_machine_does_not_stop_the_others(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n3").await?;
    let repository = lab.infra("broken").await?;
    let flake = repository.read("flake.nix")?;
    let broken = flake.replace(
        "host2 = host \"host2\";",
        "host2 = throw \"host2 lacks a disk\";
        host3.config.system.build.toplevel = 1 + \"x\";
        host4 = host \"host4\";",
    );
    assert_ne!(flake, broken);
    repository.commit("Two broken machines", &[("flake.nix", &broken)]).await?;
    let source = site.lock(&repository).await?;
    let evaluation = site.evaluate(&source, &["host1", "host2", "host3", "host4", "host9"]).await?;
    let of = |name: &str| -> Try<&Result<Configuration, AttributeError>> {
        Ok(evaluation.configurations.get(&attribute(name)?).ok_or("not evaluated")?)
    };
    assert!(of("host1")?.is_ok() && of("host4")?.is_ok(), "{evaluation:#?}");
    let message = |name: &str| -> Try<String> {
        Ok(of(name)?.as_ref().err().ok_or("it was evaluated")?.to_string())
    };
    assert!(message("host2")?.ends_with("host2 lacks a disk"), "{}", message("host2")?);
    assert!(message("host3")?.contains("cannot add a string to an integer"));
    assert!(message("host9")?.ends_with("it has host1, host2, host3, host4"));
    Ok(())
}

pub(crate) async fn a_flake_that_pins_nothing_is_refused(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n4").await?;
    let repository = lab.infra("unlocked").await?;
    let told = async |url: &str, branch: &str| -> Try<String> {
        let tell = |error: Error| format!("{}: {error}", error.reason());
        let locked = match site.nix.resolve(&Source::parse(url, Some(branch), None)?).await {
            Err(error) => return Ok(tell(error)),
            Ok(locked) => locked,
        };
        match site.nix.evaluate(&locked, None, &[attribute("host1")?]).await {
            Err(error) => Ok(tell(error)),
            Ok(evaluation) => {
                match evaluation.configurations.into_values().next().ok_or("not evaluated")? {
                    Err(error) => Ok(format!("{}: {error}", error.reason())),
                    Ok(_) => Ok("accepted".to_owned()),
                }
            }
        }
    };
    let expect = async |url: &str, branch: &str, wanted: &str| -> Try<()> {
        let told = told(url, branch).await?;
        assert!(told.starts_with(wanted), "{wanted} and not: {told}");
        Ok(())
    };
    let flake = repository.url();
    expect(&flake, "main", "accepted").await?;
    expect(&flake, "nowhere", "RefNotFound").await?;
    expect(&format!("{flake}-absent"), "main", "SourceUnreachable").await?;
    let nobody = format!("git://{}/x", network::host(99));
    expect(&nobody, "main", "SourceUnreachable").await?;

    let absent = "1".repeat(40);
    let pinned = async |url: &str| -> Try<&'static str> {
        let source = Source::parse(url, Some("main"), Some(&absent))?;
        Ok(site.nix.resolve(&source).await.map_or_else(|error| error.reason(), |_| "accepted"))
    };
    assert_eq!(pinned(&flake).await?, "RefNotFound");
    assert_eq!(pinned(&nobody).await?, "SourceUnreachable");

    let library = lab.infra("library").await?;
    let with_input = repository
        .read("flake.nix")?
        .replace(
            "  outputs =\n    { self }:",
            &format!(
                "  inputs.library.url = \"{}?ref=main\";\n  outputs =\n    {{ self, library }}:",
                library.url()
            ),
        )
        .replace("host1 = host \"host1\"", "host1 = library.nixosConfigurations.host1");
    repository.commit("An input", &[("flake.nix", &with_input)]).await?;
    expect(&flake, "main", "FlakeUnlocked").await?;

    // The true lock of the input but for its hash, then the true one.
    let features = ["--extra-experimental-features", "nix-command flakes"];
    let url = format!("{}?ref=main", library.url());
    let metadata =
        lab.tool("nix", &[&features[..], &["flake", "metadata", "--json", &url]].concat())?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let nothing = format!("sha256-{}=", "A".repeat(43));
    let true_hash = metadata["locked"]["narHash"].as_str().ok_or("no hash")?;
    for (nar_hash, wanted) in [(nothing.as_str(), "LockMismatch"), (true_hash, "accepted")] {
        let mut locked = metadata["locked"].clone();
        locked.as_object_mut().ok_or("no object")?.remove("__final");
        locked["narHash"] = nar_hash.into();
        let lock = serde_json::json!({
            "nodes": {
                "library": { "locked": locked, "original": metadata["original"] },
                "root": { "inputs": { "library": "library" } },
            },
            "root": "root",
            "version": 7,
        });
        repository.commit("Another lock", &[("flake.lock", &lock.to_string())]).await?;
        expect(&flake, "main", wanted).await?;
    }

    // A locked input whose repository is gone is nobody's broken configuration.
    let gone = repository.read("flake.nix")?.replace(&library.url(), &nobody);
    let lock = repository.read("flake.lock")?.replace(&library.url(), &nobody);
    let lock = lock.replace(true_hash, &nothing);
    repository.commit("A lost input", &[("flake.nix", &gone), ("flake.lock", &lock)]).await?;
    expect(&flake, "main", "SourceUnreachable").await
}

pub(crate) async fn a_host_that_is_not_the_pinned_one_is_not_touched(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n5").await?;
    let seen = async |name: &str, target: Target| -> Try<&'static str> {
        let host = site.hosts.host(name, target)?;
        match observe(&host, site.nix.limits(), None).await {
            Observed::Reached(_) => Ok("Reached"),
            Observed::Unreachable { reason, .. } => Ok(reason),
        }
    };
    assert_eq!(seen("right", site.target(1)?).await?, "Reached");
    let other = site.target(2)?;
    let swapped = Target { host_keys: other.host_keys.clone(), ..site.target(1)? };
    assert_eq!(seen("swapped", swapped).await?, "HostKeyMismatch");
    let nobody = Target { user: "nobody".parse()?, ..site.target(1)? };
    assert_eq!(seen("nobody", nobody).await?, "AuthFailed");
    let down = Target { address: network::host(99).to_string().parse()?, ..site.target(1)? };
    assert_eq!(seen("down", down).await?, "Unreachable");
    let closed = Target { port: 23, ..site.target(1)? };
    assert_eq!(seen("closed", closed).await?, "Unreachable");
    Ok(())
}

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
    let first = plan(&desired, &observed);
    {
        // Dropped in the middle, as a controller that is killed drops it.
        let controller = apply(site.delivery(&host), &first, None);
        let running = wait_until("the activation to begin", SOON, async || {
            match activations(lab, &toplevel).await {
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
    assert_eq!(activations(lab, &toplevel).await?, 1, "activated once");
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
    for (script, ended, log) in [
        ("echo the disk is full >&2; exit 1", Ended::Rejected, Some("the disk is full")),
        ("exit 2", Ended::ActivationScriptFailed, None),
        ("\"$busybox\" kill -9 $$", Ended::Interrupted, None),
    ] {
        when_activated(&repository, script).await?;
        let desired = switch_to(&site.release(&repository).await?);
        let applied = site.deliver(&desired).await?;
        assert_eq!(applied.outcome, Some(ended), "{applied:?}");
        assert_eq!(sync(&desired, &applied), SyncState::Staged);
        let told = applied.log.unwrap_or_default();
        assert!(log.is_none_or(|log| told.contains(log)), "{told}");
        assert_eq!(site.planned(&desired).await?.len(), 1, "it is tried again");
    }

    when_activated(&repository, "exit 100").await?;
    let desired = switch_to(&site.release(&repository).await?);
    let applied = site.deliver(&desired).await?;
    assert_eq!(applied.outcome, Some(Ended::RebootRequired));
    assert_eq!(assess(&desired, &applied.observed).reboot_required, Some(true));
    assert!(site.planned(&desired).await?.is_empty(), "only the reboot is missing");

    // Units that fail leave the new closure active.
    when_activated(&repository, "").await?;
    repository.commit("A service that fails", &[("toplevel/web.service", FAILING)]).await?;
    let desired = switch_to(&site.release(&repository).await?);
    let applied = site.deliver(&desired).await?;
    assert_eq!(applied.outcome, Some(Ended::UnitsFailed), "{applied:?}");
    assert_eq!(sync(&desired, &applied), SyncState::InSync);

    let web = fs::read_to_string(Lab::fixture("infra").join("toplevel/web.service"))?;
    repository.commit("Mended", &[("toplevel/web.service", &web)]).await?;
    let desired = switch_to(&site.release(&repository).await?);
    assert_eq!(sync(&desired, &site.deliver(&desired).await?), SyncState::InSync);
    lab.host(1)?.website().await.map(drop)?;
    Ok(())
}

const FAILING: &str = "[Service]\nType=oneshot\nExecStart=/bin/false\n";
