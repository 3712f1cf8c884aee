//! Who makes a machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{dns_name, interface_name, pattern, text, uuid, word};
use crate::v1alpha1::common::SecretRef;

/// Who makes a machine: exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Provider {
    /// It exists: hardware, or a machine that somebody else makes.
    Metal(Metal),
    /// A droplet at DigitalOcean.
    DigitalOcean(DigitalOcean),
    /// A virtual machine at Azure.
    Azure(Azure),
    /// A virtual machine on a Proxmox cluster.
    Proxmox(Proxmox),
    /// A VM or container on another Machine.
    Guest(Guest),
}

/// A machine that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metal {
    /// The serial number on the case, by which a machine that reports itself is recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(128))]
    pub service_tag: Option<String>,
}

/// A droplet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DigitalOcean {
    /// Example: `ams3`.
    #[schemars(transform = word(32))]
    pub region: String,
    /// Example: `s-2vcpu-4gb`.
    #[schemars(transform = word(64))]
    pub size: String,
    /// The image it starts from: a slug or id.
    #[schemars(transform = word(128))]
    pub image: String,
    /// The VPC's UUID. Default: the region's default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = uuid)]
    pub vpc: Option<String>,
    /// The Secret with the API token, in the key `token`.
    pub credentials_secret_ref: SecretRef,
}

/// A virtual machine at Azure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Azure {
    /// The subscription's UUID.
    #[schemars(transform = uuid)]
    pub subscription: String,
    /// Example: `cim-prod`.
    #[schemars(transform = word(90))]
    pub resource_group: String,
    /// Example: `westeurope`.
    #[schemars(transform = word(64))]
    pub location: String,
    /// Example: `Standard_B2s`.
    #[schemars(transform = word(64))]
    pub size: String,
    /// The resource id or URN of the image it starts from.
    #[schemars(transform = text(512))]
    pub image: String,
    /// The resource id of its subnet.
    #[schemars(transform = text(512))]
    pub subnet: String,
    /// The Secret with `tenantId`, `clientId` and `clientSecret`. Default: workload identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
}

/// A virtual machine on a Proxmox cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proxmox {
    /// The API's URL. Example: `https://pve1.example.com:8006`.
    #[schemars(transform = pattern(512, r"https://[^\s]+", "must be a URL that begins with https://"))]
    pub endpoint: String,
    /// The node. Default: the one with most free memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = dns_name)]
    pub node: Option<String>,
    /// The storage of its disk. Example: `local-zfs`.
    #[schemars(transform = word(100))]
    pub storage: String,
    /// The bridge of its first interface. Default: vmbr0.
    #[serde(default = "default_bridge")]
    #[schemars(transform = interface_name)]
    pub bridge: String,
    /// Virtual CPUs, 1 to 512.
    #[schemars(range(min = 1, max = 512))]
    pub cpus: u32,
    /// Memory, in bytes.
    #[schemars(range(min = 67_108_864))]
    pub memory_bytes: u64,
    /// Disk, in bytes.
    #[schemars(range(min = 67_108_864))]
    pub disk_bytes: u64,
    /// The Secret with `tokenId` and `secret`, and optionally `ca.crt`.
    pub credentials_secret_ref: SecretRef,
}

fn default_bridge() -> String {
    "vmbr0".to_owned()
}

/// A VM or container on another Machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Guest {
    /// The Machine (name of the object) that it runs on. Example: `host1`.
    #[schemars(transform = dns_name)]
    pub machine: String,
    /// What runs it there. Default: Nspawn.
    #[serde(default)]
    pub driver: GuestDriver,
    /// Virtual CPUs, 1 to 512. Default: as many as the host has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 512))]
    pub cpus: Option<u32>,
    /// Memory, in bytes. Default: unbounded for a container, 1 GiB for a VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 67_108_864))]
    pub memory_bytes: Option<u64>,
}

/// What runs a guest on its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GuestDriver {
    /// A container by systemd-nspawn (`containers.<name>` of NixOS).
    #[default]
    Nspawn,
    /// A virtual machine by libvirt and KVM.
    Libvirt,
    /// A virtual machine by microvm.nix.
    Microvm,
}
