//! Who approves: the chart's admission policy, by two people with tokens of their own.

use std::{collections::BTreeSet, time::Duration};

use cim_e2e::{
    home::chart,
    lab::{Lab, servers::kubernetes::Kubectl, wait_until},
};
use serde_json::{Value, json};

use crate::harness::Outcome;

const NAMESPACE: &str = "approval";
const APPROVER: &str = "approval-cim-controller-approver";
const POLICY: &str = "approval-cim-controller-approval";
const SOON: Duration = Duration::from_secs(30);
const DIGEST: &str = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// A person, as a service account.
struct Person {
    user: String,
    kubectl: Kubectl,
}

impl Person {
    async fn patch(&self, cluster: &str, patch: &Value) -> Result<String, String> {
        let patch = patch.to_string();
        let words = ["patch", "cluster.cim.dev", cluster, "--namespace", NAMESPACE, "--type=merge"];
        let words = [&words[..], &["--patch", &patch]].concat();
        self.kubectl.run(&words).await.map_err(|error| error.to_string())
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
    let kubectl = kubernetes.kubectl().with_kubeconfig(kubeconfig);
    let user = format!("system:serviceaccount:{NAMESPACE}:{name}");
    Ok(Person { user, kubectl })
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
