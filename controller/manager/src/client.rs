//! The Kubernetes client: where it connects, and what is counted of each request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::{Layer, Service};

use crate::args::KubernetesArgs;
use crate::ops::metrics::Metrics;

/// Longer than the server lets a watch live (290 s), so that only a dead connection hits it.
const READ_TIMEOUT: Duration = Duration::from_mins(5);

/// The API server cannot be reached as configured.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The file, or what it refers to, cannot be used.
    #[error("cannot use the kubeconfig {path}")]
    Kubeconfig {
        /// As given by `--kubeconfig`.
        path: String,
        /// What is wrong with it.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// Not in a pod, and no kubeconfig given.
    #[error("no service account of a pod here; outside a cluster give --kubeconfig FILE")]
    InCluster(#[source] Box<kube::config::InClusterError>),
    /// TLS material or address cannot be used.
    #[error("cannot set up the Kubernetes client")]
    Client(#[source] Box<kube::Error>),
}

/// A client whose requests are counted, and its default namespace.
pub async fn connect(args: &KubernetesArgs, metrics: &Metrics) -> Result<Client, ConnectError> {
    let mut config = configuration(args).await?;
    config.read_timeout = Some(READ_TIMEOUT);
    let builder =
        ClientBuilder::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))?;
    Ok(builder.with_layer(&CountRequests(metrics.clone())).build())
}

async fn configuration(args: &KubernetesArgs) -> Result<Config, ConnectError> {
    let Some(path) = &args.kubeconfig else {
        return Config::incluster().map_err(|error| ConnectError::InCluster(Box::new(error)));
    };
    let wrap = |source| ConnectError::Kubeconfig {
        path: path.display().to_string(),
        source: Box::new(source),
    };
    let options =
        KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let kubeconfig = Kubeconfig::read_from(path).map_err(wrap)?;
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(wrap)
}

/// Counts requests below everything that makes them, so that none can be forgotten.
struct CountRequests(Metrics);

impl<S> Layer<S> for CountRequests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, metrics: self.0.clone() }
    }
}

struct Counted<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = request.method().clone();
        if writes(&method) {
            self.metrics.api_write(method.as_str(), &resource(request.uri().path()));
        }
        let metrics = self.metrics.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map_or(0, |response| response.status().as_u16());
            metrics.api_request(method.as_str(), code);
            answer
        })
    }
}

fn writes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The resource (and subresource) of an API path, without names: `machines/status`.
fn resource(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    // /api/v1/… or /apis/GROUP/VERSION/…
    let prefix = if parts.first() == Some(&"api") { 2 } else { 3 };
    parts.drain(..prefix.min(parts.len()));
    if parts.first() == Some(&"namespaces") && parts.len() > 2 {
        parts.drain(..2);
    }
    match parts.as_slice() {
        [] => "other".to_owned(),
        [resource] | [resource, _] => (*resource).to_owned(),
        [resource, _, subresource, ..] => format!("{resource}/{subresource}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_told_without_names() {
        let cases = [
            ("/apis/cim.dev/v1alpha1/namespaces/home/machines/host1/status", "machines/status"),
            ("/apis/cim.dev/v1alpha1/namespaces/home/machines/host1", "machines"),
            ("/apis/cim.dev/v1alpha1/machines", "machines"),
            ("/api/v1/namespaces/home/secrets/tsig", "secrets"),
            ("/api/v1/namespaces/home", "namespaces"),
            ("/apis/events.k8s.io/v1/namespaces/home/events", "events"),
            ("/version", "other"),
        ];
        for (path, expected) in cases {
            assert_eq!(resource(path), expected, "{path}");
        }
    }
}
