//! Machine: a physical host, VM or container that runs a configuration.

pub mod activation;
pub mod install;
pub mod provider;
pub mod service_checks;
pub mod system;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    activation::Activation,
    install::{Install, InstallStatus},
    provider::Provider,
    service_checks::ServiceChecks,
    system::{
        DeliveryPhase, Facts, FailedDelivery, Preview, System, SystemState, Target, Verification,
    },
};
use super::common::{CommonSpec, DeletionPolicy, SecretRef};
use super::status::{CommonStatus, Progress};
use crate::schema::{
    atomic, cidr, dns_label, dns_name, interface_name, ip, map, non_empty, observed, pattern, rule,
    set, ssh_host_key, ssh_host_name, structural, text, user_name,
};

/// What a Machine should be.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "cim.dev",
    version = "v1alpha1",
    kind = "Machine",
    namespaced,
    status = "MachineStatus",
    shortname = "mach",
    category = "cim",
    selectable = ".spec.cluster",
    derive = "PartialEq",
    doc = "A physical host, VM or container, with its interfaces and virtual hosts, that runs the NixOS closure which its Cluster's release holds for it.",
    validation = Rule::new("(has(self.spec.label) ? self.spec.label : self.metadata.name) == (has(oldSelf.spec.label) ? oldSelf.spec.label : oldSelf.metadata.name)")
        .message("label is immutable: it is the machine's name; make a new Machine instead").field_path(".spec.label"),
    validation = Rule::new("has(self.spec.label) || (self.metadata.name.size() <= 63 && !self.metadata.name.contains('.'))")
        .message("label is required when the object's name is no DNS label (at most 63 characters, no dots)").field_path(".spec.label"),
    validation = Rule::new("!has(self.spec.provider.guest) || self.spec.provider.guest.machine != self.metadata.name")
        .message("provider.guest.machine must name another Machine: a machine cannot be its own guest").field_path(".spec.provider.guest.machine"),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Drifted", type_ = "string", json_path = r#".status.conditions[?(@.type=="Drifted")].status"#),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.target.shortRev"),
    printcolumn(name = "Reboot", type_ = "string", json_path = r#".status.conditions[?(@.type=="RebootRequired")].status"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.addresses[0]", priority = 10),
    printcolumn(name = "Generation", type_ = "integer", json_path = ".status.system.generation", priority = 10),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", priority = 10),
    printcolumn(name = "Running", type_ = "string", json_path = ".status.system.current", priority = 10),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 10),
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = structural)]
#[schemars(transform = rule(
    "self.delivery != 'Pull' || !has(self.ssh)",
    "ssh must not be set with delivery Pull: a sealed machine has no shell",
))]
#[schemars(transform = rule(
    "self.delivery != 'Push' || has(self.ssh)",
    "ssh is required with delivery Push",
))]
#[schemars(transform = rule(
    "!has(self.primaryInterface) || (has(self.interfaces) && self.interfaces.exists(i, i.name == self.primaryInterface))",
    "primaryInterface must name one of the interfaces",
))]
#[schemars(transform = rule(
    "!has(self.virtualHosts) || !has(self.interfaces) || self.virtualHosts.all(v, !self.interfaces.exists(i, i.name == v.name))",
    "a virtual host must not have the name of an interface: both are named below the machine",
))]
#[schemars(transform = rule(
    "!has(self.install) || self.delivery == 'Push'",
    "install needs delivery Push: the new system is reached over SSH",
))]
pub struct MachineSpec {
    /// The Cluster (name of the object) that this machine belongs to. Immutable. Example: `core`.
    #[schemars(transform = dns_name)]
    #[schemars(transform = rule(
        "self == oldSelf",
        "cluster is immutable: the machine's names end with it; make a new Machine instead",
    ))]
    pub cluster: String,

    /// The DNS label of this machine: with label `host1` in Cluster core.example.com its name is
    /// `host1.core.example.com`. Immutable. Default: the name of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = dns_label)]
    pub label: Option<String>,

    /// What this machine is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(1024))]
    pub description: Option<String>,

    /// Words by which people and selectors (`label/canary`) find it. Example: `canary`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = dns_label, transform = set(32))]
    pub tags: Vec<String>,

    /// Who makes this machine: exactly one. Its kind is immutable.
    #[schemars(transform = rule(
        "has(self.metal) == has(oldSelf.metal) && has(self.digitalOcean) == has(oldSelf.digitalOcean) && has(self.azure) == has(oldSelf.azure) && has(self.proxmox) == has(oldSelf.proxmox) && has(self.guest) == has(oldSelf.guest)",
        "the kind of provider is immutable: another provider means another machine; make a new Machine instead",
    ))]
    pub provider: Provider,

    /// How the machine is reached; for delivery Push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,

    /// Which of the flake's `nixosConfigurations` it runs. Default: the label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = pattern(128, "[A-Za-z0-9_][A-Za-z0-9_'-]*", "must be an attribute name of letters, digits, _ and -"))]
    pub configuration: Option<String>,

    /// Its network interfaces, each by its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 32))]
    pub interfaces: Vec<Interface>,

    /// The interface whose addresses the machine's own name resolves to. Default: the first that
    /// lists an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = interface_name)]
    pub primary_interface: Option<String>,

    /// Guests or sub-addresses on this machine, each by its DNS label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 128))]
    pub virtual_hosts: Vec<VirtualHost>,

    /// How a closure reaches the machine. Default: Push.
    #[serde(default)]
    pub delivery: Delivery,

    /// How it comes to its first system while it runs something else, or nothing. Default: somebody
    /// else has installed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<Install>,

    /// How a new closure takes effect, and how that is checked.
    #[serde(default)]
    pub activation: Activation,

    /// What happens to the machine when this object is deleted. Default: Orphan.
    #[serde(default = "DeletionPolicy::orphan")]
    pub deletion_policy: DeletionPolicy,

    /// What all kinds share.
    #[serde(flatten)]
    pub common: CommonSpec,
}

