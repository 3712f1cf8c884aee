//! Objects with checks of each kind, and what must be said of them.

use serde_json::{Value, json};

use super::{
    NAMESPACE,
    answering::{FAILS, SERVICE, SILENT},
    tls::SERVED,
};

/// Every object of these cases has it, and goes by it.
pub(super) const LABEL: &str = "cases.cim.dev/checks";
/// Another address of host1, so that a second Machine can stand for it.
pub(super) const ADDRESS: &str = "10.0.0.111";

/// Kind, name, condition, status, and words of the message.
type Said = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

/// What must be said of them.
pub(super) const SAID: [Said; 6] = [
    ("machines", "checked", "Healthy", "True", &["its checks hold"]),
    (
        "machines",
        "ill",
        "Healthy",
        "False",
        &[
            "NATS request qry.nobody: no responders",
            "NATS request qry.checks.silent: no reply within 1s",
            "NATS request qry.checks.fails: the service replied with error 500 no database",
            "NATS request qry.checks.health: the reply \" is well\" does not contain \"ill\"",
        ],
    ),
    ("machines", "nowhere", "Healthy", "Unknown", &["Domain example-com has no account absent"]),
    ("services", "well", "Available", "True", &["1 of 1 machines serve"]),
    (
        "services",
        "not-well",
        "Available",
        "False",
        &[
            "the certificate is not for mail.checks.test",
            "the certificate is by an authority that is not trusted here",
            "the certificate has expired",
            "NATS request qry.nobody: no responders",
            "command sh: exit 3: no disk",
            "command sleep: no end within 1s",
        ],
    ),
    ("services", "unknown", "Available", "Unknown", &["there is no Secret absent-ca"]),
];

/// All of them, for a host with this SSH key, and two authorities' certificates.
pub(super) fn objects(key: &str, ours: &str, others: &str) -> Value {
    let machine = |name: &str, address: &str, checks: &Value| machine(key, name, address, checks);
    let items = [
        object("Cluster", "checks", &json!({"domain": "example-com", "environment": "dev"})),
        secret("ours-ca", ours),
        secret("others-ca", others),
        machine(
            "checked",
            ADDRESS,
            &json!([
                {"tcp": {"port": SERVED[0].port}},
                {"command": {"argv": ["true"]}},
                nats(&json!({"subject": SERVICE, "payload": "x", "replyEquals": "x is well"})),
            ]),
        ),
        machine(
            "ill",
            "10.0.0.112",
            &json!([
                nats(&json!({"subject": "qry.nobody"})),
                nats(&json!({"subject": SILENT, "timeout": "1s"})),
                nats(&json!({"subject": FAILS})),
                nats(&json!({"subject": SERVICE, "replyContains": "ill"})),
            ]),
        ),
        machine(
            "nowhere",
            "10.0.0.113",
            &json!([nats(&json!({"account": "absent", "subject": SERVICE}))]),
        ),
        service(
            "well",
            &json!([
                https(0, "web.checks.test", Some("ours-ca")),
                {"nats": {"subject": SERVICE}},
                {"command": {"argv": ["test", "-e", "/etc/machine-id"]}},
            ]),
        ),
        service(
            "not-well",
            &json!([
                https(0, "mail.checks.test", Some("ours-ca")),
                https(0, "web.checks.test", Some("others-ca")),
                https(0, "web.checks.test", None),
                https(1, "web.checks.test", Some("ours-ca")),
                {"nats": {"subject": "qry.nobody"}},
                {"command": {"argv": ["sh", "-c", "echo begins; echo no disk >&2; exit 3"]}},
                {"command": {"argv": ["sleep", "60"], "timeout": "1s"}},
            ]),
        ),
        service("unknown", &json!([https(0, "web.checks.test", Some("absent-ca"))])),
    ];
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn machine(key: &str, name: &str, address: &str, checks: &Value) -> Value {
    let spec = json!({
        "cluster": "checks", "provider": {"metal": {}}, "delivery": "None", "interval": "10s",
        "ssh": {"host": "10.0.0.11", "keySecretRef": {"name": "deploy-key"}, "hostKeys": [key]},
        "interfaces": [{"name": "host0", "addresses": [format!("{address}/24")]}],
        "activation": {"checks": checks},
    });
    object("Machine", name, &spec)
}

fn service(name: &str, checks: &Value) -> Value {
    let spec = json!({
        "cluster": "checks", "interval": "10s", "checks": checks,
        "roles": [{"name": "it", "selectors": ["checked"]}], "nats": {"account": "comms"},
    });
    object("Service", name, &spec)
}

fn nats(check: &Value) -> Value {
    let mut check = check.clone();
    check["account"] = check.get("account").cloned().unwrap_or_else(|| json!("comms"));
    json!({"nats": check})
}

fn https(server: usize, host: &str, ca: Option<&str>) -> Value {
    let mut check = json!({"scheme": "Https", "port": SERVED[server].port, "host": host});
    if let Some(ca) = ca {
        check["caSecretRef"] = json!({"name": ca});
    }
    json!({"http": check})
}

fn secret(name: &str, certificate: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": {"ca.crt": certificate},
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {LABEL: "yes"}},
    })
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "cim.dev/v1alpha1", "kind": kind, "spec": spec,
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {LABEL: "yes"}},
    })
}
