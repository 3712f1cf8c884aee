//! Two people: one may approve for prod, the other may only change its spec.

use std::{path::PathBuf, process::Command};

use serde_json::json;

use crate::{
    home::Home,
    lab::{Result, servers::kubernetes::Kubectl},
};

/// Somebody with a token of their own.
#[derive(Clone, Debug)]
pub struct Person {
    /// As the API server knows them.
    pub user: String,
    kubeconfig: PathBuf,
    /// With their rights.
    pub kubectl: Kubectl,
}

/// Who is there.
#[derive(Clone, Debug)]
pub struct People {
    /// May approve.
    pub jane: Person,
    /// May change Clusters, and no more.
    pub john: Person,
}

impl People {
    /// Gives both their rights, as an administrator would.
    ///
    /// # Errors
    /// When the API server does not take them.
    pub async fn invite(home: &Home) -> Result<Self> {
        let namespace = home.estate().namespace;
        let meta = |name: &str| json!({"name": name, "namespace": namespace});
        let clusters = json!({"apiGroups": ["cim.dev"], "resources": ["clusters"],
            "verbs": ["get", "list", "watch", "patch", "update"]});
        let read = json!({"apiGroups": ["cim.dev"], "verbs": ["get", "list", "watch"],
            "resources": ["domains", "machines", "services", "objectreplicas"]});
        let logs = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]});
        let approve = json!({"apiGroups": ["cim.dev"], "resources": ["clusters"],
            "verbs": ["approve"], "resourceNames": ["prod"]});
        let mut items = vec![
            role(&meta("editor"), &[&clusters, &read, &logs]),
            role(&meta("approver"), &[&approve]),
        ];
        for (name, roles) in [("jane", &["editor", "approver"][..]), ("john", &["editor"])] {
            items.push(
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(name)}),
            );
            for role in roles {
                items.push(json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                    "metadata": meta(&format!("{name}-{role}")),
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
                    "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
                }));
            }
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        home.kubectl().apply(&list.to_string()).await?;
        Ok(Self { jane: person(home, "jane").await?, john: person(home, "john").await? })
    }
}

fn role(meta: &serde_json::Value, rules: &[&serde_json::Value]) -> serde_json::Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta,
        "rules": rules})
}

async fn person(home: &Home, name: &str) -> Result<Person> {
    let namespace = home.estate().namespace;
    let kubeconfig = home.lab().kubernetes()?.kubeconfig_of(namespace, name).await?;
    Ok(Person {
        user: format!("system:serviceaccount:{namespace}:{name}"),
        kubectl: home.kubectl().with_kubeconfig(&kubeconfig),
        kubeconfig,
    })
}

impl Person {
    /// What `cimctl` says to them.
    ///
    /// # Errors
    /// With its words, when it fails.
    pub async fn cimctl(&self, home: &Home, words: &[&str]) -> Result<String> {
        let mut cimctl = Command::new(home.cimctl());
        cimctl
            .args(words)
            .args(["--namespace", home.estate().namespace, "--kubeconfig"])
            .arg(&self.kubeconfig);
        home.lab().run(cimctl).await
    }
}
