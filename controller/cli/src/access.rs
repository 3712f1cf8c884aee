//! The way to the API server: one client, every request with a deadline, every refusal explained.

use std::{collections::BTreeMap, future::Future, time::Duration};

use cim_crds::{GROUP, Kind};
use k8s_openapi::api::{authentication::v1::SelfSubjectReview, core::v1::ConfigMap};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{DeserializeGuard, PartialObjectMeta},
};
use serde_json::{Value, json};

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

/// A change of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edit<'e> {
    /// Under which name it is recorded in `managedFields`.
    pub(crate) manager: &'e str,
    /// JSON patch operations (RFC 6902).
    pub(crate) steps: &'e [Value],
    /// Have it checked, and change nothing.
    pub(crate) dry_run: bool,
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

    /// The one namespace that a command changes something in.
    pub(crate) fn one_namespace(&self, command: &'static str) -> Result<&str, Error> {
        self.namespace().ok_or(Error::OneNamespace { command })
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

    /// Sets annotations; `None` if there is no such object.
    pub(crate) async fn annotate<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
        annotations: &BTreeMap<&str, &str>,
    ) -> Result<Option<PartialObjectMeta<K>>, Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
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

    /// Changes an object exactly as the edit says, if it still is the one that was read.
    pub(crate) async fn edit<K: Kind>(&self, object: &K, edit: &Edit<'_>) -> Result<K, Error> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let parameters = PatchParams {
            field_manager: Some(edit.manager.to_owned()),
            dry_run: edit.dry_run,
            ..PatchParams::default()
        };
        // The generation moves with the spec and not with the status, which the controller writes.
        let meta = object.meta();
        let mut steps = vec![
            json!({"op": "test", "path": "/metadata/uid", "value": meta.uid}),
            json!({"op": "test", "path": "/metadata/generation", "value": meta.generation}),
        ];
        steps.extend(edit.steps.iter().cloned());
        let patch = Patch::Json::<K>(serde_json::from_value(steps.into())?);
        let title = || format!("{} {namespace}/{name}", K::KIND);
        let patched = async {
            match api.patch(&name, &parameters, &patch).await {
                Err(kube::Error::Api(status)) => Ok(Err(status)),
                other => other.map(Ok),
            }
        };
        match self.ask::<K, _>("patch", patched).await? {
            Ok(object) => Ok(object),
            Err(status) if status.message.contains(POLICY_DENIES) => {
                let message = policy_says(&status.message).to_owned();
                Err(Error::PolicyDenies { object: title(), message })
            }
            Err(status) if status.code == 422 && status.message == PATCH_DOES_NOT_FIT => {
                Err(Error::Changed { object: title() })
            }
            Err(status) if status.is_not_found() => Err(Error::Gone { object: title() }),
            Err(status) => Err(explain::<K>(&self.server, "patch", kube::Error::Api(status))),
        }
    }

    /// The user name by which the API server knows whoever asks.
    pub(crate) async fn user(&self) -> Result<String, Error> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let (parameters, question) = (PostParams::default(), SelfSubjectReview::default());
        let review = self.ask_of("create", "selfsubjectreviews.authentication.k8s.io", async {
            api.create(&parameters, &question).await
        });
        let user = review.await?.status.and_then(|status| status.user_info?.username);
        user.ok_or(Error::Nobody)
    }

    /// A ConfigMap, if it is there.
    pub(crate) async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ConfigMap>, Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        self.ask_of("get", "configmaps", api.get_opt(name)).await
    }

    async fn ask<K: Kind, T>(
        &self,
        verb: &'static str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        self.ask_of(verb, &resource::<K>(), request).await
    }

    async fn ask_of<T>(
        &self,
        verb: &'static str,
        resource: &str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        let after = self.timeout;
        match tokio::time::timeout(after, request).await {
            Ok(answer) => answer.map_err(|error| explain_of(&self.server, verb, resource, error)),
            Err(_) => Err(Error::Deadline { server: self.server.clone(), after }),
        }
    }
}

/// All that the API server says of a JSON patch whose tests fail.
const PATCH_DOES_NOT_FIT: &str = "the server rejected our request due to an error in our request";

/// How the API server begins to tell that an admission policy refuses, and where the reason begins.
const POLICY_DENIES: &str = "ValidatingAdmissionPolicy";
const POLICY_REASON: &str = "denied request: ";

/// The reason of a policy without the machinery around it.
fn policy_says(message: &str) -> &str {
    message.split_once(POLICY_REASON).map_or(message, |(_, reason)| reason)
}

fn resource<K: Kind>() -> String {
    format!("{}.{GROUP}", K::plural(&()))
}

/// What an error of the client means to whoever typed the command.
fn explain<K: Kind>(server: &str, verb: &'static str, error: kube::Error) -> Error {
    explain_of(server, verb, &resource::<K>(), error)
}

fn explain_of(server: &str, verb: &'static str, resource: &str, error: kube::Error) -> Error {
    let (server, resource) = (server.to_owned(), resource.to_owned());
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
    fn a_policys_reason_stands_alone() {
        let said = "clusters.cim.dev \"prod\" is forbidden: ValidatingAdmissionPolicy 'x' with binding \
                    'x' denied request: user \"john\" may not approve";
        assert_eq!(policy_says(said), "user \"john\" may not approve");
        assert_eq!(policy_says("something else"), "something else");
    }

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
