//! Real servers on private addresses in namespaces of their own.
//!
//! ```text
//! tools      where the servers come from: PATH, Go modules, Debian
//! isolation  the process re-executes itself in namespaces in which the lab lives and dies
//! network    one bridge, fixed addresses
//! root       a writable copy of the base root per container
//! servers    Kubernetes, NATS, Knot, git, hosts, the controller
//! targets    many light machines, for measurements
//! ```
//!
//! A program with a lab in it begins with [`Inside::arrive`]; if that finds itself outside it gets
//! its [`tools::Tools`] and calls [`isolate`], else it builds a [`Lab`].

pub mod args;
mod assembly;
mod command;
mod container;
pub mod error;
mod http;
pub mod isolation;
mod keys;
pub mod network;
mod process;
mod root;
pub mod servers;
pub mod targets;
mod toolbox;
pub mod tools;
mod wait;

pub(crate) use self::command::run_watched;
pub use self::{
    assembly::{Builder, Lab},
    error::{LabError, Result},
    http::http_get,
    isolation::{Inside, Openings, isolate},
    keys::{NixKey, SshKey},
    process::Process,
    wait::wait_until,
};
