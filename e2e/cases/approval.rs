//! Who approves: the chart's admission policy, by two people with tokens of their own; and what they do
//! with `cimctl`. There is no controller: the statuses are written by the case.

use std::{
    collections::BTreeSet,
    io::{BufReader, Read, Write},
    path::PathBuf,
    time::Duration,
};

use cim_cli::{Console, DONE, DRIFT_FOUND, FAILED, Program};
use cim_e2e::{
    home::chart,
    lab::{Lab, LabError, servers::kubernetes::Kubectl, wait_until},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    cimctl::{Told, cimctl_in, command_line},
    harness::Outcome,
};

/// A Cluster dev with a release, and those that receive from it.
const RELEASES: &str = include_str!("../../controller/cli/tests/fixtures/releases.yaml");

const NAMESPACE: &str = "approval";
const APPROVER: &str = "approval-cim-controller-approver";
const POLICY: &str = "approval-cim-controller-approval";
const SOON: Duration = Duration::from_secs(30);
const DIGEST: &str = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// A person, as a service account.
struct Person {
    user: String,
    kubeconfig: PathBuf,
    kubectl: Kubectl,
}

impl Person {
    async fn patch(&self, cluster: &str, patch: &Value) -> Result<String, String> {
        let patch = patch.to_string();
        let words = ["patch", "cluster.cim.dev", cluster, "--namespace", NAMESPACE, "--type=merge"];
        let words = [&words[..], &["--patch", &patch]].concat();
        self.kubectl.run(&words).await.map_err(|error| error.to_string())
    }

    async fn cimctl(&self, words: &[&str]) -> Result<Told, tokio::task::JoinError> {
        cimctl_in(NAMESPACE, self.kubeconfig.clone(), words).await
    }

    async fn cluster(&self, name: &str) -> Result<Value, LabError> {
        self.kubectl.get("cluster.cim.dev", NAMESPACE, name).await
    }

    async fn create(&self, object: &Value) -> Result<String, String> {
        let said = self.kubectl.run_with_input(&["create", "-f", "-"], &object.to_string()).await;
        said.map_err(|error| error.to_string())
    }
}

pub(crate) async fn nobody_approves_without_the_right_or_in_anothers_name(lab: &Lab) -> Outcome {
    let [jane, john] = prepare(lab).await?;
    let (jane_approves, john_approves) = (approval(&jane.user), approval(&john.user));

    // With the right to change the Cluster and no more.
    for approval in [&john_approves, &jane_approves] {
        refused(john.patch("prod", approval).await, "may not approve for Cluster approval/prod");
    }
    refused(jane.patch("prod", &john_approves).await, "nobody approves in the name of another");
    jane.patch("prod", &jane_approves).await?;

    let withdrawal = json!({"spec": {"promotion": {"approved": null}}});
    let other_words = json!({"spec": {"promotion": {"approved": {"comment": "well tested"}}}});
    for change in [&withdrawal, &other_words] {
        refused(john.patch("prod", change).await, "may not approve");
    }
    // What is no approval is as free as ever.
    john.patch("prod", &json!({"spec": {"description": "for the public"}})).await?;
    john.patch("prod", &json!({"metadata": {"annotations": {"cim.dev/retry": "1"}}})).await?;
    let phase = json!({"status": {"rollout": {"phase": "Progressing"}}}).to_string();
    let words = ["patch", "cluster.cim.dev", "prod", "--namespace", NAMESPACE];
    let status = ["--subresource=status", "--type=merge", "--patch", &phase];
    john.kubectl.run(&[&words[..], &status].concat()).await?;

    jane.patch("prod", &withdrawal).await?;
    let cluster = jane.kubectl.get("cluster.cim.dev", NAMESPACE, "prod").await?;
    assert_eq!(cluster["spec"]["promotion"], json!({"from": "dev", "approval": "Manual"}));
    let recorded: BTreeSet<_> = lab
        .kubernetes()?
        .audit()?
        .into_iter()
        .filter(|request| request.code == 200)
        .filter_map(|mut request| request.annotations.remove(&format!("{POLICY}/approval")))
        .collect();
    let user = &jane.user;
    let wanted = [format!("{user} approves {DIGEST}"), format!("{user} withdraws {DIGEST}")];
    assert_eq!(recorded, BTreeSet::from(wanted));
    Ok(())
}

