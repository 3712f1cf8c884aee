//! Checks that are made from here: does a machine serve?

mod tls;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cim_crds::machine::activation::{Check, HttpCheck, Scheme, TcpCheck};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// One check that can be made from here.
#[derive(Clone, Debug)]
pub(crate) enum Probe {
    /// A TCP port accepts connections.
    Tcp {
        /// The port.
        port: u16,
        /// For one attempt.
        timeout: Duration,
    },
    /// An HTTP request is answered with the expected status.
    Http {
        /// The port.
        port: u16,
        /// The path.
        path: String,
        /// The Host header, if not the address.
        host: Option<String>,
        /// The expected status; 200 to 399 without.
        status: Option<u16>,
        /// Whether to speak TLS, and to believe only a certificate that the system's roots vouch for.
        tls: bool,
        /// For one attempt.
        timeout: Duration,
    },
}

impl Probe {
    /// Reads a check of the spec; the error names the kind that cannot be made from here.
    pub(crate) fn new(check: &Check) -> Result<Self, &'static str> {
        match check {
            Check::Tcp(TcpCheck { port, timeout }) => {
                Ok(Self::Tcp { port: *port, timeout: timeout.as_std() })
            }
            Check::Http(HttpCheck { path, port, host, status, scheme, timeout }) => {
                Ok(Self::Http {
                    port: *port,
                    path: path.clone(),
                    host: host.clone(),
                    status: *status,
                    tls: *scheme == Scheme::Https,
                    timeout: timeout.as_std(),
                })
            }
            Check::Nats(_) => Err("a NATS check"),
            Check::Command(_) => Err("a command check"),
        }
    }

    /// Makes the check once; the error says what was found instead.
    pub(crate) async fn run(&self, address: IpAddr) -> Result<(), String> {
        let (Self::Tcp { timeout: deadline, .. } | Self::Http { timeout: deadline, .. }) = self;
        match timeout(*deadline, self.attempt(address)).await {
            Ok(found) => found.map_err(|why| format!("{self}: {why}")),
            Err(_) => Err(format!("{self}: no answer within {deadline:?}")),
        }
    }

    async fn attempt(&self, address: IpAddr) -> Result<(), String> {
        let (Self::Tcp { port, .. } | Self::Http { port, .. }) = self;
        let target = SocketAddr::new(address, *port);
        let mut stream =
            TcpStream::connect(target).await.map_err(|error| error.kind().to_string())?;
        let Self::Http { path, host, status, tls, .. } = self else { return Ok(()) };
        let host = host.clone().unwrap_or_else(|| target.to_string());
        let found = if *tls {
            let name = host.split(':').next().unwrap_or_default().to_owned();
            let mut stream = tls::connect(stream, name).await?;
            get(&mut stream, &host, path).await?
        } else {
            get(&mut stream, &host, path).await?
        };
        let expected = match status {
            Some(status) => found == *status,
            None => (200..400).contains(&found),
        };
        if expected { Ok(()) } else { Err(format!("status {found}")) }
    }
}

/// Asks for `path` and gives the status of the answer.
async fn get(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    path: &str,
) -> Result<u16, String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: cim-controller\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| error.kind().to_string())?;
    status_of(stream).await
}

/// The status of an HTTP answer: all that matters of it.
async fn status_of(stream: &mut (impl AsyncRead + Unpin)) -> Result<u16, String> {
    // `HTTP/1.1 200`
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.map_err(|_| "the answer is not HTTP".to_owned())?;
    std::str::from_utf8(&head)
        .ok()
        .filter(|head| head.starts_with("HTTP/1."))
        .and_then(|head| head.get(9..12)?.parse().ok())
        .ok_or_else(|| "the answer is not HTTP".to_owned())
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { port, .. } => write!(f, "TCP port {port}"),
            Self::Http { port, path, tls, .. } => {
                write!(f, "{} port {port} {path}", if *tls { "HTTPS" } else { "HTTP" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers every connection with `answer`, and its port.
    async fn server(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 512];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer).await;
            }
        });
        port
    }

    fn http(port: u16, status: Option<u16>) -> Probe {
        let timeout = Duration::from_secs(5);
        Probe::Http { port, path: "/health".into(), host: None, status, tls: false, timeout }
    }

    #[tokio::test]
    async fn an_http_check_judges_the_status() {
        let local = IpAddr::from([127, 0, 0, 1]);
        let port = server(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(http(port, None).run(local).await, Ok(()));
        assert_eq!(http(port, Some(204)).run(local).await, Ok(()));
        let why = http(port, Some(200)).run(local).await.expect_err("another status");
        assert!(why.contains("/health: status 204"), "{why}");
        let port = server(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        let why = http(port, None).run(local).await.expect_err("not HTTP");
        assert!(why.contains("not HTTP"), "{why}");
    }

    #[tokio::test]
    async fn a_closed_port_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let probe = Probe::Tcp { port, timeout: Duration::from_secs(5) };
        assert_eq!(probe.run(IpAddr::from([127, 0, 0, 1])).await, Ok(()));
        drop(listener);
        let why = probe.run(IpAddr::from([127, 0, 0, 1])).await.expect_err("closed");
        assert!(why.starts_with(&format!("TCP port {port}")), "{why}");
    }
}
