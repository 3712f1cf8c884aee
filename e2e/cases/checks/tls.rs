//! Certificate authorities, and web servers with certificates of theirs: OpenSSL on a host.

use cim_e2e::lab::servers::host::Host;

use super::Try;
use crate::harness::Outcome;

/// A server: its port, and until when its certificate is good.
pub(super) struct Served {
    pub(super) port: u16,
    until: &'static str,
}

/// One that is as it should be, and one whose certificate has expired.
pub(super) const SERVED: [Served; 2] = [
    Served { port: 8443, until: "20990101000000Z" },
    Served { port: 8444, until: "20210101000000Z" },
];

/// The only name that the certificates are for.
const NAME: &str = "web.checks.test";
const DIR: &str = "/run/checks-tls";

/// An authority that nobody's system knows.
pub(super) struct Authority {
    name: &'static str,
    /// Its certificate, in PEM.
    pub(super) certificate: String,
}

impl Authority {
    /// Makes one; its key stays on the host.
    pub(super) async fn found(host: &Host, name: &'static str) -> Try<Self> {
        let script = format!(
            "mkdir -p {DIR}; cd {DIR}
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
                -keyout {name}.key -out {name}.pem -subj /CN={name} 2>openssl.log
            cat {name}.pem"
        );
        Ok(Self { name, certificate: host.exec(&script).await? })
    }

    /// Starts all of [`SERVED`] with certificates of this authority.
    pub(super) async fn serve(&self, host: &Host) -> Outcome {
        for Served { port, until } in SERVED {
            let ca = self.name;
            let script = format!(
                "cd {DIR}
                openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
                    -keyout {port}.key -out {port}.csr -subj /CN={NAME} 2>openssl.log
                printf 'subjectAltName=DNS:{NAME}\\nbasicConstraints=CA:FALSE\\n' > {port}.ext
                openssl x509 -req -in {port}.csr -CA {ca}.pem -CAkey {ca}.key -extfile {port}.ext \
                    -not_before 20200101000000Z -not_after {until} -out {port}.pem 2>openssl.log
                systemd-run --quiet --collect --unit=checks-tls-{port} \
                    openssl s_server -www -accept {port} -cert $PWD/{port}.pem -key $PWD/{port}.key"
            );
            host.exec(&script).await?;
        }
        Ok(())
    }
}

/// Stops them all.
pub(super) async fn stop(host: &Host) -> Outcome {
    for Served { port, .. } in SERVED {
        host.exec(&format!("systemctl stop checks-tls-{port}.service")).await?;
    }
    host.exec(&format!("rm -r {DIR}")).await?;
    Ok(())
}
