//! What the manager's runtime needs of any kind, so that it is written once.

use std::fmt::Debug;

use kube::{
    CustomResourceExt, Resource,
    core::object::{HasSpec, HasStatus},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    cluster::Cluster,
    common::{CommonSpec, DeletionPolicy, Mode},
    domain::Domain,
    duration::Duration,
    machine::Machine,
    object_replica::ObjectReplica,
    service::Service,
    status::CommonStatus,
};

/// One of the five kinds.
pub trait Kind:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + CustomResourceExt
    + HasSpec<Spec: Clone + PartialEq + Send + Sync>
    + HasStatus<Status: Clone + Default + PartialEq + Serialize + Send + Sync>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// The name of the kind, as in manifests; also the metric label `kind`.
    const KIND: &'static str;

    /// The part of the spec that all kinds share.
    fn common(&self) -> &CommonSpec;

    /// What happens outside when this object is deleted.
    fn deletion_policy(&self) -> DeletionPolicy;

    /// The part of the status that all kinds share; `None` before the first status.
    fn status_common(&self) -> Option<&CommonStatus>;

    /// The same, to be changed; an absent status becomes the default one.
    fn status_common_mut(&mut self) -> &mut CommonStatus;

    /// How far the controller may go.
    fn mode(&self) -> Mode {
        self.common().mode
    }

    /// How often the outside is observed when nothing told of a change.
    fn interval(&self) -> Duration {
        self.common().interval
    }

    /// Whether reconciling is suspended by the spec (the annotation `cim.dev/paused` is apart).
    fn suspend(&self) -> bool {
        self.common().suspend
    }
}

macro_rules! kinds {
    ($($kind:ident),+) => {$(
        impl Kind for $kind {
            const KIND: &'static str = stringify!($kind);

            fn common(&self) -> &CommonSpec {
                &self.spec.common
            }

            fn deletion_policy(&self) -> DeletionPolicy {
                self.spec.deletion_policy
            }

            fn status_common(&self) -> Option<&CommonStatus> {
                self.status.as_ref().map(|status| &status.common)
            }

            fn status_common_mut(&mut self) -> &mut CommonStatus {
                &mut self.status.get_or_insert_default().common
            }
        }
    )+};
}

kinds!(Domain, Cluster, Machine, Service, ObjectReplica);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_schema() {
        let read = |kind: &str, spec: serde_json::Value| {
            serde_json::json!({
                "apiVersion": "cim.dev/v1alpha1", "kind": kind,
                "metadata": {"name": "x"}, "spec": spec,
            })
        };
        let cluster: Cluster =
            serde_json::from_value(read("Cluster", serde_json::json!({"domain": "d"}))).unwrap();
        assert_eq!(cluster.mode(), Mode::Correct);
        assert_eq!(cluster.interval(), Duration::from_mins(5));
        assert!(!cluster.suspend());
        assert_eq!(cluster.deletion_policy(), DeletionPolicy::Delete);

        let mut domain: Domain =
            serde_json::from_value(read("Domain", serde_json::json!({"suffix": "d.example"})))
                .unwrap();
        assert_eq!(domain.deletion_policy(), DeletionPolicy::Orphan);
        assert!(domain.status_common().is_none());
        assert_eq!(domain.status_common_mut().observed_generation, -1);
        assert_eq!(Domain::KIND, Domain::kind(&()));
    }
}
