//! Repositories that not everybody may read, that move, and that go away.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cim_e2e::lab::{Lab, Process, network, servers::host::DEPLOY_USER};
use cim_nixos::{Access, BuildOptions, Credentials, Error, Limits, Source};

use super::{Try, Workbench, attributes, configuration, on_main, toolbox};
use crate::harness::Outcome;

const READY: Duration = Duration::from_secs(10);
/// What the forge asks of its user `ci`.
pub(crate) const PASSWORD: &str = "s3cret-of-the-forge";
/// The port of the forge.
pub(crate) const HTTP: u16 = 8091;

/// Where the lab's git server keeps a repository.
fn served(lab: &Lab, name: &str) -> PathBuf {
    lab.inside().volatile().join("git/served").join(name)
}

pub(crate) async fn a_repository_is_read_with_a_key_by_a_known_host(lab: &Lab) -> Outcome {
    let bench = Workbench::new(lab, "f1", Limits::default()).await?;
    let repository = lab.infra("by-key").await?;
    let host = lab.host(1)?;
    host.exec(&format!(
        "rm -rf /srv/by-key; git clone --quiet --bare {} /srv/by-key
         git -C /srv/by-key config uploadpack.allowAnySHA1InWant true
         chown -R {DEPLOY_USER}: /srv/by-key",
        repository.url()
    ))
    .await?;
    let url = format!("git+ssh://{DEPLOY_USER}@{}/srv/by-key", host.address());
    let source = on_main(&url)?;
    let stranger = bench.scratch.join("stranger");
    let generate = ["-q", "-t", "ed25519", "-N", "", "-f", &stranger.to_string_lossy()];
    lab.tool("ssh-keygen", &generate)?;
    let stranger = fs::read_to_string(stranger)?;
    let ours = lab.deploy_key().private.as_str();
    let (right, wrong) = (host.host_key(), lab.host(2)?.host_key());

    let told = async |key: &str, known: &str| -> Result<(String, bool), Error> {
        let credentials = Credentials::Ssh {
            private_key: key.parse()?,
            known_hosts: format!("{} {known}", host.address()).parse()?,
        };
        let access = Arc::new(Access::new(&bench.dir, &source.url, &credentials)?);
        match bench.nix.with_access(access).resolve(&source).await {
            Ok(locked) => Ok((locked.rev.to_string(), false)),
            Err(error) => Ok((error.reason().to_owned(), error.is_transient())),
        }
    };
    let denied = |reason: &str| (reason.to_owned(), false);
    assert_eq!(told(&stranger, right).await?, denied("SourceDenied"));
    assert_eq!(told(ours, wrong).await?, denied("SourceKeyMismatch"));
    assert_eq!(told(ours, right).await?.0, repository.head()?);
    let without = bench.nix.resolve(&source).await.err().ok_or("no key was needed")?;
    assert!(["SourceDenied", "SourceKeyMismatch"].contains(&without.reason()), "{without}");

    // A repository of which nothing was fetched before, whose flake has an input of the same kind.
    let library = format!("git+ssh://{DEPLOY_USER}@{}/srv/by-key", host.address());
    let dependent = lab.infra("by-key-dependent").await?;
    let flake = dependent.read("flake.nix")?;
    let flake = flake
        .replace(
            "  outputs =\n    { self }:",
            &format!(
                "  inputs.library.url = \"{library}\";\n  outputs =\n    {{ self, library }}:"
            ),
        )
        .replace("host1 = host \"host1\"", "host1 = library.nixosConfigurations.host1");
    let credentials = Credentials::Ssh {
        private_key: ours.parse()?,
        known_hosts: format!("{} {right}", host.address()).parse()?,
    };
    let access = Arc::new(Access::new(&bench.dir, &source.url, &credentials)?);
    let nix = bench.nix.with_access(access);
    let locked = nix.resolve(&source).await?;
    let lock = serde_json::json!({
        "nodes": {
            "library": {
                "locked": {
                    "type": "git", "url": library.trim_start_matches("git+"), "ref": "main",
                    "rev": locked.rev.as_str(), "narHash": locked.nar_hash.as_str(),
                    "lastModified": 0, "revCount": 1,
                },
                "original": { "type": "git", "url": library.trim_start_matches("git+") },
            },
            "root": { "inputs": { "library": "library" } },
        },
        "root": "root", "version": 7,
    });
    let files = [("flake.nix", flake.as_str()), ("flake.lock", &lock.to_string())];
    dependent.commit("An input by SSH", &files).await?;
    let top = nix.resolve(&on_main(&dependent.url())?).await?;
    let evaluation = nix.evaluate(&top, None, &attributes(&["host1"])?).await?;
    assert_eq!(configuration(&evaluation, "host1")?.toplevel.closure.name(), "nixos-system-host1");
    Ok(())
}

