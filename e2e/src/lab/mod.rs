//! Real servers on private addresses in namespaces of their own.
//!
//! ```text
//! tools      where the servers come from: PATH, Go modules, Debian
//! isolation  the process re-executes itself in namespaces in which the lab lives and dies
//! servers    Kubernetes, NATS, Knot, git, hosts, the controller
//! ```

pub mod args;
mod command;
pub mod error;
pub mod isolation;
mod process;
pub mod tools;
mod wait;

pub use self::{
    error::{LabError, Result},
    isolation::{Inside, isolate},
    process::Process,
    wait::wait_until,
};
