//! The first system of a machine that runs something else, or nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Machine, MachineStatus};
use crate::schema::{
    atomic, map, non_empty, pattern, positive, rule, set, ssh_host_key, ssh_host_name, text,
    user_name,
};
use crate::v1alpha1::cluster::release::BuildOutput;
use crate::v1alpha1::common::SecretRef;
use crate::v1alpha1::duration::Duration;

/// How a machine that runs any Linux comes to its first system: over SSH as root, with the disk
/// layout (`config.system.build.diskoScript`) of the configuration that it is to run.
///
/// It destroys what is on the disks, so the plan is held until a person confirms it (`cimctl
/// confirm`). A machine that takes deliveries, or ever did, is never installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Install {
    /// Leave to destroy what is on these disks, each by its serial number or its name below
    /// `/dev/disk/by-id`; a virtual disk that has neither by its device and size in bytes. They must
    /// be exactly those that the disk layout uses on this machine. `status.install.disks` lists what
    /// there is. Default: none. Example: `S5Y1NJ0R904561`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        transform = pattern(253, "[^/ ][^/]*|/dev/[a-z0-9]+:[0-9]+", "must be a serial number or a name below /dev/disk/by-id, such as ata-WDC_WD40EFRX_WX11; a device such as /dev/sda may be another disk after the next boot (one without serial number: /dev/vda:BYTES)"),
        transform = set(32),
    )]
    pub disks: Vec<String>,

    /// How root logs in, until the new system runs.
    #[serde(default)]
    pub ssh: InstallSsh,

    /// The installer that is booted from the running system. Default: none, for a machine that runs
    /// an installer already (`VARIANT_ID=installer`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kexec: Option<Kexec>,

    /// Files of the new system that no closure may hold: its SSH host key, other keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("path", 32))]
    pub files: Vec<InstallFile>,

    /// Files that the disk layout reads on the installer: the keys of encrypted disks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = map("path", 32))]
    pub disk_keys: Vec<InstallFile>,

    /// Whether the SSH host keys that the machine has now become those of the new system, as far as
    /// `files` bring none. Default: false.
    #[serde(default)]
    pub keep_host_keys: bool,

    /// How long each phase may take.
    #[serde(default)]
    pub deadlines: InstallDeadlines,
}

/// How root logs in on a machine that is to be installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(
    "!(has(self.hostKeys) && has(self.hostKeysSecretRef))",
    "at most one of hostKeys and hostKeysSecretRef must be set",
))]
pub struct InstallSsh {
    /// Address or name. Default: that of `spec.ssh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = ssh_host_name)]
    pub host: Option<String>,

    /// TCP port, 1 to 65535. Default: 22.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,

    /// The user; it must be root by its number. Default: root.
    #[serde(default = "default_user")]
    #[schemars(transform = user_name)]
    pub user: String,

    /// The Secret with the private key, in the key `ssh-privatekey`. Default: that of `spec.ssh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_secret_ref: Option<SecretRef>,

    /// The public host keys that the machine has now, as in `spec.ssh`. Default: those of
    /// `spec.ssh`, which are the new system's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = ssh_host_key, transform = set(8), transform = non_empty)]
    pub host_keys: Vec<String>,

    /// The Secret with those keys, in the key `known_hosts`. Instead of `hostKeys`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_keys_secret_ref: Option<SecretRef>,
}

impl Default for InstallSsh {
    fn default() -> Self {
        Self {
            host: None,
            port: default_port(),
            user: default_user(),
            key_secret_ref: None,
            host_keys: Vec::new(),
            host_keys_secret_ref: None,
        }
    }
}

fn default_port() -> u16 {
    22
}

fn default_user() -> String {
    "root".to_owned()
}

/// The installer for a kexec: a tarball as nixos-images makes it, or a directory with just that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(
    "has(self.output) != has(self.storePath)",
    "exactly one of output and storePath must be set",
))]
pub struct Kexec {
    /// An output of the Cluster's flake, built with the release. Example:
    /// `packages.x86_64-linux.kexec-installer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = pattern(253, "[A-Za-z0-9_'-]+([.][A-Za-z0-9_'-]+)*", "must be attribute names joined by dots, such as packages.x86_64-linux.kexec-installer"))]
    pub output: Option<String>,

    /// A path of the controller's own Nix store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = pattern(512, "/nix/store/[0-9a-df-np-sv-z]{32}-[A-Za-z0-9+._?=-]+(/[A-Za-z0-9+._?=-]+)*", "must be a path below /nix/store"))]
    pub store_path: Option<String>,
}

/// A file from a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstallFile {
    /// Where it lies. Example: `/etc/ssh/ssh_host_ed25519_key`.
    #[schemars(transform = pattern(512, "(/[^/ ]+)+", "must be an absolute path of a file"))]
    pub path: String,

    /// The Secret and its key with the content.
    pub secret_key_ref: SecretKeyRef,

    /// Its permission bits, as four octal digits. Default: 0600.
    #[serde(default = "default_mode")]
    #[schemars(transform = pattern(4, "[0-7]{4}", "must be four octal digits, such as 0600"))]
    pub mode: String,

    /// The number of the user who owns it. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub user: u32,

    /// The number of the group that owns it. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub group: u32,
}

fn default_mode() -> String {
    "0600".to_owned()
}

/// One key of a Secret in the namespace of the object that refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The name of the Secret.
    #[schemars(transform = crate::schema::dns_name)]
    pub name: String,
    /// The key. Example: `ssh-privatekey`.
    #[schemars(transform = pattern(253, "[A-Za-z0-9._-]+", "must be the key of a Secret: letters, digits, . _ and -"))]
    pub key: String,
}

