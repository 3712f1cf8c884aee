//! The way to the API server: one client, every request with a deadline, every refusal explained.

use std::{future::Future, time::Duration};

use cim_crds::{GROUP, Kind};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{DeserializeGuard, PartialObjectMeta},
};
use serde_json::json;

use crate::{args::Global, error::Error};

/// Under which name changes are recorded in `managedFields`.
const FIELD_MANAGER: &str = "cimctl";

/// A connected API server and the namespace to look in.
pub(crate) struct Access {
    client: Client,
    server: String,
    /// `None` for all namespaces.
    namespace: Option<String>,
    timeout: Duration,
}

/// An object that is there, and not as this program understands its kind.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub(crate) object: String,
    pub(crate) error: String,
}

impl Access {
    pub(crate) async fn connect(global: &Global) -> Result<Self, Error> {
        let timeout = global.request_timeout();
        let mut config = configuration(global).await?;
        config.connect_timeout = Some(timeout);
        config.read_timeout = Some(timeout);
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let namespace = global.namespace.clone().unwrap_or(config.default_namespace.clone());
        let client = Client::try_from(config)
            .map_err(|source| Error::Client { server: server.clone(), source: Box::new(source) })?;
        let namespace = if global.all_namespaces { None } else { Some(namespace) };
        Ok(Self { client, server, namespace, timeout })
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// `namespace home`, or `any namespace`.
    pub(crate) fn place(&self) -> String {
        self.namespace
            .as_ref()
            .map_or("any namespace".to_owned(), |name| format!("namespace {name}"))
    }

    /// All objects of a kind that can be read, by namespace and name, and those that cannot.
    pub(crate) async fn list<K: Kind>(&self) -> Result<(Vec<K>, Vec<Unreadable>), Error> {
        let api: Api<DeserializeGuard<K>> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let list = self.ask::<K, _>("list", api.list(&ListParams::default())).await?;
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for DeserializeGuard(object) in list.items {
            match object {
                Ok(object) => good.push(object),
                Err(invalid) => bad.push(Unreadable {
                    object: format!(
                        "{}/{}/{}",
                        K::KIND,
                        invalid.metadata.namespace.unwrap_or_default(),
                        invalid.metadata.name.unwrap_or_default()
                    ),
                    error: invalid.error,
                }),
            }
        }
        good.sort_by_key(|object| (object.namespace(), object.name_any()));
        Ok((good, bad))
    }

    /// One object, if it is there.
    pub(crate) async fn get<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<K>, Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        self.ask::<K, _>("get", api.get_opt(name)).await
    }

    /// Sets an annotation; `None` if there is no such object.
    pub(crate) async fn annotate<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
        (key, value): (&str, &str),
    ) -> Result<Option<PartialObjectMeta<K>>, Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({"metadata": {"annotations": {key: value}}}));
        let request = api.patch_metadata(name, &parameters, &patch);
        // A kind that is not installed is a 404 as well, but speaks of no object.
        let patched = async {
            match request.await {
                Err(kube::Error::Api(status))
                    if status.is_not_found()
                        && status.details.as_ref().is_some_and(|d| d.name == name) =>
                {
                    Ok(None)
                }
                other => other.map(Some),
            }
        };
        self.ask::<K, _>("patch", patched).await
    }

    async fn ask<K: Kind, T>(
        &self,
        verb: &'static str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        let after = self.timeout;
        match tokio::time::timeout(after, request).await {
            Ok(answer) => answer.map_err(|error| explain::<K>(&self.server, verb, error)),
            Err(_) => Err(Error::Deadline { server: self.server.clone(), after }),
        }
    }
}

/// What an error of the client means to whoever typed the command.
fn explain<K: Kind>(server: &str, verb: &'static str, error: kube::Error) -> Error {
    let server = server.to_owned();
    let resource = format!("{}.{GROUP}", K::plural(&()));
    match error {
        kube::Error::Api(status) => match status.code {
            401 => Error::Unauthorized { server },
            403 => Error::Forbidden { verb, resource, message: status.message },
            404 => Error::NotInstalled { server, resource },
            code => {
                let message = format!("{} (HTTP status {code})", status.message);
                Error::Api { verb, resource, message }
            }
        },
        error @ (kube::Error::Service(_) | kube::Error::HyperError(_)) => {
            Error::Unreachable { server, source: Box::new(error) }
        }
        error => Error::Api { verb, resource, message: error.to_string() },
    }
}

async fn configuration(global: &Global) -> Result<Config, Error> {
    let paths = global.kubeconfigs();
    if paths.is_empty() {
        return Config::incluster().map_err(|error| Error::NoKubeconfig(Box::new(error)));
    }
    let wrap = |source| Error::Kubeconfig { path: paths.clone(), source: Box::new(source) };
    let mut merged = Kubeconfig::default();
    for path in &paths {
        let next = Kubeconfig::read_from(path).map_err(wrap)?;
        merged = merged.merge(next).map_err(wrap)?;
    }
    let options = KubeConfigOptions { context: global.context.clone(), ..Default::default() };
    Config::from_custom_kubeconfig(merged, &options).await.map_err(wrap)
}

#[cfg(test)]
mod tests {
    use cim_crds::Machine;
    use kube::core::Status;

    use super::*;

    #[test]
    fn refusals_of_the_api_server_say_what_to_do() {
        let told = |code, message: &str| {
            let status = Status { code, ..Status::failure(message, "") };
            let error = kube::Error::Api(status.boxed());
            explain::<Machine>("https://10.0.0.1:6443", "list", error).chain()
        };
        let texts =
            [told(401, ""), told(403, "User \"bob\" cannot"), told(404, ""), told(500, "etcd")];
        insta::assert_snapshot!(texts.join("\n"));
    }
}