pub(crate) async fn an_approval_cannot_be_gone_around(lab: &Lab) -> Outcome {
    let [jane, john] = prepare(lab).await?;
    let around = [
        json!({"spec": {"promotion": {"approval": "Automatic"}}}),
        json!({"spec": {"promotion": {"from": "other"}}}),
        json!({"spec": {"promotion": null, "source": {"ref": "main"}}}),
    ];
    for change in &around {
        refused(john.patch("prod", change).await, "a Cluster whose releases a person approves");
    }
    let mut born_approved = cluster("born-approved");
    born_approved["spec"]["promotion"]["approved"] =
        approval(&john.user)["spec"]["promotion"]["approved"].clone();
    refused(john.create(&born_approved).await, "may not approve");
    john.create(&cluster("born-waiting")).await?;

    // To wait for a person is no way around one, and who approves may also say that nobody has to.
    let automatic = json!({"spec": {"promotion": {"approval": "Automatic"}}});
    jane.patch("prod", &automatic).await?;
    john.patch("prod", &json!({"spec": {"promotion": {"approval": "Manual"}}})).await?;
    refused(john.patch("prod", &automatic).await, "may not approve");
    Ok(())
}

pub(crate) async fn a_release_is_approved_on_the_command_line(lab: &Lab) -> Outcome {
    let [jane, john] = prepare(lab).await?;
    let admin = releases(lab).await?;

    let diff = jane.cimctl(&["diff", "prod", "--exit-code"]).await?;
    assert_eq!(diff.code, DRIFT_FOUND, "{}", diff.err);
    assert!(diff.out.contains("changed   service accounting   accounting-2.0 (d1accccc)"));
    let nobody_asked = jane.cimctl(&["approve", "dev"]).await?;
    assert_eq!(nobody_asked.code, FAILED);
    assert!(nobody_asked.err.contains("say --yes"), "{}", nobody_asked.err);
    let wrong = jane.cimctl(&["approve", "dev@aaaaaaa", "--yes"]).await?;
    assert!(wrong.err.contains("Cluster dev runs 012345678901, not aaaaaaa"), "{}", wrong.err);
    let without_right = john.cimctl(&["approve", "dev", "--yes"]).await?;
    assert_eq!(without_right.code, FAILED);
    let why = format!("refuses it: user \"{}\" may not approve for Cluster", john.user);
    assert!(without_right.err.contains(&why), "{}", without_right.err);
    let before = admin.cluster("prod").await?;
    let dry = jane.cimctl(&["approve", "dev", "--dry-run"]).await?;
    assert!(dry.out.contains("prod: would approve 012345678901"), "{}{}", dry.out, dry.err);
    assert_eq!(admin.cluster("prod").await?["spec"], before["spec"]);

    let words = ["approve", "dev@0123456", "--for", "prod", "--comment", "well tested", "--yes"];
    let wait = ["--wait", "--timeout", "1m"];
    let waiting = [&words[..], &wait].concat();
    let (told, delivered) = tokio::join!(jane.cimctl(&waiting), deliver(&admin));
    delivered?;
    let told = told?;
    assert_eq!(told.code, DONE, "{}", told.err);
    assert!(told.out.contains("by system:serviceaccount:approval:jane; every machine runs it"));
    assert!(told.err.contains("prod: Progressing 2/4"), "{}", told.err);
    let prod = admin.cluster("prod").await?;
    let approved = &prod["spec"]["promotion"]["approved"];
    assert_eq!((&approved["by"], &approved["comment"]), (&json!(jane.user), &json!("well tested")));
    assert_eq!(approved["configurations"].as_array().map(Vec::len), Some(2));
    assert_eq!(approved["services"][0]["name"], "accounting");
    let again = jane.cimctl(&["approve", "dev"]).await?;
    assert!(again.out.contains("prod: approved already"), "{}{}", again.out, again.err);
    // One that nobody has to approve for is left alone.
    assert!(again.err.contains("Cluster mirror is left out"), "{}", again.err);
    Ok(())
}