/// How long each phase of an installation may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstallDeadlines {
    /// Until the installer answers, after it was brought there; firmware of servers is slow.
    /// Default: 15m.
    #[serde(default = "quarter")]
    #[schemars(transform = positive)]
    pub kexec: Duration,
    /// Until the disks are laid out and mounted. Default: 30m.
    #[serde(default = "half")]
    #[schemars(transform = positive)]
    pub disko: Duration,
    /// Until the closure, once it was copied, is bootable. Default: 30m.
    #[serde(default = "half")]
    #[schemars(transform = positive)]
    pub install: Duration,
    /// Until deliveries reach the new system. Default: 15m.
    #[serde(default = "quarter")]
    #[schemars(transform = positive)]
    pub reboot: Duration,
}

fn quarter() -> Duration {
    Duration::from_mins(15)
}

fn half() -> Duration {
    Duration::from_mins(30)
}

impl Default for InstallDeadlines {
    fn default() -> Self {
        Self { kexec: quarter(), disko: half(), install: half(), reboot: quarter() }
    }
}

/// How far the first installation is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstallStatus {
    /// What is being done, or waited for.
    pub phase: InstallPhase,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The disks of the machine, as it told while it was bare.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = atomic(32))]
    pub disks: Vec<InstallDisk>,
    /// What a person confirmed; it is carried out to its end, whatever is released meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<ConfirmedInstall>,
    /// The phase that failed, until it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedInstall>,
}

/// How far an installation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum InstallPhase {
    /// It waits for a release, for the machine to answer, or for somebody to mend what speaks
    /// against it.
    #[default]
    Waiting,
    /// It waits for a person to confirm the plan (`cimctl confirm`).
    AwaitsConfirmation,
    /// The installer is being booted from the running system.
    Kexec,
    /// What is on the disks is being destroyed; they are laid out.
    Disko,
    /// The closure is being copied and made bootable.
    Install,
    /// The new system is being booted.
    Reboot,
    /// A phase failed, and is not tried again by itself.
    Failed,
    /// The machine takes deliveries. It is never installed again.
    Complete,
}

/// A disk of a machine that is to be installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstallDisk {
    /// Its device in this boot. Example: `/dev/nvme0n1`.
    #[schemars(transform = text(128))]
    pub device: String,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// What its maker calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(128))]
    pub model: Option<String>,
    /// The names by which `spec.install.disks` may name it, the best first; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(253), transform = atomic(8))]
    pub names: Vec<String>,
    /// Whether the disk layout uses it: what is on it will be, or was, destroyed.
    #[serde(default)]
    pub used: bool,
}

/// An installation as a person confirmed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmedInstall {
    /// The hash of the plan, as the annotation `cim.dev/confirm` had it.
    #[schemars(transform = text(64))]
    pub plan: String,
    /// The store path of the toplevel.
    #[schemars(transform = text(300))]
    pub out_path: String,
    /// The disk layout.
    pub layout: BuildOutput,
    /// The devices that the layout names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(253), transform = atomic(32))]
    pub devices: Vec<String>,
    /// The installer, where one is booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kexec: Option<BuildOutput>,
    /// The disks, as `spec.install.disks` named them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = text(253), transform = atomic(32))]
    pub disks: Vec<String>,
}

/// A phase that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedInstall {
    /// Which one.
    pub phase: InstallPhase,
    /// What happened, and what to do about it.
    #[schemars(transform = text(1024))]
    pub message: String,
    /// The generation of the spec with which it failed; another one is tried.
    #[serde(default)]
    pub generation: i64,
    /// The value of the annotation `cim.dev/retry` with which it failed; another one is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = text(253))]
    pub retry: Option<String>,
    /// When it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

impl Machine {
    /// Whether its first system is still to be installed. Until then nothing is delivered to it, no
    /// rollout waits for it, and it fails none.
    pub fn awaits_install(&self) -> bool {
        let joined = |status: &MachineStatus| {
            let install = status.install.as_ref();
            !status.delivered.is_empty()
                || install.is_some_and(|it| it.phase == InstallPhase::Complete)
        };
        self.spec.install.is_some() && !self.status.as_ref().is_some_and(joined)
    }
}

impl InstallStatus {
    /// The store paths that the controller must keep for it.
    pub fn store_paths(&self) -> impl Iterator<Item = &str> {
        let confirmed = self.confirmed.iter().filter(|_| self.phase != InstallPhase::Complete);
        confirmed.flat_map(|it| {
            let parts = [Some(&it.layout), it.kexec.as_ref()].into_iter().flatten();
            parts.map(|part| part.out_path.as_str()).chain([it.out_path.as_str()])
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn machine(install: &Value, status: &Value) -> Machine {
        serde_json::from_value(json!({
            "apiVersion": "cim.dev/v1alpha1", "kind": "Machine", "metadata": {"name": "host1"},
            "spec": {"cluster": "core", "provider": {"metal": {}}, "install": install},
            "status": status,
        }))
        .expect("a machine")
    }

    #[test]
    fn what_takes_deliveries_is_never_installed() {
        let none = &Value::Null;
        assert!(!machine(none, none).awaits_install(), "nobody asked");
        assert!(machine(&json!({}), none).awaits_install());
        for phase in ["Waiting", "AwaitsConfirmation", "Disko", "Reboot", "Failed"] {
            let status = json!({"install": {"phase": phase}});
            assert!(machine(&json!({}), &status).awaits_install(), "{phase}");
        }
        let complete = json!({"install": {"phase": "Complete"}});
        assert!(!machine(&json!({}), &complete).awaits_install());
        let delivered = json!({"delivered": ["/nix/store/x"], "install": {"phase": "Failed"}});
        assert!(!machine(&json!({}), &delivered).awaits_install());
    }
}
