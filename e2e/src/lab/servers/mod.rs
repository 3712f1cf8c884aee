//! The servers of the lab, one file each.

pub mod controller;
pub mod dns;
pub mod git;
pub mod host;
pub mod kubernetes;
pub mod nats;