pub(crate) async fn what_changed_meanwhile_is_not_approved(lab: &Lab) -> Outcome {
    let [jane, john] = prepare(lab).await?;
    releases(lab).await?;
    let (asked, mut answer) = std::io::pipe()?;
    let (mut shown, questions) = std::io::pipe()?;
    let line = command_line(NAMESPACE, jane.kubeconfig.clone(), &["approve", "dev"]);
    let program = tokio::task::spawn_blocking(move || {
        let (mut out, mut input, mut err) = (Vec::new(), BufReader::new(asked), questions);
        let mut console = Console {
            out: &mut out,
            err: &mut err,
            terminal: false,
            err_terminal: false,
            input: Some(&mut input),
        };
        cim_cli::run(Program::Cimctl, line, &mut console)
    });
    let (sent, question) = tokio::sync::oneshot::channel();
    let reader = tokio::task::spawn_blocking(move || {
        let (mut text, mut byte, mut sent) = (Vec::new(), [0], Some(sent));
        while let Ok(1) = shown.read(&mut byte) {
            text.push(byte[0]);
            if let Some(sent) = sent.take_if(|_| text.ends_with(b"Go on? [y/N] ")) {
                let _ = sent.send(());
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    timeout(SOON, question).await??;
    john.patch("prod", &json!({"spec": {"description": "changed"}})).await?;
    answer.write_all(b"y\n")?;
    assert_eq!(timeout(SOON, program).await??, FAILED);
    let told = timeout(SOON, reader).await??;
    assert!(told.contains("approve 012345678901"), "{told}");
    assert!(told.contains("somebody else has changed it meanwhile"), "{told}");
    Ok(())
}

pub(crate) async fn a_cluster_goes_back_and_forth(lab: &Lab) -> Outcome {
    let [jane, john] = prepare(lab).await?;
    let admin = releases(lab).await?;
    let history = jane.cimctl(&["history", "prod"]).await?;
    assert!(history.out.contains("*         dddddddddddd   WaitingForWindow"), "{}", history.out);

    // One that receives: the release is approved again, by whoever may.
    let refused = john.cimctl(&["rollback", "prod", "--yes"]).await?;
    assert!(refused.err.contains("may not approve"), "{}", refused.err);
    let words = ["rollback", "prod", "--comment", "too slow", "--yes"];
    let back = jane.cimctl(&words).await?;
    assert!(back.out.contains("prod: approved aaaaaaaaaaaa"), "{}{}", back.out, back.err);
    let approved = admin.cluster("prod").await?["spec"]["promotion"]["approved"].clone();
    let fields: Vec<_> = approved.as_object().into_iter().flat_map(|it| it.keys()).collect();
    assert_eq!(fields, ["by", "comment", "digest", "narHash", "rev"]);

    // One that follows a branch: the revision is pinned, and let go.
    let back = john.cimctl(&["rollback", "dev", "--to", "aaaaaaa", "--yes"]).await?;
    assert!(back.out.contains("dev: pinned aaaaaaaaaaaa"), "{}{}", back.out, back.err);
    let source = admin.cluster("dev").await?["spec"]["source"].clone();
    assert_eq!((&source["ref"], source["rev"].is_string()), (&json!("main"), true), "{source}");
    let not_ready = jane.cimctl(&["approve", "dev", "--yes"]).await?;
    assert!(not_ready.err.contains("which is Pending"), "{}", not_ready.err);
    let forth = john.cimctl(&["rollback", "dev", "--release", "--yes"]).await?;
    assert!(forth.out.contains("dev: follows main"), "{}{}", forth.out, forth.err);
    let source = admin.cluster("dev").await?["spec"]["source"].clone();
    assert!(source.get("rev").is_none() && source.get("narHash").is_none(), "{source}");

    // A tool that has the revision in its own manifest will undo the pin: that is said.
    let pinned = json!({
        "apiVersion": "cim.dev/v1alpha1", "kind": "Cluster",
        "metadata": {"name": "dev", "namespace": NAMESPACE},
        "spec": {
            "domain": "example-com",
            "source": {
                "flake": "git+https://git.example.com/infra",
                "rev": "0123456789012345678901234567890123456789", "narHash": DIGEST,
            },
        },
    });
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let words = [&apply[..], &["--field-manager=kustomize-controller"]].concat();
    admin.kubectl.run_with_input(&words, &pinned.to_string()).await?;
    let back = john.cimctl(&["rollback", "dev", "--yes"]).await?;
    assert!(back.err.contains("written by kustomize-controller before"), "{}", back.err);

    let plan = admin.cimctl(&["plan", "prod"]).await?;
    let row = "prod1     1      RebootRequired   nixos-system-web-25.05 (d1webccc)    same";
    assert!(plan.out.contains(row), "{}{}", plan.out, plan.err);
    Ok(())
}

/// Puts the fixture's Clusters and Machines with their statuses in place; the administrator.
async fn releases(lab: &Lab) -> Result<Person, Box<dyn std::error::Error + Send + Sync>> {
    let kubernetes = lab.kubernetes()?;
    let (kubeconfig, kubectl) = (kubernetes.kubeconfig(), kubernetes.kubectl());
    let admin = Person { user: "admin".to_owned(), kubeconfig, kubectl };
    let all = ["delete", "clusters.cim.dev", "--all", "--namespace", NAMESPACE];
    admin.kubectl.run(&all).await?;
    // The administrator, too, approves in no other name.
    let manifest = RELEASES
        .replace("namespace: home", &format!("namespace: {NAMESPACE}"))
        .replace(", by: jane}", ", by: admin}");
    admin.kubectl.apply(&manifest).await?;
    let statuses =
        ["apply", "--server-side", "--subresource=status", "--force-conflicts", "-f", "-"];
    admin.kubectl.run_with_input(&statuses, &manifest).await?;
    Ok(admin)
}

/// Does what the controller does with an approval, in two steps.
async fn deliver(admin: &Person) -> Outcome {
    let prod = wait_until("the approval", SOON, async || {
        let prod = admin.cluster("prod").await.map_err(|error| error.to_string())?;
        match prod["spec"]["promotion"]["approved"]["by"].as_str() {
            Some("admin") | None => Err("not approved".to_owned()),
            Some(_) => Ok(prod),
        }
    })
    .await?;
    let mut approval = prod["spec"]["promotion"]["approved"].clone();
    approval["from"] = "dev".into();
    approval["time"] = "2026-01-02T00:00:00Z".into();
    for phase in ["Progressing", "Complete"] {
        let status = json!({"status": {
            "observedGeneration": prod["metadata"]["generation"],
            "approval": approval,
            "release": {"rev": approval["rev"], "narHash": approval["narHash"], "digest": DIGEST},
            "rollout": {"release": DIGEST, "phase": phase, "message": "", "updated": 2, "total": 4},
        }})
        .to_string();
        let words = ["patch", "cluster.cim.dev", "prod", "--namespace", NAMESPACE];
        let patch = ["--subresource=status", "--type=merge", "--patch", &status];
        admin.kubectl.run(&[&words[..], &patch].concat()).await?;
        // Long enough for the program to see each.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    Ok(())
}

#[track_caller]
fn refused(said: Result<String, String>, why: &str) {
    match said {
        Ok(said) => panic!("not refused ({why}): {said}"),
        Err(said) => assert!(said.contains(why), "{why} is not in\n{said}"),
    }
}

/// A Cluster that receives what `dev` ran.
fn cluster(name: &str) -> Value {
    json!({
        "apiVersion": "cim.dev/v1alpha1", "kind": "Cluster",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "domain": "example-com",
            "source": {"flake": "git+https://git.example.com/infra"},
            "promotion": {"from": "dev"},
        },
    })
}

fn approval(by: &str) -> Value {
    let approved = json!({
        "rev": "0123456789012345678901234567890123456789",
        "narHash": DIGEST, "digest": DIGEST, "by": by,
    });
    json!({"spec": {"promotion": {"approved": approved}}})
}

/// The kinds, the chart's policy and roles for one namespace, in it a fresh Cluster `prod`; Jane, who
/// may approve, and John, who may do everything else.
async fn prepare(lab: &Lab) -> Result<[Person; 2], Box<dyn std::error::Error + Send + Sync>> {
    let kubectl = lab.kubernetes()?.kubectl();
    for definition in cim_crds::crds() {
        kubectl.apply(&serde_json::to_string(&definition)?).await?;
    }
    kubectl.run(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).await?;
    let only_here = format!(
        "approvalPolicy.namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name={NAMESPACE}"
    );
    let template = ["template", "approval", chart(), "--show-only", "templates/approval.yaml"];
    let policy = lab.helm(&[&template[..], &["--set", &only_here]].concat()).await?;
    kubectl.apply(&policy).await?;
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    kubectl.apply(&namespace.to_string()).await?;
    kubectl.apply(&people().to_string()).await?;
    let (jane, john) = (person(lab, "jane").await?, person(lab, "john").await?);

    let all = ["delete", "clusters.cim.dev", "--all", "--namespace", NAMESPACE];
    kubectl.run(&all).await?;
    john.create(&cluster("prod")).await?;
    let anybody = approval("somebody");
    wait_until("the policy to be in force", SOON, async || {
        match john.patch("prod", &anybody).await {
            Ok(_) => Err("John approved".to_owned()),
            Err(said) if said.contains("may not approve") => Ok(()),
            Err(said) => Err(said),
        }
    })
    .await?;
    // What John did before that is undone.
    kubectl.run(&all).await?;
    john.create(&cluster("prod")).await?;
    Ok([jane, john])
}

async fn person(lab: &Lab, name: &str) -> Result<Person, Box<dyn std::error::Error + Send + Sync>> {
    let kubernetes = lab.kubernetes()?;
    let kubeconfig = kubernetes.kubeconfig_of(NAMESPACE, name).await?;
    let kubectl = kubernetes.kubectl().with_kubeconfig(&kubeconfig);
    let user = format!("system:serviceaccount:{NAMESPACE}:{name}");
    Ok(Person { user, kubeconfig, kubectl })
}

/// The accounts with their rights.
fn people() -> Value {
    let object = |kind: &str, name: &str, mut rest: Value| {
        let group = if kind == "ServiceAccount" { "v1" } else { "rbac.authorization.k8s.io/v1" };
        rest["apiVersion"] = group.into();
        rest["kind"] = kind.into();
        rest["metadata"] = json!({"name": name, "namespace": NAMESPACE});
        rest
    };
    let binding = |name: &str, kind: &str, role: &str| {
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role});
        let who = json!([{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}]);
        object("RoleBinding", name, json!({"roleRef": role, "subjects": who}))
    };
    let verbs = ["get", "list", "watch", "create", "update", "patch", "delete"];
    let rules = json!([{
        "apiGroups": ["cim.dev"], "resources": ["clusters", "clusters/status"], "verbs": verbs,
    }]);
    json!({
        "apiVersion": "v1", "kind": "List", "items": [
            object("ServiceAccount", "jane", json!({})),
            object("ServiceAccount", "john", json!({})),
            binding("jane", "ClusterRole", APPROVER),
            object("Role", "editor", json!({"rules": rules})),
            binding("john", "Role", "editor"),
        ],
    })
}
