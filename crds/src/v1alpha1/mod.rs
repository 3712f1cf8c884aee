//! `cim.dev/v1alpha1`.

pub mod annotations;
pub mod cluster;
pub mod common;
pub mod conditions;
pub mod domain;
mod duration;
mod kind;
pub mod machine;
pub mod object_replica;
pub mod service;
pub mod status;

pub use cluster::{Cluster, ClusterSpec, ClusterStatus};
pub use common::{CommonSpec, DeletionPolicy, Mode, PinnedSource, Replicas, SecretRef, Source};
pub use domain::{Domain, DomainSpec, DomainStatus};
pub use duration::{Duration, ParseDurationError};
pub use kind::Kind;
pub use machine::{Machine, MachineSpec, MachineStatus};
pub use object_replica::{ObjectReplica, ObjectReplicaSpec, ObjectReplicaStatus};
pub use service::{Service, ServiceSpec, ServiceStatus};
pub use status::{CommonStatus, Drift, DriftClass, DriftItem, PlanStatus, Progress};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The API group of all kinds.
pub const GROUP: &str = "cim.dev";
/// The version of the types in this module.
pub const VERSION: &str = "v1alpha1";

/// The definitions of all five kinds, in the order in which they should be applied.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![Domain::crd(), Cluster::crd(), Machine::crd(), Service::crd(), ObjectReplica::crd()]
}
