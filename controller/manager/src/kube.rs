//! OUT: the only writer of Kubernetes objects, and the reader of Secrets.
//!
//! Every writer has its own field manager, so that what one sets another's apply does not remove:
//! `cim-controller/status`, `/finalizer`, and one for each kind of object that is made.
//!
//! # Rights
//!
//! The rules that the controller's ServiceAccount needs, and why:
//!
//! | API group | resources | verbs | for |
//! | --- | --- | --- | --- |
//! | cim.dev | the five kinds | list, watch | caches |
//! | cim.dev | the five kinds | patch | the finalizer (server-side apply of metadata) |
//! | cim.dev | the five kinds `/status` | patch | status (server-side apply) |
//! | "" | secrets | get | credentials that a spec names, read when needed; never listed |
//! | "" | secrets | create, patch | signing keys, credentials, generated NATS operator |
//! | "" | configmaps | get, create, patch | the ledger of a Domain's zones |
//! | events.k8s.io | events | create, patch | transitions |
//! | coordination.k8s.io | leases | get, create, update | leader election, in one namespace |

use std::time::Duration;

use cim_crds::Kind;
use cim_crds::annotations::FINALIZER;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::object::HasStatus;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use crate::outcome::{Class, Failure};

/// Label of every object that the controller makes.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "cim-controller");

/// Annotation that says for whom an object was made: `Domain/example-com`.
pub const OWNER: &str = "cim.dev/owner";

const STATUS_MANAGER: &str = "cim-controller/status";
const FINALIZER_MANAGER: &str = "cim-controller/finalizer";
const OBJECT_MANAGER: &str = "cim-controller/objects";

/// A request to the API server did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer in time.
    #[error("no answer from the Kubernetes API server within {deadline:?} to: {what}")]
    Deadline {
        /// What was asked.
        what: String,
        /// The deadline.
        deadline: Duration,
    },
    /// The API server refused, or could not be reached.
    #[error("cannot {what}")]
    Request {
        /// What was asked.
        what: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object of that name exists, and we did not make it.
    #[error(
        "{kind} {namespace}/{name} exists and was not made for {owner}; rename or delete it, it will not be overwritten"
    )]
    NotOurs {
        /// Kind of the object in the way.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Whom it should belong to.
        owner: String,
    },
}

impl ApiError {
    /// The object is gone, so that there is nothing to be done.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Request { source, .. }
            if matches!(&**source, kube::Error::Api(status) if status.code == 404
                || (status.code == 409 && status.message.contains("uid"))))
    }
}

impl Failure for ApiError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Deadline { .. } | Self::Request { .. } => "KubernetesApi",
            Self::NotOurs { .. } => "NotOurs",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Deadline { .. } | Self::Request { .. } => Class::Retry,
            Self::NotOurs { .. } => Class::Stalled,
        }
    }
}

/// Writes to the API server, each with a deadline.
#[derive(Clone)]
pub struct Kube {
    client: Client,
    deadline: Duration,
}

impl Kube {
    /// Writes through `client`; no request takes longer than `deadline`.
    pub fn new(client: Client, deadline: Duration) -> Self {
        Self { client, deadline }
    }

