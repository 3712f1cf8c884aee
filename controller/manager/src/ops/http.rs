//! `/livez`, `/readyz` and `/metrics`.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use super::readiness::Readiness;

#[derive(Clone)]
struct Sources {
    metrics: Metrics,
    readiness: Readiness,
}

/// Opens `address`, so that a port in use is known at start.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until `stop` is cancelled.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    readiness: Readiness,
    stop: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router(metrics, readiness))
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
}

fn router(metrics: Metrics, readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .with_state(Sources { metrics, readiness })
}

/// The process answers; that is all a restart could mend.
async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(sources): State<Sources>) -> Response {
    let missing = sources.readiness.report();
    if missing.is_empty() {
        return "ok\n".into_response();
    }
    let body = missing.iter().fold(String::from("not ready\n"), |body, what| body + what + "\n");
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

async fn scrape(State(sources): State<Sources>) -> Response {
    match sources.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        answer
    }

    #[tokio::test]
    async fn readiness_names_what_is_missing_and_liveness_does_not_care() {
        let listener = listen("127.0.0.1:0".parse().expect("address")).await.expect("bind");
        let address = listener.local_addr().expect("address");
        let readiness = Readiness::default();
        readiness.missing("watch machines");
        readiness.missing("CRD domains.cim.dev");
        let stop = CancellationToken::new();
        let metrics = Metrics::new(true).expect("metrics");
        let server = tokio::spawn(serve(listener, metrics, readiness.clone(), stop.clone()));

        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("not ready\nCRD domains.cim.dev\nwatch machines\n"), "{answer}");
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));

        readiness.present("watch machines");
        readiness.present("CRD domains.cim.dev");
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let scraped = get(address, "/metrics").await;
        assert!(scraped.contains("\ncim_build_info{"), "{scraped}");

        stop.cancel();
        server.await.expect("joined").expect("served");
    }
}
