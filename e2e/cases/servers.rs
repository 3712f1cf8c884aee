//! The servers of the lab are real and answer.

use std::time::Duration;

use cim_e2e::lab::{
    Lab, LabError, http_get,
    servers::{
        controller::ControllerConfig,
        dns::ZONES,
        git::Repository,
        host::{DEPLOY_USER, Host},
    },
    wait_until,
};
use tokio::time::timeout;

use crate::harness::Outcome;

const SOON: Duration = Duration::from_secs(30);

pub(crate) async fn kubernetes_answers(lab: &Lab) -> Outcome {
    let kubectl = lab.kubernetes()?.kubectl();
    let version = kubectl.run(&["version"]).await?;
    assert!(version.contains("Server Version: v1.36."), "{version}");
    // Garbage collection is the controller manager's work.
    kubectl.run(&["create", "namespace", "short-lived"]).await?;
    kubectl.run(&["delete", "namespace", "short-lived", "--timeout=60s"]).await?;
    Ok(())
}

pub(crate) async fn kubernetes_keeps_an_audit_log(lab: &Lab) -> Outcome {
    let kubernetes = lab.kubernetes()?;
    let kubectl = kubernetes.kubectl();
    kubectl.run(&["create", "serviceaccount", "watched"]).await?;
    let as_account = kubectl.with_kubeconfig(kubernetes.kubeconfig_of("default", "watched").await?);
    let refused = as_account.run(&["get", "secrets"]).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("forbidden")), "RBAC is off");
    let user = "system:serviceaccount:default:watched";
    let seen = kubernetes.audit()?;
    let asked = seen.iter().find(|event| event.user == user && event.resource == "secrets");
    let asked = asked.ok_or("the refused request is not in the audit log")?;
    assert_eq!((asked.verb.as_str(), asked.code, asked.is_write()), ("list", 403, false));
    kubectl.run(&["delete", "serviceaccount", "watched"]).await?;
    Ok(())
}

pub(crate) async fn nats_answers_in_a_cluster(lab: &Lab) -> Outcome {
    let servers = lab.nats()?.servers();
    assert_eq!(servers.len(), 3);
    for server in servers {
        let (_, routes) = http_get(server.monitor(), "/routez").await?;
        let routes: serde_json::Value = serde_json::from_str(&routes)?;
        assert!(routes["num_routes"].as_u64() > Some(0), "{routes}");
        let (_, vars) = http_get(server.monitor(), "/varz").await?;
        let vars: serde_json::Value = serde_json::from_str(&vars)?;
        let operator = lab.nats()?.operator().operator_key().as_str();
        assert_eq!(vars["trusted_operators_claim"][0]["sub"], operator, "{vars}");
        assert_eq!(vars["tags"][0], format!("node:{}", &server.name()["nats-".len()..]));
    }
    // A server that was killed comes back on its own data.
    let last = servers.last().ok_or("no servers")?;
    last.kill().await?;
    last.restart().await?;
    Ok(())
}

pub(crate) async fn dns_answers_and_takes_updates(lab: &Lab) -> Outcome {
    let dns = lab.dns()?;
    for zone in ZONES {
        let soa = dns.dig(&["+short", zone, "SOA"]).await?;
        assert_eq!(soa.len(), 1, "{soa:?}");
    }
    dns.nsupdate("example.com", &["add case.example.com 60 A 10.0.0.99"]).await?;
    assert_eq!(dns.dig(&["+short", "case.example.com", "A"]).await?, ["10.0.0.99"]);
    let zone = dns.transfer("example.com").await?;
    assert!(zone.iter().any(|line| line.starts_with("case.example.com.")), "{zone:#?}");
    let unsigned = dns.dig(&["example.com", "AXFR"]).await;
    assert!(unsigned.is_err(), "a transfer without a key was granted: {unsigned:?}");
    dns.nsupdate("example.com", &["delete case.example.com A"]).await?;
    assert!(dns.dig(&["+short", "case.example.com", "A"]).await?.is_empty());
    Ok(())
}

pub(crate) async fn hosts_let_the_deploy_user_do_one_thing(lab: &Lab) -> Outcome {
    let host = lab.host(1)?;
    assert_ne!(host.host_key(), lab.host(2)?.host_key());
    assert_eq!(ssh(lab, "id -un")?.trim(), "deploy");
    assert!(ssh(lab, "sudo -n true").is_err(), "deploy may do anything as root");
    let log = ssh(lab, "sudo -n /usr/local/sbin/cim-activate log")?;
    assert_eq!(log, "", "nothing has been activated yet");
    let info =
        ssh(lab, "nix --extra-experimental-features nix-command store info --json --store daemon")?;
    let info: serde_json::Value = serde_json::from_str(&info)?;
    assert_eq!(info["trusted"], 0, "deploy may import unsigned paths");
    Ok(())
}

