//! TCP and HTTP, from here to an address.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Verdict;
use super::tls::{self, Authorities, Refused};

/// Something that an address must answer.
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
        /// The Host header, and the name in TLS, if not the address.
        host: Option<String>,
        /// The expected status; 200 to 399 without.
        status: Option<u16>,
        /// With TLS: whose word is taken for who the server is.
        tls: Option<Authorities>,
        /// For one attempt.
        timeout: Duration,
    },
}

impl Probe {
    /// Makes the check once.
    pub(super) async fn run(&self, address: IpAddr) -> Verdict {
        let (Self::Tcp { timeout: deadline, .. } | Self::Http { timeout: deadline, .. }) = self;
        match timeout(*deadline, self.attempt(address)).await {
            Ok(Ok(())) => Verdict::Passing,
            Ok(Err(Refused::Server(why))) => Verdict::Failing(format!("{self}: {why}")),
            Ok(Err(Refused::Ourselves(why))) => Verdict::Unknown(format!("{self}: {why}")),
            Err(_) => Verdict::Failing(format!("{self}: no answer within {deadline:?}")),
        }
    }

    async fn attempt(&self, address: IpAddr) -> Result<(), Refused> {
        let (Self::Tcp { port, .. } | Self::Http { port, .. }) = self;
        let target = SocketAddr::new(address, *port);
        let refused = |error: std::io::Error| Refused::Server(error.kind().to_string());
        let mut stream = TcpStream::connect(target).await.map_err(refused)?;
        let Self::Http { path, host, status, tls, .. } = self else { return Ok(()) };
        let header = host.clone().unwrap_or_else(|| target.to_string());
        let answer = match tls {
            Some(authorities) => {
                let name = host.clone().unwrap_or_else(|| address.to_string());
                let mut stream = tls::connect(stream, &name, authorities).await?;
                get(&mut stream, &header, path).await
            }
            None => get(&mut stream, &header, path).await,
        };
        let found = answer.map_err(Refused::Server)?;
        let expected = match status {
            Some(status) => found == *status,
            None => (200..400).contains(&found),
        };
        if expected { Ok(()) } else { Err(Refused::Server(format!("status {found}"))) }
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
                write!(f, "{} port {port} {path}", if tls.is_some() { "HTTPS" } else { "HTTP" })
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
        Probe::Http { port, path: "/health".into(), host: None, status, tls: None, timeout }
    }

    fn failing(verdict: Verdict) -> String {
        match verdict {
            Verdict::Failing(message) => message,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_http_check_judges_the_status() {
        let local = IpAddr::from([127, 0, 0, 1]);
        let port = server(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(http(port, None).run(local).await, Verdict::Passing);
        assert_eq!(http(port, Some(204)).run(local).await, Verdict::Passing);
        let why = failing(http(port, Some(200)).run(local).await);
        assert!(why.contains("/health: status 204"), "{why}");
        let port = server(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        let why = failing(http(port, None).run(local).await);
        assert!(why.contains("not HTTP"), "{why}");
    }

    #[tokio::test]
    async fn a_closed_port_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let probe = Probe::Tcp { port, timeout: Duration::from_secs(5) };
        assert_eq!(probe.run(IpAddr::from([127, 0, 0, 1])).await, Verdict::Passing);
        drop(listener);
        let why = failing(probe.run(IpAddr::from([127, 0, 0, 1])).await);
        assert!(why.starts_with(&format!("TCP port {port}")), "{why}");
    }
}
