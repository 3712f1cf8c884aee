//! `cimctl` against a real API server, without a controller: the statuses are written by the case.

use std::{ffi::OsString, io::Read, path::PathBuf, time::Duration};

use cim_cli::{Console, DONE, DRIFT_FOUND, FAILED, MISUSED, Program};
use cim_crds::annotations::{REQUESTED_AT, RETRY};
use cim_e2e::lab::{Lab, servers::kubernetes::Kubectl, wait_until};
use serde_json::{Value, json};

use crate::harness::Outcome;

/// A Domain with a little of everything, and statuses as a controller would write them.
const HOME: &str = include_str!("../../controller/cli/tests/fixtures/home.yaml");
const NAMESPACE: &str = "cimctl";
const SOON: Duration = Duration::from_secs(30);

/// What the program said.
pub(crate) struct Told {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the program as somebody, in the case's namespace.
async fn cimctl(kubeconfig: PathBuf, words: &[&str]) -> Result<Told, tokio::task::JoinError> {
    cimctl_in(NAMESPACE, kubeconfig, words).await
}

/// Runs the program as somebody, with nobody to ask.
pub(crate) async fn cimctl_in(
    namespace: &str,
    kubeconfig: PathBuf,
    words: &[&str],
) -> Result<Told, tokio::task::JoinError> {
    let line = command_line(namespace, kubeconfig, words);
    // It brings its own runtime, as a program does.
    tokio::task::spawn_blocking(move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console {
            out: &mut out,
            err: &mut err,
            terminal: false,
            err_terminal: false,
            input: None,
        };
        let code = cim_cli::run(Program::Cimctl, line, &mut console);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Told { code, out: text(out), err: text(err) }
    })
    .await
}

pub(crate) fn command_line(namespace: &str, kubeconfig: PathBuf, words: &[&str]) -> Vec<OsString> {
    let mut line: Vec<OsString> =
        [&["cimctl", "-n", namespace], words].concat().iter().map(OsString::from).collect();
    line.extend(["--kubeconfig".into(), kubeconfig.into_os_string()]);
    line
}

pub(crate) async fn it_shows_what_the_cluster_holds(lab: &Lab) -> Outcome {
    let kubectl = lab.kubernetes()?.kubectl();
    let admin = || Ok::<_, cim_e2e::lab::LabError>(lab.kubernetes()?.kubeconfig());
    prepare(&kubectl).await?;

    let tree = cimctl(admin()?, &["tree"]).await?;
    assert_eq!((tree.code, tree.err.as_str()), (DONE, ""));
    for row in
        ["└─ core             cluster     NotReady", "│  ├─ api        role", "└─ vm1        host"]
    {
        assert!(tree.out.contains(row), "{row} is not in\n{}", tree.out);
    }
    let tree = cimctl(admin()?, &["tree", "-o", "json"]).await?;
    let tree: Value = serde_json::from_str(&tree.out)?;
    assert_eq!(tree["domains"][0]["root"]["object"]["state"], "Ready");
    assert_eq!(tree["strays"][0]["source"], format!("Machine/{NAMESPACE}/lost"));

    let found = cimctl(admin()?, &["resolve", "api.vault", "-o", "json"]).await?;
    let found: Value = serde_json::from_str(&found.out)?;
    assert_eq!(found["answers"][0]["addresses"], json!(["10.0.0.11", "10.0.0.12", "fd00::11"]));
    let ambiguous = cimctl(admin()?, &["resolve", "eno1"]).await?;
    assert_eq!((ambiguous.code, ambiguous.out.as_str()), (FAILED, ""));
    assert!(ambiguous.err.contains("interface/eno1.host2.core.example.com"), "{}", ambiguous.err);

    let drift = cimctl(admin()?, &["drift", "domain", "--exit-code"]).await?;
    assert_eq!(drift.code, DRIFT_FOUND, "{}", drift.err);
    assert!(drift.out.contains("host1.core.example.com. A"), "{}", drift.out);
    let settled = cimctl(admin()?, &["drift", "mach", "host1", "--exit-code"]).await?;
    assert_eq!((settled.code, settled.out.as_str()), (DONE, "Nothing differs in 1 object.\n"));
    let plan = cimctl(admin()?, &["plan", "csvc", "vault"]).await?;
    assert!(plan.out.contains("write Secret vault-api-creds"), "{}", plan.out);
    Ok(())
}