    /// Applies the status of `object` and gives back the object as it is then.
    pub async fn apply_status<K: Kind>(
        &self,
        object: &K,
        status: &<K as HasStatus>::Status,
    ) -> Result<K, ApiError> {
        let name = object.name_any();
        let patch = Patch::Apply(json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            // The uid keeps the status off an object of the same name that came later.
            "metadata": { "name": name, "uid": object.uid() },
            "status": status,
        }));
        let parameters = PatchParams::apply(STATUS_MANAGER).force();
        let what = || format!("write the status of {} {name}", K::KIND);
        self.call(what, self.api(object).patch_status(&name, &parameters, &patch)).await
    }

    /// Adds our finalizer to `object`, or removes it.
    pub async fn set_finalizer<K: Kind>(&self, object: &K, present: bool) -> Result<(), ApiError> {
        let name = object.name_any();
        let finalizers = if present { vec![FINALIZER] } else { Vec::new() };
        let patch = Patch::Apply(json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": { "name": name, "uid": object.uid(), "finalizers": finalizers },
        }));
        let parameters = PatchParams::apply(FINALIZER_MANAGER).force();
        let what = || format!("set the finalizer of {} {name}", K::KIND);
        self.call(what, self.api(object).patch(&name, &parameters, &patch)).await.map(drop)
    }

    /// Reads a Secret, now; nothing of Secrets is cached.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, ApiError> {
        let what = || format!("read Secret {namespace}/{name}");
        self.call(what, Api::namespaced(self.client.clone(), namespace).get_opt(name)).await
    }

    /// Reads a ConfigMap, now.
    pub async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ConfigMap>, ApiError> {
        let what = || format!("read ConfigMap {namespace}/{name}");
        self.call(what, Api::namespaced(self.client.clone(), namespace).get_opt(name)).await
    }

    /// Metadata of an object that the controller makes for `owner`. It says whose it is, and goes
    /// with its owner or stays, as `fate` says.
    pub fn owned<K: Kind>(owner: &K, name: &str, fate: Fate) -> ObjectMeta {
        let references = match fate {
            Fate::Goes => Some(owner.controller_owner_ref(&()).into_iter().collect()),
            Fate::Stays => None,
        };
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: owner.namespace(),
            labels: Some([(MANAGED_BY.0.into(), MANAGED_BY.1.into())].into()),
            annotations: Some([(OWNER.into(), owner_of(owner))].into()),
            owner_references: references,
            ..ObjectMeta::default()
        }
    }

    /// Creates `object` for its owner. An object of that name which is there already is given back
    /// as it is, when it is the same owner's; anybody else's is an error.
    pub async fn create_owned<T>(&self, object: &T) -> Result<T, ApiError>
    where
        T: Owned,
    {
        let (api, name) = (self.owned_api::<T>(object), object.name_any());
        let what = || format!("create {} {name}", T::kind(&()));
        let parameters =
            PostParams { field_manager: Some(OBJECT_MANAGER.to_owned()), ..PostParams::default() };
        match self.call(what, api.create(&parameters, object)).await {
            Err(ApiError::Request { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.code == 409) =>
            {
                let present = self.call(what, api.get(&name)).await?;
                ours(object, &present)?;
                Ok(present)
            }
            created => created,
        }
    }

    /// Makes `object` what it is for its owner: creates it, or replaces what we set in it. An object
    /// that is not the owner's is never touched.
    pub async fn apply_owned<T: Owned>(&self, object: &T) -> Result<T, ApiError> {
        let (api, name) = (self.owned_api::<T>(object), object.name_any());
        let what = || format!("apply {} {name}", T::kind(&()));
        let present = self.call(what, api.get_opt(&name)).await?;
        let Some(present) = present else { return self.create_owned(object).await };
        ours(object, &present)?;
        let mut object = object.clone();
        // Applied to the very object that was judged to be ours.
        object.meta_mut().resource_version = present.resource_version();
        object.meta_mut().uid = present.uid();
        let parameters = PatchParams::apply(OBJECT_MANAGER).force();
        self.call(what, api.patch(&name, &parameters, &Patch::Apply(&object))).await
    }

    fn api<K: Kind>(&self, object: &K) -> Api<K> {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }

    fn owned_api<T: Owned>(&self, object: &T) -> Api<T> {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }

    async fn call<T>(
        &self,
        what: impl Fn() -> String,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        match timeout(self.deadline, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(ApiError::Request { what: what(), source: Box::new(source) }),
            Err(_) => Err(ApiError::Deadline { what: what(), deadline: self.deadline }),
        }
    }
}

/// What the controller makes for an owner: Secrets and ConfigMaps.
pub trait Owned:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
{
}

impl Owned for Secret {}
impl Owned for ConfigMap {}

/// What becomes of an object that the controller made when its owner is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is deleted with its owner: it can be made again.
    Goes,
    /// It stays: it is the only copy of a key on which something outside rests.
    Stays,
}

fn owner_of<K: Kind>(owner: &K) -> String {
    format!("{}/{}", K::KIND, owner.name_any())
}

/// Whether `present` was made for the owner that `wanted` names. The name decides, not the uid: an
/// owner restored from a backup has another uid and takes its own things up again.
fn ours<T: Owned>(wanted: &T, present: &T) -> Result<(), ApiError> {
    let by = present.labels().get(MANAGED_BY.0).map(String::as_str);
    let owner = wanted.annotations().get(OWNER);
    if by == Some(MANAGED_BY.1) && owner.is_some() && present.annotations().get(OWNER) == owner {
        return Ok(());
    }
    Err(ApiError::NotOurs {
        kind: T::kind(&()).into_owned(),
        namespace: wanted.namespace().unwrap_or_default(),
        name: wanted.name_any(),
        owner: owner.cloned().unwrap_or_default(),
    })
}