/// git over HTTP behind a server that asks for a password.
pub(crate) async fn forge(lab: &Lab, www: &Path) -> Try<Process> {
    fs::create_dir_all(www.join("cgi-bin"))?;
    let served = served(lab, "");
    let script = format!(
        "#!/bin/sh\nexport GIT_PROJECT_ROOT={} GIT_HTTP_EXPORT_ALL=1\nexec git http-backend\n",
        served.display()
    );
    let cgi = www.join("cgi-bin/git");
    fs::write(&cgi, script)?;
    fs::set_permissions(&cgi, fs::Permissions::from_mode(0o755))?;
    fs::write(www.join("httpd.conf"), format!("/cgi-bin:ci:{PASSWORD}\n"))?;
    let (root, www) = (toolbox(lab), www.to_owned());
    let forge = Process::spawn("forge", &lab.logs(), move || {
        let mut httpd = tokio::process::Command::new("chroot");
        httpd.arg(&root).args(["busybox", "httpd", "-f", "-p"]);
        httpd.arg(format!("{}:{HTTP}", network::GATEWAY)).arg("-h").arg(&www);
        httpd.arg("-c").arg(www.join("httpd.conf"));
        httpd
    })?;
    let listens = async || tokio::net::TcpStream::connect((network::GATEWAY, HTTP)).await;
    forge.ready(READY, listens).await?;
    Ok(forge)
}

pub(crate) async fn a_repository_is_read_with_a_password(lab: &Lab) -> Outcome {
    let bench = Workbench::new(lab, "f2", Limits::default()).await?;
    let repository = lab.infra("by-password").await?;
    let forge = forge(lab, &bench.scratch.join("www")).await?;
    let url = format!("git+http://{}:{HTTP}/cgi-bin/git/by-password", network::GATEWAY);
    let source = on_main(&url)?;
    let with = |password: &str| -> Result<_, Error> {
        let credentials =
            Credentials::Basic { username: "ci".to_owned(), password: password.parse()? };
        let access = Access::new(&bench.dir, &source.url, &credentials)?;
        Ok(bench.nix.with_access(Arc::new(access)))
    };
    for nix in [bench.nix.clone(), with("another")?] {
        let error = nix.resolve(&source).await.err().ok_or("anybody may read it")?;
        assert_eq!((error.reason(), error.is_transient()), ("SourceDenied", false), "{error}");
    }
    let nix = with(PASSWORD)?;
    let locked = nix.resolve(&source).await?;
    assert_eq!(locked.rev.as_str(), repository.head()?);
    let evaluation = nix.evaluate(&locked, None, &attributes(&["host1"])?).await?;
    let toplevel = &configuration(&evaluation, "host1")?.toplevel;
    nix.build(toplevel, BuildOptions::default()).await?;

    // Neither what is kept nor what was asked for tells the password.
    let shown = format!("{nix:?} {locked:?} {evaluation:?}");
    assert!(!shown.contains(PASSWORD), "{shown}");
    let seek = format!("grep -rlF {PASSWORD} /nix/store /nix/var /root/.cache 2>/dev/null || true");
    assert_eq!(lab.tool("sh", &["-c", &seek])?, "");
    forge.kill().await?;

    // Without its server: a fault that passes, and no reason to evaluate again.
    let error = nix.resolve(&source).await.err().ok_or("nobody answers")?;
    assert_eq!((error.reason(), error.is_transient()), ("SourceUnreachable", true), "{error}");
    Ok(())
}

