//! TLS as a browser would speak it: the name must be the one asked for, and an authority that we
//! trust must vouch for it.

use std::fmt;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error as TlsError, RootCertStore};

/// Whose word is taken for who a server is.
#[derive(Clone)]
pub(crate) enum Authorities {
    /// The roots of this system. They are read anew each time: they may be renewed while we run, and
    /// a check is rare.
    System,
    /// These alone.
    These(Arc<RootCertStore>),
}

/// Why nobody can say who the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The server is not who it should be, or does not speak TLS with us.
    Server(String),
    /// We lack what it takes to judge it.
    Ourselves(String),
}

impl Authorities {
    /// Reads certificates in PEM; the error says what is wrong with them.
    pub(super) fn parse(pem: &str) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("key \"ca.crt\": {error:?}"))?;
            roots.add(certificate).map_err(|error| format!("key \"ca.crt\": {error}"))?;
        }
        if roots.is_empty() {
            return Err("key \"ca.crt\" has no certificate (PEM)".to_owned());
        }
        Ok(Self::These(Arc::new(roots)))
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, Refused> {
        match self {
            Self::These(roots) => Ok(Arc::clone(roots)),
            Self::System => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    let why = "this controller has no root certificates to judge a server by; \
                        name those of yours in caSecretRef";
                    return Err(Refused::Ourselves(why.to_owned()));
                }
                Ok(Arc::new(roots))
            }
        }
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("System"),
            Self::These(roots) => write!(f, "These({})", roots.len()),
        }
    }
}

/// Speaks TLS on `stream` with the server `name`, which may be an address.
pub(super) async fn connect(
    stream: TcpStream,
    name: &str,
    authorities: &Authorities,
) -> Result<TlsStream<TcpStream>, Refused> {
    let ours = |why: String| Refused::Ourselves(why);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ours(error.to_string()))?
        .with_root_certificates(authorities.roots()?)
        .with_no_client_auth();
    let server = ServerName::try_from(name.to_owned())
        .map_err(|_| ours(format!("{name:?} is no name for TLS")))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(server, stream).await;
    connected.map_err(|error| {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
        Refused::Server(tls.map_or_else(|| format!("TLS: {error}"), |tls| told(tls, name)))
    })
}

/// What is wrong with a server, and what would mend it.
fn told(error: &TlsError, name: &str) -> String {
    let TlsError::InvalidCertificate(why) = error else { return format!("TLS: {error}") };
    match why {
        CertificateError::NotValidForName => format!("the certificate is not for {name}"),
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("the certificate is not for {name}, but for {}", presented.join(", "))
        }
        CertificateError::UnknownIssuer => {
            "the certificate is by an authority that is not trusted here (see caSecretRef)"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            // Its own words count the seconds, which would make each look another.
            "the certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet".to_owned()
        }
        other => format!("the certificate is refused: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_are_none_are_told() {
        for (pem, said) in [
            ("", "no certificate"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "ca.crt"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ca.crt"),
        ] {
            let why = Authorities::parse(pem).expect_err("no certificate");
            assert!(why.contains(said), "{why}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_told() {
        let told = |why| told(&TlsError::InvalidCertificate(why), "web.example.com");
        assert!(told(CertificateError::NotValidForName).contains("not for web.example.com"));
        assert!(told(CertificateError::UnknownIssuer).contains("caSecretRef"));
        assert!(told(CertificateError::Expired).contains("expired"));
    }
}
