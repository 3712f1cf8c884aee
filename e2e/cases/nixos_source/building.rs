//! Builds that fail, builders that die, closures that stay.

use std::{collections::BTreeSet, time::Duration};

use cim_e2e::lab::{
    Lab,
    servers::{
        git::Repository,
        host::{DEPLOY_USER, Host},
    },
    wait_until,
};
use cim_nixos::{
    BuildOptions, Builder, Builders, Error, Hosts, Limits, PrivateDir, Progress, ProgressSink,
    Roots, Signer, Target,
};

use super::{Try, Workbench, change_flake};
use crate::harness::Outcome;

const SOON: Duration = Duration::from_secs(30);
const HOST: &str = "host2 = host \"host2\";";

/// Makes host2 something that `script` builds, after a dependency that `before` builds.
async fn built_by(repository: &Repository, before: &str, script: &str) -> Try<String> {
    let run = |name: &str, script: &str| {
        format!(
            "derivation {{ name = \"{name}\"; system = \"x86_64-linux\"; inherit needed;
              busybox = \"${{./bin}}/busybox\"; builder = \"${{./bin}}/busybox\";
              args = [ \"sh\" \"-c\" ''{script}'' ]; }}"
        )
    };
    let host = format!(
        "host2.config.system.build.toplevel =
          let
            needed = let needed = \"\"; in {};
          in
          {};",
        run("needed", before),
        run("nixos-system-host2", script),
    );
    change_flake(repository, HOST, &host).await
}

fn progress() -> ProgressSink {
    tokio::sync::watch::channel(Progress::default()).0
}

pub(crate) async fn a_failed_build_leaves_its_log(lab: &Lab) -> Outcome {
    let bench = Workbench::new(lab, "b1", Limits::default()).await?;
    let repository = lab.infra("cheese").await?;
    let fails = "\"$busybox\" seq 1 90000; echo the disk is made of cheese >&2; exit 3";
    built_by(&repository, fails, "echo > \"$out\"").await?;
    let toplevel = bench.toplevel(&repository, "host2").await?;
    let progress = progress();
    let options = BuildOptions { progress: Some(&progress), ..BuildOptions::default() };
    let error = bench.nix.build(&toplevel, options).await.err().ok_or("it was built")?;
    assert!(!error.is_transient());
    let told = error.to_string();
    let Error::BuildFailed { derivation, detail, log } = error else {
        return Err(told.into());
    };
    assert_eq!(derivation, toplevel.derivation.to_string());
    assert!(log.derivation.ends_with("-needed.drv"), "{log:?}");
    assert!(detail.contains(&log.derivation), "the cause and not its consequence: {detail}");
    assert!(log.text.ends_with("90000\nthe disk is made of cheese\n"), "{}", log.text.len());
    assert!((250 << 10..=256 << 10).contains(&log.text.len()), "{}", log.text.len());
    let builds = progress.borrow().builds;
    assert_eq!((builds.done, builds.failed), (0, 1), "{builds:?}");
    Ok(())
}

pub(crate) async fn what_has_a_root_stays_until_it_is_let_go(lab: &Lab) -> Outcome {
    let bench = Workbench::new(lab, "b2", Limits::default()).await?;
    let repository = lab.infra("rooted").await?;
    let roots = Roots::open(bench.scratch.join("roots"))?;
    let build = async |message: &str, root: Option<&str>| -> Try<(String, String)> {
        repository.commit(message, &[("message", &format!("{message}\n"))]).await?;
        let toplevel = bench.toplevel(&repository, "host1").await?;
        let root = root.map(|name| roots.place(name)).transpose()?;
        let options = BuildOptions { root: root.as_ref(), ..BuildOptions::default() };
        bench.nix.build(&toplevel, options).await?;
        Ok((toplevel.closure.to_string(), toplevel.derivation.to_string()))
    };
    let (current, derivation) = build("rooted current", Some("core.current")).await?;
    let (approved, _) = build("rooted approved", Some("core.approved")).await?;
    let (loose, _) = build("rooted not at all", None).await?;
    // Made again, as after a restart; and one for a path that is there already.
    bench.nix.root(&roots.place("core.current")?, &current.parse()?).await?;
    bench.nix.root(&roots.place("core.derivation")?, &derivation.parse()?).await?;
    let held: Vec<_> = roots.list()?.into_keys().collect();
    assert_eq!(held, ["core.approved", "core.current", "core.derivation"]);

    bench.by_hand(&["store", "gc"])?;
    assert!(bench.is_valid(&current) && bench.is_valid(&approved) && bench.is_valid(&derivation));
    assert!(!bench.is_valid(&loose), "nothing held it");
    let error = bench.nix.root(&roots.place("core.loose")?, &loose.parse()?).await.err();
    assert_eq!(error.ok_or("it is gone")?.reason(), "RootsUnusable");

    // Another collector's roots, and a person's, in the same directory are not ours.
    let by_hand = bench.scratch.join("roots/by-hand");
    bench.by_hand(&["build", "--out-link", &by_hand.to_string_lossy(), &approved])?;
    let kept = BTreeSet::from(["core.current".to_owned()]);
    assert_eq!(roots.retain(&kept)?, ["core.approved", "core.derivation"]);
    bench.by_hand(&["store", "gc"])?;
    assert!(bench.is_valid(&current) && bench.is_valid(&approved));
    std::fs::remove_file(by_hand)?;
    bench.by_hand(&["store", "gc"])?;
    assert!(bench.is_valid(&current) && !bench.is_valid(&approved));
    Ok(())
}

pub(crate) async fn a_path_tells_its_content_and_its_signers(lab: &Lab) -> Outcome {
    let bench = Workbench::new(lab, "b3", Limits::default()).await?;
    let repository = lab.infra("signed").await?;
    repository.commit("Of its own", &[("message", "signed\n")]).await?;
    let toplevel = bench.toplevel(&repository, "host1").await?;
    let error = bench.nix.provenance(&toplevel.closure).await.err().ok_or("it is not built")?;
    assert!(error.to_string().contains("not in the local store"), "{error}");
    bench.nix.build(&toplevel, BuildOptions::default()).await?;
    let unsigned = bench.nix.provenance(&toplevel.closure).await?;
    assert!(unsigned.signed_by.is_empty() && unsigned.nar_size > 100, "{unsigned:?}");
    let hash = bench.by_hand(&["hash", "path", "--type", "sha256", toplevel.closure.as_str()])?;
    assert_eq!(unsigned.nar_hash.as_str(), hash.trim());

    let signer = Signer::new(&bench.dir, &lab.nix_key().secret.parse()?)?;
    bench.nix.sign(&signer, &toplevel.closure).await?;
    let after = bench.nix.provenance(&toplevel.closure).await?;
    let name = lab.nix_key().public.split(':').next().ok_or("a key has a name")?;
    assert_eq!(after.signed_by, [name]);
    assert_eq!(after.nar_hash, unsigned.nar_hash);
    Ok(())
}

pub(crate) async fn a_copy_tells_how_many_bytes_it_has_brought(lab: &Lab) -> Outcome {
    let bench = Workbench::new(lab, "b5", Limits::default()).await?;
    let repository = lab.infra("heavy").await?;
    let heavy = "\"$busybox\" head -c 5000000 /dev/urandom > \"$out\"";
    built_by(&repository, heavy, "echo \"$needed\" > \"$out\"").await?;
    let toplevel = bench.toplevel(&repository, "host2").await?;
    bench.nix.build(&toplevel, BuildOptions::default()).await?;
    let signer = Signer::new(&bench.dir, &lab.nix_key().secret.parse()?)?;

    let hosts = Hosts::new(PrivateDir::open(bench.scratch.join("h"))?, bench.nix.tools().clone());
    let target = Target { user: DEPLOY_USER.parse()?, ..builder(lab, lab.host(1)?)?.target };
    let host = hosts.host("host1", target)?;
    let progress = progress();
    bench.nix.copy(&host, &signer, &toplevel.closure, Some(&progress)).await?;
    let seen = progress.borrow().clone();
    assert!(seen.copies.done >= 2 && seen.copies.done == seen.copies.expected, "{seen:?}");
    assert!(seen.bytes.done > 5_000_000, "{seen:?}");
    assert_eq!(seen.bytes.done, seen.bytes.expected, "{seen:?}");
    Ok(())
}

fn builder(lab: &Lab, host: &Host) -> Try<Builder> {
    Ok(Builder {
        name: "forge".to_owned(),
        target: Target {
            address: host.address().to_string().parse()?,
            port: 22,
            user: "root".parse()?,
            key: lab.deploy_key().private.parse()?,
            host_keys: vec![host.host_key().parse()?],
        },
        systems: vec!["x86_64-linux".to_owned()],
        max_jobs: 2,
        speed_factor: 1,
        features: vec![],
        mandatory_features: vec![],
    })
}

pub(crate) async fn a_builder_that_dies_is_named_and_used_again(lab: &Lab) -> Outcome {
    let bench = Workbench::new(lab, "b4", Limits::default()).await?;
    let host = lab.host(2)?;
    // A builder trusts those who use it: they bring what is unsigned.
    host.exec("mkdir -p /root/.ssh; cp ~deploy/.ssh/authorized_keys /root/.ssh/; rm -f /run/go-on")
        .await?;
    let repository = lab.infra("built-elsewhere").await?;
    let waits = "echo begun > /run/begun
        until \"$busybox\" test -e /run/go-on; do \"$busybox\" sleep 0.1; done
        \"$busybox\" cat /proc/sys/kernel/hostname /etc/hostname > \"$out\"";
    built_by(&repository, "echo > \"$out\"", waits).await?;
    let toplevel = bench.toplevel(&repository, "host2").await?;
    let wrong = Builder {
        target: Target {
            host_keys: vec![lab.host(1)?.host_key().parse()?],
            ..builder(lab, host)?.target
        },
        ..builder(lab, host)?
    };
    let wrong = Builders::new(&bench.dir, &[wrong], 0)?;
    let options = BuildOptions { builders: Some(&wrong), ..BuildOptions::default() };
    let error = bench.nix.build(&toplevel, options).await.err().ok_or("built by a stranger")?;
    assert_eq!((error.reason(), error.is_transient()), ("HostKeyMismatch", false), "{error}");

    let builders = Builders::new(&bench.dir, &[builder(lab, host)?], 0)?;
    let progress = progress();
    let options = BuildOptions {
        builders: Some(&builders),
        progress: Some(&progress),
        ..BuildOptions::default()
    };
    let dies = async {
        wait_until("the build to begin", SOON, async || {
            host.exec("test -e /run/begun").await.map_err(|error| error.to_string())
        })
        .await?;
        host.exec("systemctl stop ssh; pkill -x sshd-session; rm /run/begun").await?;
        Try::Ok(())
    };
    let (built, dead) = tokio::join!(bench.nix.build(&toplevel, options), dies);
    dead?;
    let error = built.err().ok_or("it was built without its builder")?;
    let told = error.to_string();
    assert!(error.is_transient() && error.reason() == "BuilderLost", "{told}");
    assert!(told.starts_with("builder forge was lost"), "{told}");

    host.exec("systemctl start ssh; touch /run/go-on").await?;
    bench.nix.build(&toplevel, options).await?;
    assert!(bench.is_valid(toplevel.closure.as_str()));
    let made_on = lab.tool("cat", &[toplevel.closure.as_str()])?;
    assert!(made_on.contains("host2"), "{made_on}");
    let seen = progress.borrow().clone();
    assert!(seen.builds.done == 1 && seen.bytes.done > 0, "{seen:?}");
    host.exec("rm -rf /root/.ssh /run/go-on /run/begun").await?;
    Ok(())
}
