//! What cannot be done is said in a condition, once in an Event, and harms nothing else.

use std::{collections::BTreeMap, time::Duration};

use cim_e2e::home::{HOME, Home, Object, data};
use serde_json::{Value, json};

use crate::harness::Outcome;

const NAMESPACE: &str = HOME.namespace;
const EXAMPLES: &str = HOME.examples;

const SOON: Duration = Duration::from_secs(90);
/// Every object of these cases has it, and goes by it.
const LABEL: &str = "cases.cim.dev/refused";

/// Something that cannot be done: the object, and the reason that its condition Ready must give.
struct Refused {
    kind: &'static str,
    name: &'static str,
    reason: &'static str,
    /// Whether a person is needed (Stalled), or it may pass by itself (Reconciling).
    stalled: bool,
}

const REFUSED: [Refused; 7] = [
    Refused { kind: "Machine", name: "wrong-key", reason: "HostKeyMismatch", stalled: true },
    Refused { kind: "Machine", name: "no-attribute", reason: "NoClosure", stalled: true },
    Refused { kind: "Machine", name: "no-secret", reason: "SecretNotFound", stalled: false },
    Refused { kind: "Machine", name: "nobody", reason: "Unreachable", stalled: false },
    Refused { kind: "Domain", name: "wrong-tsig", reason: "TsigFailed", stalled: true },
    Refused { kind: "Domain", name: "nats-away", reason: "Unreachable", stalled: false },
    Refused { kind: "Cluster", name: "no-flake", reason: "SourceUnreachable", stalled: false },
];

pub(crate) async fn what_cannot_be_done_is_said_and_harms_nothing_else(home: &Home) -> Outcome {
    home.all_ready(SOON).await?;
    home.kubectl().apply(&bad_objects(home)?).await?;
    let mut wrong = Vec::new();
    for refused in &REFUSED {
        let what = format!("{}/{} to say {}", refused.kind, refused.name, refused.reason);
        let said = home.eventually(&what, SOON, async || said(home, refused).await).await;
        wrong.extend(said.err().map(|error| error.to_string()));
    }
    wrong.extend(events(home).await?);
    for object in home.objects().await?.iter().filter(|object| is_of_examples(object)) {
        if !object.is_ready() {
            wrong.push(format!("it harms {object}"));
        }
    }
    let selector = format!("--selector={LABEL}");
    let gone = ["delete", "cim", "--namespace", NAMESPACE, &selector, "--timeout=60s"];
    home.kubectl().run(&gone).await?;
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

pub(crate) async fn a_finalizer_follows_the_deletion_policy(home: &Home) -> Outcome {
    for (kind, name) in
        [("machines", "host1"), ("domains", "example-com"), ("objectreplicas", "all")]
    {
        for (policy, finalizers) in [("Delete", 1), ("Orphan", 0)] {
            let patch = json!({"spec": {"deletionPolicy": policy}}).to_string();
            patch_object(home, kind, name, "merge", &patch).await?;
            let what =
                format!("{kind} {name} with policy {policy} to have {finalizers} finalizers");
            home.eventually(&what, SOON, async || {
                let object = home.kubectl().get(&format!("{kind}.cim.dev"), NAMESPACE, name).await;
                let object = object.map_err(|error| error.to_string())?;
                let present = object["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
                if present == finalizers { Ok(()) } else { Err(format!("it has {present}")) }
            })
            .await?;
        }
    }
    Ok(home.all_ready(SOON).await?)
}

pub(crate) async fn a_new_role_gets_credentials_of_its_own(home: &Home) -> Outcome {
    let role = json!([{"op": "add", "path": "/spec/roles/-", "value": {
        "name": "backup", "selectors": ["host1"], "nats": {"publish": ["evt.backup.>"]},
    }}]);
    patch_object(home, "services", "web", "json", &role.to_string()).await?;
    home.all_ready(SOON).await?;
    let web = home.object("services", "web").await?;
    let secrets: BTreeMap<_, _> = web.status()["roles"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|role| (role["name"].as_str(), role["credentialsSecret"].as_str()))
        .collect();
    let creds = async |role: &str| -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
        let secret = secrets.get(&Some(role)).copied().flatten();
        let secret = secret.ok_or_else(|| format!("no Secret for {role}: {secrets:?}"))?;
        Ok(data(home, secret).await?)
    };
    assert_ne!(creds("site").await?["user.creds"], creds("backup").await?["user.creds"]);
    let gone = json!([{"op": "remove", "path": "/spec/roles/1"}]).to_string();
    patch_object(home, "services", "web", "json", &gone).await?;
    Ok(home.all_ready(SOON).await?)
}

async fn patch_object(home: &Home, kind: &str, name: &str, how: &str, patch: &str) -> Outcome {
    let (kind, how) = (format!("{kind}.cim.dev"), format!("--type={how}"));
    let words = ["patch", &kind, name, "--namespace", NAMESPACE, &how, "--patch", patch];
    home.kubectl().run(&words).await?;
    Ok(())
}

/// Whether the object says what it must, or what it says instead.
async fn said(home: &Home, refused: &Refused) -> Result<(), String> {
    let plural = format!("{}s", refused.kind.to_lowercase());
    let object = home.object(&plural, refused.name).await.map_err(|error| error.to_string())?;
    let ready = object.condition("Ready").map(|(status, reason, _)| (status, reason));
    let class = if refused.stalled { "Stalled" } else { "Reconciling" };
    let other = if refused.stalled { "Reconciling" } else { "Stalled" };
    if ready == Some(("False", refused.reason)) && object.is(class) && !object.is(other) {
        return Ok(());
    }
    Err(format!(
        "{object}, Stalled {}, Reconciling {}",
        object.is("Stalled"),
        object.is("Reconciling")
    ))
}

/// What is wrong with the Events: there is one Warning for each refusal, however often it was tried.
async fn events(home: &Home) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
    let list = ["get", "events.events.k8s.io", "--namespace", NAMESPACE, "--output=json"];
    let events: Value = serde_json::from_str(&home.kubectl().run(&list).await?)?;
    let events = events["items"].as_array().cloned().unwrap_or_default();
    let wrong = REFUSED.iter().filter_map(|refused| {
        let of = |event: &&Value| {
            event["regarding"]["name"] == refused.name
                && event["reason"] == refused.reason
                && event["type"] == "Warning"
        };
        let count = events.iter().filter(of).count();
        (count != 1).then(|| format!("{} Events {} of {}", count, refused.reason, refused.name))
    });
    Ok(wrong.collect())
}

