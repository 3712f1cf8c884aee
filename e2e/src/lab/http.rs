//! One plain HTTP request, as a health check makes it.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::error::{During, LabError, Result};

const DEADLINE: Duration = Duration::from_secs(5);
const LIMIT: u64 = 16 << 20;

/// The status and the body of `GET http://<address><path>`.
pub async fn http_get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let url = format!("http://{address}{path}");
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        // HTTP/1.0, so that the answer ends with the connection and comes in one piece.
        let request =
            format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LIMIT).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(DEADLINE, exchange).await.map_err(|_| LabError::Deadline {
        what: format!("GET {url}"),
        after: DEADLINE,
        last: "no complete answer".into(),
    })?;
    let answer = answer.attempting(format!("GET {url}"))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| LabError::Unexpected {
        what: format!("the answer to GET {url}"),
        why: format!("it begins with {:?}", head.lines().next().unwrap_or_default()),
    })?;
    Ok((status, body.to_owned()))
}
