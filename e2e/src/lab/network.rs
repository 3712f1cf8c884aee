//! The lab's private network: a bridge in a network namespace of its own.
//!
//! The addresses are the same in every lab, so that files with addresses in them (`examples/`) can
//! be applied as they are; two labs do not meet, each has its own namespace.

use std::{fmt::Write, net::Ipv4Addr, process::Command};

use super::{command, error::Result};

/// The bridge that every container is attached to.
pub(crate) const BRIDGE: &str = "br0";

/// This process and the API server.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The NATS servers, in order.
pub const NATS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 0, 0, 4), Ipv4Addr::new(10, 0, 0, 5), Ipv4Addr::new(10, 0, 0, 6)];
/// The authoritative DNS server.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 53);
/// The git server.
pub const GIT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 60);

/// The address of the controller's replica 0 to 3: 10.0.0.2, .3, .7 or .8.
pub const fn controller(replica: u8) -> Ipv4Addr {
    // Those between are the NATS servers'.
    let first = if replica < 2 { 2 } else { 5 };
    Ipv4Addr::new(10, 0, 0, first + replica)
}

/// The address of host number `n`, from 1: 10.0.0.11 and on.
pub const fn host(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 10 + n)
}

/// Makes the bridge with the addresses of all servers that are plain processes.
pub(crate) fn set_up() -> Result<()> {
    let mut script = format!("link set lo up\nlink add {BRIDGE} type bridge\n");
    // Writing to a string cannot fail.
    for address in [GATEWAY, DNS, GIT].iter().chain(&NATS) {
        let _ = writeln!(script, "addr add {address}/24 dev {BRIDGE}");
    }
    let _ = writeln!(script, "link set {BRIDGE} up");
    let mut ip = Command::new("ip");
    ip.args(["-batch", "-"]);
    command::run_with_input(ip, script.as_bytes()).map(drop)
}