fn is_of_examples(object: &Object) -> bool {
    let file = format!("{EXAMPLES}/{}.yaml", object.name());
    std::path::Path::new(&file).exists()
        || matches!(object.name(), "example-com" | "core" | "all" | "web")
}

fn bad_objects(home: &Home) -> Result<String, cim_e2e::lab::LabError> {
    let key = home.lab().host(2)?.host_key();
    let infra = home.repository().url();
    let nothing = infra.replace("infra", "nothing");
    let machine = |name: &str, ssh: &Value, configuration: &str| {
        let spec = json!({
            "cluster": "refused", "provider": {"metal": {}}, "ssh": ssh,
            "configuration": configuration,
        });
        object("Machine", name, &spec)
    };
    let ssh = |host: &str, secret: &str| json!({"host": host, "keySecretRef": {"name": secret}, "hostKeys": [key]});
    let cluster = |flake: &str| {
        json!({
            "domain": "refused", "environment": "dev",
            "source": {"flake": format!("git+{flake}"), "ref": "main"},
            "signingKeySecretRef": {"name": "nix-signing-key"},
        })
    };
    let zone = json!({
        "name": "0.0.10.in-addr.arpa",
        "provider": {"rfc2136": {"server": "10.0.0.53:53", "tsigSecretRef": {"name": "wrong-tsig"}}},
    });
    let away = json!({
        "servers": ["nats://10.0.0.99:4222"], "operatorSecretRef": {"name": "nats-operator"},
        "accounts": [{"name": "away"}],
    });
    let items = [
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "wrong-tsig", "namespace": NAMESPACE},
            "stringData": {
                "name": "cim", "algorithm": "hmac-sha256",
                "secret": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            },
        }),
        object("Domain", "refused", &json!({"suffix": "refused.example"})),
        object("Cluster", "refused", &cluster(&infra)),
        object("Cluster", "no-flake", &cluster(&nothing)),
        machine("wrong-key", &ssh("10.0.0.11", "deploy-key"), "host1"),
        machine("no-attribute", &ssh("10.0.0.12", "deploy-key"), "host9"),
        machine("no-secret", &ssh("10.0.0.12", "absent"), "host2"),
        machine("nobody", &ssh("10.0.0.99", "deploy-key"), "host2"),
        object(
            "Domain",
            "wrong-tsig",
            &json!({"suffix": "wrong.example", "dns": {"zones": [zone]}}),
        ),
        object("Domain", "nats-away", &json!({"suffix": "away.example", "nats": away})),
    ];
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "cim.dev/v1alpha1", "kind": kind, "spec": spec,
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {LABEL: "yes"}},
    })
}
