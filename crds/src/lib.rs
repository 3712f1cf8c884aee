//! The five kinds of the API group `cim.dev`, and nothing else.
//!
//! ```text
//! Domain ─┬─ Cluster ─┬─ Machine          a name and authority; the machines of one environment
//!         │           └─ Service          one discrete function, with roles placed on machines
//!         └─ ObjectReplica                how many verified copies of which objects
//! ```
//!
//! The Rust types are the source: `cargo crdgen` derives the CustomResourceDefinitions in `yaml/`
//! from them, doc comments become `kubectl explain`, and what a schema can refuse is refused by the
//! API server (bounds, patterns and CEL rules), without a webhook. This crate holds no client and
//! reads no clock.

#![allow(clippy::duplicated_attributes, reason = "every printer column has a type of its own")]

#[cfg(feature = "names")]
pub mod names;
mod schema;
pub mod v1alpha1;

pub use v1alpha1::*;
