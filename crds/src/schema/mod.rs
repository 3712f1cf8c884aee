//! How the derived JSON Schema becomes the schema that Kubernetes wants.
//!
//! `schemars` transforms, in three groups:
//!
//! * [`format`]s bound a string, or each string of a list, and say in words what it must look like;
//! * [`list`]s bound a list and state how server-side apply merges it, [`rules`] add a CEL rule;
//! * [`structural`], put on each spec and status, makes the whole structural, see
//!   <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>.
//!
//! Everything is bounded: without bounds the API server assumes megabytes and refuses CEL rules as too
//! expensive.

mod format;
mod list;
mod rules;
mod structural;

pub(crate) use format::*;
pub(crate) use list::{atomic, labels, map, non_empty, preserve, set};
pub(crate) use rules::{positive, rule};
pub(crate) use structural::{observed, structural};