pub(crate) async fn it_requests_a_reconciliation_and_waits_for_the_echo(lab: &Lab) -> Outcome {
    let kubernetes = lab.kubernetes()?;
    let kubectl = kubernetes.kubectl();
    prepare(&kubectl).await?;

    let words = ["reconcile", "machine", "host1", "--wait", "--timeout", "30s"];
    let (told, echoed) =
        tokio::join!(cimctl(kubernetes.kubeconfig(), &words), echo(&kubectl, "host1"));
    echoed?;
    let told = told?;
    let handled =
        format!("Machine {NAMESPACE}/host1: handled; Ready (Succeeded), nothing differs\n");
    assert_eq!((told.code, told.out), (DONE, handled), "{}", told.err);

    let words = ["reconcile", "machine", "host3", "--wait", "--timeout", "1s"];
    let alone = cimctl(kubernetes.kubeconfig(), &words).await?;
    assert_eq!(alone.code, FAILED);
    assert!(alone.err.contains("within 1s (it is suspended)"), "{}", alone.err);
    let nobody = cimctl(kubernetes.kubeconfig(), &["reconcile", "machine", "host9"]).await?;
    assert!(nobody.err.contains("there are host1, host2, host3, lost"), "{}", nobody.err);
    Ok(())
}

pub(crate) async fn it_has_what_failed_tried_again(lab: &Lab) -> Outcome {
    let kubernetes = lab.kubernetes()?;
    let kubectl = kubernetes.kubectl();
    prepare(&kubectl).await?;
    let told = cimctl(kubernetes.kubeconfig(), &["reconcile", "machine/host2", "--retry"]).await?;
    assert_eq!(told.code, DONE, "{}", told.err);
    let object = kubectl.get("machines.cim.dev", NAMESPACE, "host2").await?;
    let annotations = &object["metadata"]["annotations"];
    assert!(annotations[RETRY].is_string(), "{annotations}");
    assert_eq!(annotations[RETRY], annotations[REQUESTED_AT]);
    let told = cimctl(kubernetes.kubeconfig(), &["reconcile", "vault", "--retry"]).await?;
    assert!(told.code == MISUSED && told.err.contains("nothing to retry"), "{}", told.err);
    Ok(())
}