pub(crate) async fn a_host_boots_again(lab: &Lab) -> Outcome {
    let host = lab.host(2)?;
    let boot_id = "cat /proc/sys/kernel/random/boot_id";
    let before = host.exec(boot_id).await?;
    // Whoever asked this is gone, and whom it left keeps no host from ending.
    let forgotten = timeout(Duration::from_millis(300), host.exec("sleep 1h")).await;
    assert!(forgotten.is_err(), "{forgotten:?}");
    host.exec("systemctl reboot").await?;
    wait_until("host2 to boot again", SOON, async || match host.exec(boot_id).await {
        Ok(after) if after != before => Ok(()),
        Ok(_) => Err("it is still up".to_owned()),
        Err(error) => Err(error.to_string()),
    })
    .await?;
    host.ready().await?;
    host.pull_the_plug().await?;
    assert!(host.exec("true").await.is_err(), "it runs without power");
    Ok(host.power_on().await?)
}

pub(crate) async fn who_is_stopped_and_goes_on_is_heard(lab: &Lab) -> Outcome {
    // A host that shuts down stops every process of it for a moment.
    let nap = "(sleep 0.5; kill -CONT $$) & kill -STOP $$; echo awake";
    assert_eq!(lab.host(2)?.exec(nap).await?, "awake\n");
    Ok(())
}

