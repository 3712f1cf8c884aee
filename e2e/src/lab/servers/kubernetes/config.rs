//! Command lines and files of the control plane.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::PORT;
use crate::lab::{
    error::{During, Result},
    network,
    toolbox::Toolbox,
};

/// etcd, for the API server alone.
pub(super) const ETCD: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 2379));

/// The administrator of the cluster.
pub(super) const ADMIN: &str = "admin";
/// The identity of kube-controller-manager.
pub(super) const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";

/// What a cluster without nodes needs: deletions, service accounts, aggregated roles.
const CONTROLLERS: [&str; 6] = [
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
];

/// Who did what, not what was in it: bodies would be most of the log.
const AUDIT_POLICY: &str = r"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// Writes the files that the servers read.
pub(super) fn write(dir: &Path, toolbox: &Toolbox) -> Result<()> {
    fs::create_dir_all(dir).during("create", dir)?;
    let key = service_account_key(dir);
    let path = key.to_string_lossy();
    toolbox.run("ssh-keygen", &["-q", "-t", "ecdsa", "-m", "PEM", "-N", "", "-f", &path])?;
    let mut users = String::new();
    for (name, group) in [(ADMIN, "system:masters"), (CONTROLLER_MANAGER, "")] {
        let token = format!("{:032x}", rand::random::<u128>());
        // Writing to a string cannot fail.
        let _ = writeln!(users, "{token},{name},{name},{group}");
        let path = token_path(dir, name);
        fs::write(&path, token).during("write", &path)?;
    }
    fs::write(dir.join("users.csv"), users).during("write", dir.join("users.csv"))?;
    fs::write(dir.join("audit.yaml"), AUDIT_POLICY).during("write", dir.join("audit.yaml"))
}

/// The arguments of etcd. Nothing here outlives the lab, so nothing is flushed to disk.
pub(super) fn etcd(dir: &Path) -> Vec<String> {
    vec![
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls=http://{ETCD}"),
        format!("--advertise-client-urls=http://{ETCD}"),
        "--listen-peer-urls=http://127.0.0.1:2380".into(),
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

/// The arguments of kube-apiserver.
pub(super) fn apiserver(dir: &Path) -> Vec<String> {
    let file = |name: &str| dir.join(name).display().to_string();
    let key = service_account_key(dir).display().to_string();
    vec![
        format!("--etcd-servers=http://{ETCD}"),
        format!("--advertise-address={}", network::GATEWAY),
        format!("--secure-port={PORT}"),
        format!("--cert-dir={}", file("certs")),
        "--service-cluster-ip-range=10.96.0.0/24".into(),
        "--authorization-mode=Node,RBAC".into(),
        format!("--token-auth-file={}", file("users.csv")),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={key}"),
        format!("--service-account-signing-key-file={key}"),
        format!("--audit-policy-file={}", file("audit.yaml")),
        format!("--audit-log-path={}", audit_log(dir).display()),
        // Blocking, so that a request is in the log before its answer is out.
        "--audit-log-mode=blocking".into(),
    ]
}

/// The arguments of kube-controller-manager.
pub(super) fn controller_manager(dir: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig_path(dir, CONTROLLER_MANAGER).display()),
        format!("--service-account-private-key-file={}", service_account_key(dir).display()),
        "--use-service-account-credentials".into(),
        "--leader-elect=false".into(),
        // It starts them one after the other; all forty would take seven seconds.
        format!("--controllers={}", CONTROLLERS.join(",")),
    ]
}

pub(super) fn audit_log(dir: &Path) -> PathBuf {
    dir.join("audit.log")
}

/// The administrator's kubeconfig, for use within the lab.
pub(super) fn admin_kubeconfig(dir: &Path) -> PathBuf {
    kubeconfig_path(dir, ADMIN)
}

pub(super) fn kubeconfig_path(dir: &Path, user: &str) -> PathBuf {
    dir.join(format!("{user}.kubeconfig"))
}

/// An API server as a kubeconfig describes it.
pub(super) struct Endpoint<'a> {
    /// `https://host:port`.
    pub(super) url: String,
    /// The name that its certificate must bear.
    pub(super) tls_server_name: &'a str,
    /// The file with the certificate to trust.
    pub(super) certificate: &'a Path,
}

impl Endpoint<'_> {
    /// Writes the kubeconfig of a user of the lab's own cluster, who has a static token.
    pub(super) fn kubeconfig_of_static(&self, dir: &Path, user: &str, path: &Path) -> Result<()> {
        let token = token_path(dir, user);
        let token = fs::read_to_string(&token).during("read", &token)?;
        self.kubeconfig(user, &token, path)
    }

    /// Writes the kubeconfig of a user with a token.
    pub(super) fn kubeconfig(&self, user: &str, token: &str, path: &Path) -> Result<()> {
        let certificate = fs::read(self.certificate).during("read", self.certificate)?;
        let cluster = json!({
            "server": self.url,
            "tls-server-name": self.tls_server_name,
            "certificate-authority-data": STANDARD.encode(certificate),
        });
        write_kubeconfig(path, &cluster, user, &json!({"token": token}))
    }
}

/// Writes a kubeconfig with one context. JSON is YAML.
pub(super) fn write_kubeconfig(
    path: &Path,
    cluster: &Value,
    user: &str,
    credentials: &Value,
) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
    });
    let mut file = File::options();
    // Whoever can read it rules the cluster.
    file.create(true).write(true).truncate(true).mode(0o600);
    let mut file = file.open(path).during("create", path)?;
    file.write_all(config.to_string().as_bytes()).during("write", path)
}

fn service_account_key(dir: &Path) -> PathBuf {
    dir.join("service-account.key")
}

fn token_path(dir: &Path, user: &str) -> PathBuf {
    dir.join(format!("{user}.token"))
}