pub(crate) async fn it_shows_logs_and_follows_them(lab: &Lab) -> Outcome {
    let kubernetes = lab.kubernetes()?;
    let kubectl = kubernetes.kubectl();
    prepare(&kubectl).await?;
    let words = ["delete", "configmap", "cim-log-machine-host1", "--ignore-not-found"];
    kubectl.run(&[&words[..], &["--namespace", NAMESPACE]].concat()).await?;
    let none = cimctl(kubernetes.kubeconfig(), &["logs", "host1"]).await?;
    let why = format!("Machine {NAMESPACE}/host1 has no log");
    assert!(none.code == FAILED && none.err.contains(&why), "{}", none.err);

    let log = |text: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "cim-log-machine-host1", "namespace": NAMESPACE,
                "annotations": {"cim.dev/build-of": "/nix/store/a.drv"},
            },
            "data": {"build": text, "activation": "activating\n"},
        })
        .to_string()
    };
    kubectl.apply(&log("one\n")).await?;
    let both = cimctl(kubernetes.kubeconfig(), &["logs", "host1"]).await?;
    let build = "==> build of /nix/store/a.drv <==\none\n";
    assert_eq!(both.out, format!("{build}==> activation <==\nactivating\n"), "{}", both.err);

    let words = ["logs", "machine/host1", "--build", "--follow"];
    let (mut reader, mut writer) = std::io::pipe()?;
    let line = command_line(NAMESPACE, kubernetes.kubeconfig(), &words);
    // It ends when its reader has gone, as in `| head`.
    let follower = tokio::task::spawn_blocking(move || {
        let mut console = Console {
            out: &mut writer,
            err: &mut std::io::sink(),
            terminal: false,
            err_terminal: false,
            input: None,
        };
        cim_cli::run(Program::Cimctl, line, &mut console)
    });
    let (sent, mut seen) = tokio::sync::mpsc::channel(64);
    let reading = tokio::task::spawn_blocking(move || {
        let mut part = [0; 256];
        while let Ok(read @ 1..) = reader.read(&mut part) {
            if sent.blocking_send(part[..read].to_vec()).is_err() {
                break;
            }
        }
    });
    let mut all = Vec::new();
    for (text, wanted) in [("one\n", build.to_owned()), ("one\ntwo\n", format!("{build}two\n"))] {
        kubectl.apply(&log(text)).await?;
        while all != wanted.as_bytes() {
            let part = tokio::time::timeout(SOON, seen.recv()).await?;
            all.extend(part.ok_or("the program ended")?);
        }
    }
    drop(seen);
    kubectl.apply(&log("one\ntwo\nthree\n")).await?;
    tokio::time::timeout(SOON, reading).await??;
    kubectl.apply(&log("one\ntwo\nthree\nfour\n")).await?;
    assert_eq!(tokio::time::timeout(SOON, follower).await??, DONE);
    Ok(())
}

pub(crate) async fn it_says_which_right_is_missing(lab: &Lab) -> Outcome {
    let kubernetes = lab.kubernetes()?;
    prepare(&kubernetes.kubectl()).await?;
    let stranger = kubernetes.kubeconfig_of(NAMESPACE, "default").await?;
    let refused = cimctl(stranger, &["tree"]).await?;
    assert_eq!((refused.code, refused.out.as_str()), (FAILED, ""));
    assert!(refused.err.contains("you may not list domains.cim.dev"), "{}", refused.err);
    Ok(())
}

/// The kinds, a namespace of the case's own, and in it the fixture with its statuses.
async fn prepare(kubectl: &Kubectl) -> Outcome {
    for definition in cim_crds::crds() {
        kubectl.apply(&serde_json::to_string(&definition)?).await?;
    }
    kubectl.run(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).await?;
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    kubectl.apply(&namespace.to_string()).await?;
    let account = ["get", "serviceaccount", "default", "--namespace", NAMESPACE];
    wait_until("the namespace's account", SOON, async || kubectl.run(&account).await.map(drop))
        .await?;
    let home = HOME.replace("namespace: home", &format!("namespace: {NAMESPACE}"));
    kubectl.apply(&home).await?;
    let statuses =
        ["apply", "--server-side", "--subresource=status", "--force-conflicts", "-f", "-"];
    kubectl.run_with_input(&statuses, &home).await?;
    Ok(())
}

/// Does what the controller does with a request: handles it, and says which.
async fn echo(kubectl: &Kubectl, machine: &str) -> Outcome {
    let token = wait_until("the request to reconcile", SOON, async || {
        let object = kubectl.get("machines.cim.dev", NAMESPACE, machine).await;
        let object = object.map_err(|error| error.to_string())?;
        let token = &object["metadata"]["annotations"][REQUESTED_AT];
        token.as_str().map(str::to_owned).ok_or_else(|| "nothing is requested".to_owned())
    })
    .await?;
    let status = json!({"status": {"lastHandledReconcileAt": token}}).to_string();
    let namespace = format!("--namespace={NAMESPACE}");
    let patch = ["--subresource=status", "--type=merge", "--patch", &status];
    let words = [&["patch", "machines.cim.dev", machine, &namespace], &patch[..]].concat();
    kubectl.run(&words).await?;
    Ok(())
}
