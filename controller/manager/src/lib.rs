//! The controller: the only crate that knows Kubernetes as a server.
//!
//! ```text
//! main ─► args ─► run ─┬─ client      the API server, every request counted
//!                      ├─ lease       one replica acts
//!                      ├─ watch/      IN:  caches, and wakes for whoever is concerned
//!                      ├─ driver/     one visit to one object, for all kinds
//!                      ├─ <kind>/     gather, validate, observe, plan, apply, report
//!                      ├─ checks      whether a machine serves, seen from here
//!                      ├─ status/     what a status says, computed
//!                      ├─ kube        OUT: the only writer of Kubernetes objects
//!                      ├─ result      how a visit ended ─► log line, Event, metric
//!                      └─ ops/        /livez /readyz /metrics, logs, shutdown
//! ```

pub mod args;
pub mod builders;
mod checks;
pub mod client;
pub mod cluster;
pub mod delivery;
pub mod domain;
pub mod driver;
pub mod inventory;
pub mod kube;
pub mod lease;
pub mod logs;
pub mod machine;
pub mod naming;
pub mod object_replica;
pub mod ops;
pub mod outcome;
pub mod result;
mod run;
pub mod scope;
pub mod secret;
pub mod service;
pub mod status;
pub mod watch;

pub use args::Args;
pub use run::{RunError, run};