/// How a closure reaches the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Delivery {
    /// The controller copies and activates it over SSH.
    #[default]
    Push,
    /// An agent on the machine fetches it over NATS: sealed machines, without shell or ssh.
    Pull,
    /// Nothing is delivered: the machine has its names, and is observed where ssh is given. For what
    /// runs no NixOS or is managed by somebody else.
    None,
}

/// How a machine is reached over SSH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(
    "has(self.hostKeys) != has(self.hostKeysSecretRef)",
    "exactly one of hostKeys and hostKeysSecretRef must be set: an unknown host key is never trusted",
))]
pub struct Ssh {
    /// Address or name. Default: the first address of the primary interface, or the one that
    /// the provider reports. Example: `10.0.0.11`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = ssh_host_name)]
    pub host: Option<String>,

    /// TCP port, 1 to 65535. Default: 22.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,

    /// The user, unprivileged but for one narrow sudo rule. Default: deploy.
    #[serde(default = "default_user")]
    #[schemars(transform = user_name)]
    pub user: String,

    /// The Secret with the private key, in the key `ssh-privatekey`.
    pub key_secret_ref: SecretRef,

    /// The machine's public host keys, each as type and base64: `ssh-ed25519 AAAA…`. Another key is
    /// refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        transform = ssh_host_key,
        transform = set(8),
        transform = non_empty,
    )]
    pub host_keys: Vec<String>,

    /// The Secret with the machine's public host keys, in the key `known_hosts`: lines as in
    /// `hostKeys`, or of a known_hosts file. Instead of `hostKeys`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_keys_secret_ref: Option<SecretRef>,
}

fn default_port() -> u16 {
    22
}

fn default_user() -> String {
    "deploy".to_owned()
}

/// A network interface and its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// As the machine names it. Example: `eno1`.
    #[schemars(transform = interface_name)]
    pub name: String,

    /// Its hardware address. Example: `52:54:00:12:34:56`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = pattern(17, "[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}", "must be six octets in hexadecimal, such as 52:54:00:12:34:56"))]
    pub mac: Option<String>,

    /// Its addresses with prefix length. Examples: `10.0.0.11/24`, `fd00::11/64`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        transform = cidr, transform = set(16),
    )]
    pub addresses: Vec<String>,
}

/// A guest or sub-address on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualHost {
    /// A DNS label, unique on the machine: with name `vm1` on host1.core.example.com it is
    /// `vm1.host1.core.example.com`.
    #[schemars(transform = dns_label)]
    pub name: String,

    /// Its addresses. Examples: `10.0.0.21`, `fd00::21`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        transform = ip, transform = set(16),
    )]
    pub addresses: Vec<String>,
}

/// What was observed of a Machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = observed)]
pub struct MachineStatus {
    /// What all kinds share.
    #[serde(flatten)]
    pub common: CommonStatus,

    /// The name of this machine: `host1.core.example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(253))]
    pub fqdn: Option<String>,

    /// What runs, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<SystemState>,

    /// How far its first installation is, where the spec asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<InstallStatus>,

    /// What runs, as read from the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<System>,

    /// What should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,

    /// What ran before the target, and to which a revoked release goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Target>,

    /// What the next release would do; it is on the machine already and waits for its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,

    /// The delivery that failed last, while nothing newer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedDelivery>,

    /// The toplevel for which it was last rebooted: if it still owes a reboot, another one would not
    /// help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(300))]
    pub rebooted_for: Option<String>,

    /// The last value of the annotation `cim.dev/retry` that was handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(253))]
    pub retry: Option<String>,

    /// The last reading of its whole closure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,

    /// The work under way, while there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,

    /// How far the delivery of the target has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_phase: Option<DeliveryPhase>,

    /// The closures that were delivered to it, newest first, at most 10. Another one that runs there
    /// was put there by somebody else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(300), transform = atomic(10))]
    pub delivered: Vec<String>,

    /// The Services on this machine that have checks, as they were seen from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("name", 256))]
    pub services: Vec<ServiceChecks>,

    /// The addresses of this machine, sorted: declared, reported by the provider, or both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(45), transform = set(64))]
    pub addresses: Vec<String>,

    /// The hardware, as the machine or its provider tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,

    /// The provider's id of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(512))]
    pub provider_id: Option<String>,

    /// When it last answered; set when contact is lost, absent while it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
}

impl Machine {
    /// The DNS label of this machine.
    pub fn label(&self) -> &str {
        self.spec.label.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }

    /// The attribute of `nixosConfigurations` that it runs.
    pub fn configuration(&self) -> &str {
        self.spec.configuration.as_deref().unwrap_or_else(|| self.label())
    }

    /// Where SSH goes: `ssh.host`, or the first address of the primary interface.
    pub fn ssh_host(&self) -> Option<&str> {
        self.spec.ssh.as_ref()?.host.as_deref().or_else(|| self.primary_address())
    }

    /// The first address, without prefix length, of the primary interface.
    pub fn primary_address(&self) -> Option<&str> {
        let primary = self.spec.primary_interface.as_deref();
        let mut interfaces = self.spec.interfaces.iter();
        let interface = interfaces.find(|interface| match primary {
            Some(name) => interface.name == name,
            None => !interface.addresses.is_empty(),
        })?;
        interface.addresses.first()?.split('/').next()
    }
}
