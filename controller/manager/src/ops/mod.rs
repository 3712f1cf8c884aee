//! What whoever runs the controller sees of it: logs, metrics, health; and how it stops.

pub mod http;
pub mod metrics;
pub mod readiness;
pub mod shutdown;
pub mod telemetry;