pub(crate) async fn what_was_evaluated_stays_usable_without_its_repository(lab: &Lab) -> Outcome {
    let bench = Workbench::new(lab, "f3", Limits::default()).await?;
    let repository = lab.infra("gone").await?;
    repository.commit("Of its own", &[("message", "soon gone\n")]).await?;
    let locked = bench.lock(&repository).await?;
    let first = bench.evaluate(&locked, &["host1"]).await?;
    let bare = served(lab, "gone");
    fs::rename(&bare, bare.with_extension("away"))?;

    let error = bench.nix.resolve(&on_main(&repository.url())?).await.err();
    let error = error.ok_or("the repository is gone")?;
    assert_eq!((error.reason(), error.is_transient()), ("SourceUnreachable", true), "{error}");
    let second = bench.evaluate(&locked, &["host1"]).await?;
    assert_eq!(first.configurations, second.configurations);
    let toplevel = &configuration(&second, "host1")?.toplevel;
    bench.nix.build(toplevel, BuildOptions::default()).await?;
    Ok(())
}

pub(crate) async fn a_tag_that_moves_is_seen_and_moves_no_release(lab: &Lab) -> Outcome {
    let bench = Workbench::new(lab, "f4", Limits::default()).await?;
    let repository = lab.infra("tagged").await?;
    let bare = served(lab, "tagged");
    let git =
        |args: &[&str]| lab.tool("git", &[&["--git-dir", &bare.to_string_lossy()], args].concat());
    let first = repository.commit("First", &[("message", "first\n")]).await?;
    git(&["tag", "v1", &first])?;
    let by_tag = Source::parse(&repository.url(), Some("refs/tags/v1"), None)?;
    let pinned = bench.nix.resolve(&by_tag).await?;
    assert_eq!(pinned.rev.as_str(), first);
    let released = bench.evaluate(&pinned, &["host1"]).await?;

    let second = repository.commit("Second", &[("message", "second\n")]).await?;
    git(&["tag", "--force", "v1", &second])?;
    assert_eq!(bench.nix.current_rev(&by_tag).await?.as_str(), second, "it is seen at once");
    let moved = bench.nix.resolve(&by_tag).await?;
    assert_ne!((&moved.rev, &moved.nar_hash), (&pinned.rev, &pinned.nar_hash));
    // What was released is by revision and hash, and stays what it is.
    let still = bench.evaluate(&pinned, &["host1"]).await?;
    assert_eq!(still.configurations, released.configurations);
    let next = bench.evaluate(&moved, &["host1"]).await?;
    assert_ne!(next.configurations, released.configurations);

    // The same revision under another hash is somebody else's tree.
    let mut forged = pinned.clone();
    forged.nar_hash = moved.nar_hash.clone();
    let error = bench.evaluate(&forged, &["host1"]).await.err().ok_or("accepted")?;
    assert_eq!(error.downcast::<Error>()?.reason(), "SourceChanged");

    // A revision that was pinned, and that its repository has lost before anybody fetched it.
    let lost = repository.commit("Third", &[("message", "third\n")]).await?;
    git(&["update-ref", "refs/heads/main", &second])?;
    git(&["reflog", "expire", "--expire=now", "--all"])?;
    git(&["gc", "--quiet", "--prune=now"])?;
    let by_rev = Source::parse(&repository.url(), Some("main"), Some(&lost))?;
    let error = bench.nix.resolve(&by_rev).await.err().ok_or("it is nowhere")?;
    assert_eq!((error.reason(), error.is_transient()), ("RefNotFound", false), "{error}");
    Ok(())
}

pub(crate) async fn a_working_tree_with_changes_is_refused(lab: &Lab) -> Outcome {
    let bench = Workbench::new(lab, "f5", Limits::default()).await?;
    let repository = lab.infra("dirty").await?;
    let tree = lab.inside().volatile().join("git/work/dirty");
    let source = Source::parse(&format!("git+file://{}", tree.display()), None, None)?;
    let locked = bench.nix.resolve(&source).await?;
    assert_eq!(locked.rev.as_str(), repository.head()?);
    assert!(configuration(&bench.evaluate(&locked, &["host1"]).await?, "host1").is_ok());

    fs::write(tree.join("message"), "not committed\n")?;
    let error = bench.nix.resolve(&source).await.err().ok_or("no commit holds it")?;
    assert_eq!((error.reason(), error.is_transient()), ("FlakeDirty", false), "{error}");
    // By its branch it is the last commit, which whoever names it means.
    let by_branch = Source::parse(&source.url.to_string(), Some("main"), None)?;
    assert_eq!(bench.nix.resolve(&by_branch).await?.nar_hash, locked.nar_hash);
    Ok(())
}
