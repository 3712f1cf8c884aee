//! Whom a machine takes closures from.

use cim_e2e::lab::{Lab, network, servers::host::DEPLOY_USER};
use cim_nixos::{
    Desired, Error, Health, Observed, Outcome as Ended, Signer, SigningKey, Source, SyncState,
    Target, assess, observe, plan,
};

use super::{Site, Try, lines, switch_to, sync};
use crate::harness::Outcome;

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
    assert_eq!(plan(&desired, &observed, &Health::Unasked).findings.len(), 1);
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
    assert_eq!(
        lines(&site.planned(&desired).await?),
        ["copy", "check", "test"],
        "nothing is there yet"
    );

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
    assert_eq!(lines(&site.planned(&desired).await?), ["copy signatures of", "check", "test"]);
    assert_eq!(sync(&desired, &site.deliver(&desired).await?), SyncState::InSync);
    Ok(())
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
    if sudo -n cim-activate test $path 60 60; then echo accepted $path; else echo refused $?; fi
done
for path in / /nix/store /etc $built/bin \"$built -x\" \"$built
/etc\" --help; do
    if sudo -n cim-activate test \"$path\" 60 60; then echo accepted $path; else echo refused $?; fi
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
