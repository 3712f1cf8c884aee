//! Many machines to deliver to, for measurements: each with an address, a host key, a root file
//! system, a Nix store and a Nix daemon of its own, but without systemd.
//!
//! They share the kernel and its processes. `systemctl` and `systemd-run` are a stand-in, see
//! `targets/systemd.sh`; everything else on the way of a delivery is real: sshd, sudo, Nix and
//! `cim-activate`. [`super::servers::host`] has machines with everything.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{net::TcpStream, process::Command};

use super::{
    Inside, command,
    error::Result,
    keys::{NixKey, SshKey},
    process::Process,
    root::Root,
    servers::host::{DEPLOY_USER, prepare_deliveries},
    toolbox::Toolbox,
};

/// More would not fit in their network.
pub const MAX: u8 = 200;

const READY: Duration = Duration::from_secs(30);
const SSH: u16 = 22;

const SYSTEMD: &str = include_str!("targets/systemd.sh");

const SSHD_CONFIG: &str = "
Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
UsePAM no
UseDNS no
PidFile none
LogLevel ERROR
PasswordAuthentication no
";

/// In a mount namespace of its own, which goes with its last process.
const START: &str = "
mount --rbind /proc \"$1/proc\"
mount --rbind /dev \"$1/dev\"
hostname \"$2\"
exec chroot \"$1\" /bin/sh -c 'nix-daemon & exec /usr/sbin/sshd -D -e'
";

/// A running target.
#[derive(Debug)]
pub struct Target {
    name: String,
    address: Ipv4Addr,
    host_key: String,
    sshd: Process,
}

impl Target {
    /// Starts targets `m1` and so on, at most [`MAX`], which let `deploy` in and trust closures
    /// signed by `nix`.
    pub(crate) async fn start_all(
        inside: &Inside,
        toolbox: &Toolbox,
        count: u8,
        deploy: &SshKey,
        nix: &NixKey,
    ) -> Result<Vec<Self>> {
        let model = model(inside, deploy, nix)?;
        let mut targets = Vec::new();
        for n in 1..=count.min(MAX) {
            targets.push(Self::start(inside, toolbox, n, &model)?);
        }
        for target in &targets {
            let address = SocketAddr::from((target.address, SSH));
            target.sshd.ready(READY, async || TcpStream::connect(address).await.map(drop)).await?;
        }
        Ok(targets)
    }

    fn start(inside: &Inside, toolbox: &Toolbox, n: u8, model: &Root) -> Result<Self> {
        let name = format!("m{n}");
        let address = Ipv4Addr::new(10, 0, 1, n);
        let mut ip = std::process::Command::new("ip");
        ip.args(["addr", "add", &format!("{address}/32"), "dev", "lo"]);
        command::run(ip)?;

        let root = Root::mount_on(inside, &name, model)?;
        let key = SshKey::generate(toolbox, &inside.volatile().join("keys"), &name)?;
        root.write("/etc/ssh/ssh_host_ed25519_key", &key.private, 0o600)?;
        root.write("/etc/hosts", format!("127.0.0.1 localhost\n{address} {name}\n"), 0o644)?;
        let config = format!("ListenAddress {address}{SSHD_CONFIG}");
        root.write("/etc/ssh/sshd_config", config, 0o644)?;

        let words = [root.path("/").display().to_string(), name.clone()];
        let sshd = Process::spawn(&name, &inside.logs(), move || {
            let mut unshare = Command::new("unshare");
            unshare.args(["--mount", "--uts", "--propagation", "private"]);
            unshare.args(["sh", "-ec", START, "sh"]).args(&words);
            unshare
        })?;
        Ok(Self { name, address, host_key: key.public, sshd })
    }

    /// `m1` and so on.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the lab's loopback interface.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its SSH host key, `ssh-ed25519 AAAA…`.
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    /// An error if its sshd has ended.
    pub fn check(&self) -> Result<()> {
        self.sshd.check()
    }
}

/// What all targets have in common: the root that theirs lie on.
fn model(inside: &Inside, deploy: &SshKey, nix: &NixKey) -> Result<Root> {
    let root = Root::mount(inside, "targets")?;
    prepare_deliveries(&root, deploy, nix)?;
    // What a loop written by hand needs; `cim-activate` is allowed by its own rule.
    let sudoers = format!("{DEPLOY_USER} ALL=(root) NOPASSWD: ALL\n");
    root.write("/etc/sudoers.d/a-loop", sudoers, 0o440)?;
    // Before the real ones, on every PATH that is used there.
    for program in ["systemctl", "systemd-run"] {
        root.write(&format!("/usr/sbin/{program}"), SYSTEMD, 0o755)?;
    }
    for dir in ["/proc", "/dev", "/run/sshd", "/nix/var/nix/daemon-socket"] {
        let dir = root.path(dir);
        std::fs::create_dir_all(&dir).map_err(|source| super::LabError::File {
            action: "create",
            path: dir,
            source,
        })?;
    }
    Ok(root)
}
