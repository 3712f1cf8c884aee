//! Which Domain a lab keeps: its files, its flake, its hosts, and its controller's namespace.

use std::ops::Range;

/// One Domain of `examples/`, and where it lives in a lab. Two of them do not meet, so that one lab
/// can keep both: each has its own hosts, zone, namespaces and controller.
#[derive(Debug)]
pub struct Estate {
    /// The namespace of its objects.
    pub namespace: &'static str,
    /// The namespace of its controller.
    pub system: &'static str,
    /// The name of the chart's release.
    pub release: &'static str,
    /// The files that are applied.
    pub examples: &'static str,
    /// The fixture that its flake is made from, and the name of the repository.
    pub flake: &'static str,
    /// Which of the lab's hosts are its own, counted from 0.
    pub hosts: Range<usize>,
    /// Which controller it is, 0, 1 or 3; a case may have another one.
    pub(super) replica: u8,
    /// Whether it has NATS accounts.
    pub(super) nats: bool,
}

/// `examples/home/`: two hosts, one website, one set of names.
pub const HOME: Estate = Estate {
    namespace: "home",
    system: "cim-system",
    release: "cim",
    examples: concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/home"),
    flake: "infra",
    hosts: 0..2,
    replica: 0,
    nats: true,
};

/// `examples/first-install/`: a machine that is bare. It has a host of [`HOME`] for a while.
pub const BARE: Estate = Estate {
    namespace: "bare",
    system: "bare-system",
    release: "bare",
    examples: concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/first-install"),
    flake: "bare",
    hosts: 1..2,
    replica: 3,
    nats: false,
};

/// `examples/promotion/`: what dev ran and somebody approved is what prod runs.
pub const SHOP: Estate = Estate {
    namespace: "shop",
    system: "shop-system",
    release: "shop",
    examples: concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/promotion"),
    flake: "shop",
    hosts: 2..5,
    replica: 1,
    nats: false,
};
