//! A cluster that somebody has already, reached through a window of the lab.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{PORT, config};
use crate::lab::{
    command,
    error::{During, LabError, Result},
    network,
    tools::Tools,
};

/// The current context of a person's kubeconfig, self-contained.
#[derive(Clone, Debug)]
pub struct RemoteCluster {
    /// Of the cluster, without its TLS settings' file references.
    cluster: Value,
    user: Value,
    host: String,
    port: u16,
    file: PathBuf,
}

impl RemoteCluster {
    /// Reads the current context of a kubeconfig file.
    pub fn read(tools: &Tools, file: &Path) -> Result<Self> {
        let mut view = Command::new(tools.program("kubectl"));
        view.args(["config", "view", "--minify", "--flatten", "--raw", "--output=json"]);
        view.arg("--kubeconfig").arg(file);
        let config = command::run(view)?;
        let unusable = |why: &str| LabError::Unexpected {
            what: format!("the kubeconfig {}", file.display()),
            why: why.to_owned(),
        };
        let config: Value =
            serde_json::from_slice(&config).map_err(|error| unusable(&error.to_string()))?;
        let cluster = config["clusters"][0]["cluster"].clone();
        let user = config["users"][0]["user"].clone();
        if user.get("exec").is_some() || user.get("auth-provider").is_some() {
            // The plugin would run in the lab, which has no way to whoever it asks.
            return Err(unusable(
                "its user signs in by a plugin; use one with a token or a client certificate, \
                 such as `kubectl create token` makes",
            ));
        }
        let server = cluster["server"].as_str().ok_or_else(|| unusable("it names no server"))?;
        let (host, port) = host_and_port(server).ok_or_else(|| {
            unusable(&format!("its server is {server:?}, not https://HOST[:PORT]"))
        })?;
        Ok(Self { cluster, user, host, port, file: file.to_owned() })
    }

    /// `host:port` of the API server, as the outside knows it.
    pub fn address(&self) -> String {
        // An IPv6 address keeps its brackets.
        format!("{}:{}", self.host, self.port)
    }

    /// The file that it was read from.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The name that the server's certificate must bear.
    pub(super) fn tls_server_name(&self) -> String {
        let declared = self.cluster["tls-server-name"].as_str();
        declared.unwrap_or_else(|| self.host.trim_matches(['[', ']'])).to_owned()
    }

    /// Writes the certificate to trust and the administrator's kubeconfig for use within the lab.
    pub(super) fn write(&self, dir: &Path, certificate: &Path) -> Result<()> {
        for dir in [Some(dir), certificate.parent()].into_iter().flatten() {
            fs::create_dir_all(dir).during("create", dir)?;
        }
        let authority = self.cluster["certificate-authority-data"].as_str().unwrap_or_default();
        let authority = STANDARD.decode(authority).map_err(|error| LabError::Unexpected {
            what: format!("the certificate authority in {}", self.file.display()),
            why: error.to_string(),
        })?;
        fs::write(certificate, authority).during("write", certificate)?;
        let mut cluster = self.cluster.clone();
        cluster["server"] = json!(format!("https://{}:{PORT}", network::GATEWAY));
        cluster["tls-server-name"] = json!(self.tls_server_name());
        config::write_kubeconfig(&config::admin_kubeconfig(dir), &cluster, "admin", &self.user)
    }
}

/// The host and the port of an API server's URL; a path behind them is not supported.
fn host_and_port(server: &str) -> Option<(String, u16)> {
    let authority = server.strip_prefix("https://")?.trim_end_matches('/');
    if authority.is_empty() || authority.contains(['/', '@', '?', '#']) {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        // Not the colon within an IPv6 address without a port.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, 443),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn urls_of_api_servers_are_read_or_refused() {
        let is = |url: &str| host_and_port(url).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(is("https://127.0.0.1:16443").as_deref(), Some("127.0.0.1 16443"));
        assert_eq!(is("https://k.example.com/").as_deref(), Some("k.example.com 443"));
        assert_eq!(is("https://[::1]:6443").as_deref(), Some("[::1] 6443"));
        assert_eq!(is("https://[::1]").as_deref(), Some("[::1] 443"));
        for refused in ["http://k.example.com", "https://", "https://k/prefix", "https://k:x"] {
            assert_eq!(is(refused), None, "{refused}");
        }
    }
}