/// A program in the controller's container can do what the controller needs, and no more.
pub(crate) async fn the_controllers_container_is_like_its_pod(lab: &Lab) -> Outcome {
    let kubectl = lab.kubernetes()?.kubectl();
    kubectl.run(&["create", "namespace", "pod"]).await?;
    kubectl.run(&["create", "serviceaccount", "sleeper", "--namespace=pod"]).await?;
    let controller = lab.controller(ControllerConfig {
        replica: 1,
        // A stand-in that stays: this case is about what surrounds the controller.
        binary: lab.inside().tools().base_root.join("usr/bin/sleep"),
        namespace: "pod".into(),
        service_account: "sleeper".into(),
        args: vec!["1h".into()],
        own_clock: false,
    })?;
    lab.start_controller(&controller).await?;
    controller.running().await?;
    assert!(controller.rss().await? > 0);
    let status = controller.exec("cat /proc/$(pidof cim-controller)/status").await?;
    for line in
        ["Uid:\t65532", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"]
    {
        assert!(status.contains(line), "{line:?} is not in:\n{status}");
    }
    let written = "for dir in / /etc /usr/local; do ! touch $dir/written; done; touch /tmp/written";
    controller.exec(written).await?;
    let whoami = "dir=/run/secrets/kubernetes.io/serviceaccount
        curl --silent --fail --cacert $dir/ca.crt --header \"Authorization: Bearer $(cat $dir/token)\" \\
          --header 'Content-Type: application/json' --data \\
          '{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"SelfSubjectReview\"}' \\
          https://10.0.0.1:6443/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let whoami = controller.exec(whoami).await?;
    assert!(whoami.contains("system:serviceaccount:pod:sleeper"), "{whoami}");
    let flake = lab.infra("pod").await?.url();
    let script = format!(
        "nix build --out-link kept '{flake}?ref=main#nixosConfigurations.host1.config.system.build.toplevel'
        readlink kept"
    );
    let built = controller.exec(&script).await?;
    assert!(built.starts_with("/nix/store/"), "{built}");

    controller.kill().await?;
    assert!(controller.rss().await.is_err(), "it runs after SIGKILL");
    lab.start_controller(&controller).await?;
    controller.running().await?;
    assert_eq!(controller.exec("readlink -e kept").await?, built, "its disk was lost");
    // sleep does not handle SIGTERM; a death by a signal is 255 to the container's init.
    assert_eq!(controller.stop().await?, 255);
    Ok(())
}

/// The whole way of a delivery, by hand: evaluate, build, sign, copy, activate.
pub(crate) async fn a_flake_becomes_a_running_closure(lab: &Lab) -> Outcome {
    let repository = lab.infra("by-hand").await?;
    let host = lab.host(1)?;
    let first = deliver(lab, &repository, &repository.head()?).await?;
    assert_eq!(host.current_system().await?, Some(first.clone()));
    assert_eq!(host.profile().await?, Some(first.clone()));
    website_says(host, "host1: hello from the first release").await?;

    let revision = repository.commit("Second release", &[("message", "hello again\n")]).await?;
    let second = deliver(lab, &repository, &revision).await?;
    assert_ne!(first, second);
    assert_eq!(host.current_system().await?, Some(second));
    website_says(host, "host1: hello again").await?;

    // A closure that is the profile is also what the next boot runs.
    host.exec("systemctl stop web && rm /run/current-system && systemctl restart stage-2").await?;
    assert_eq!(host.current_system().await?, host.profile().await?);
    website_says(host, "host1: hello again").await?;
    Ok(())
}

/// Does what the controller does, with the tools that a person has; the closure's path.
async fn deliver(lab: &Lab, repository: &Repository, revision: &str) -> Result<String, LabError> {
    let dir = lab.scratch("by-hand")?;
    let key = dir.join("nix.key");
    std::fs::write(&key, &lab.nix_key().secret).map_err(|source| LabError::File {
        action: "write",
        path: key.clone(),
        source,
    })?;
    let script = format!(
        "export NIX_CONFIG='experimental-features = nix-command flakes
build-users-group =
sandbox = false
substituters =
flake-registry ='
export NIX_SSHOPTS='{ssh}'
out=$(nix build --no-link --print-out-paths \
  '{flake}?ref=main&rev={revision}#nixosConfigurations.host1.config.system.build.toplevel')
if nix copy --to ssh-ng://{to} $out; then echo 'the host took an unsigned closure' >&2; exit 1; fi
nix store sign --recursive --key-file {key} $out
nix copy --to ssh-ng://{to} $out
ssh {ssh} {to} sudo -n /usr/local/sbin/cim-activate test $out 60 60 >&2
ssh {ssh} {to} 'timeout 60 sh -c \"until test -e /run/cim/tested; do sleep 0.1; done\"'
ssh {ssh} {to} sudo -n /usr/local/sbin/cim-activate confirm $out >&2
echo $out",
        ssh = ssh_options(lab)?.join(" "),
        flake = repository.url(),
        to = format!("{DEPLOY_USER}@{}", lab.host(1)?.address()),
        key = key.display(),
    );
    let closure = lab.tool("bash", &["-ec", &script])?.trim().to_owned();
    wait_until("the confirmation to end", SOON, async || {
        let state = lab.host(1)?.exec("systemctl show --value -p ActiveState cim-switch").await?;
        if state.trim() == "active" {
            return Ok(());
        }
        let journal = "journalctl --no-pager --lines=20 --unit=cim-switch --unit=web";
        let why = lab.host(1)?.exec(journal).await?;
        Err(LabError::Unexpected { what: format!("cim-switch is {state}"), why })
    })
    .await?;
    Ok(closure)
}

fn ssh(lab: &Lab, command: &str) -> Result<String, LabError> {
    let to = format!("{DEPLOY_USER}@{}", lab.host(1)?.address());
    let options = ssh_options(lab)?;
    let options = options.iter().map(String::as_str);
    lab.tool("ssh", &options.chain([to.as_str(), command]).collect::<Vec<_>>())
}

/// Logs in to host1, whose key is known, with the deploy key and nothing else.
fn ssh_options(lab: &Lab) -> Result<Vec<String>, LabError> {
    let known = lab.scratch("ssh")?.join("known_hosts");
    let host = lab.host(1)?;
    std::fs::write(&known, format!("{} {}\n", host.address(), host.host_key()))
        .map_err(|source| LabError::File { action: "write", path: known.clone(), source })?;
    Ok(vec![
        "-F/dev/null".into(),
        format!("-oIdentityFile={}", lab.deploy_key_file().display()),
        format!("-oUserKnownHostsFile={}", known.display()),
        "-oStrictHostKeyChecking=yes".into(),
        "-oBatchMode=yes".into(),
    ])
}

/// Waits until the web service says `text`; it opens its port a moment after its start.
async fn website_says(host: &Host, text: &str) -> Outcome {
    let says = async || match host.website().await {
        Ok(said) if said == text => Ok(()),
        Ok(said) => Err(said),
        Err(error) => Err(error.to_string()),
    };
    Ok(wait_until("the web service's answer", SOON, says).await?)
}
