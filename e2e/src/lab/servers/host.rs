//! A host: systemd, sshd and a Nix daemon in a container, prepared as
//! `controller/nixos/host/README.md` tells the owner of a real one.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::symlink,
    path::Path,
    process::Output,
    time::Duration,
};

use tokio::net::TcpStream;

use crate::lab::{
    Inside,
    container::{Container, Payload},
    error::{During, LabError, Result},
    http::http_get,
    keys::{NixKey, SshKey},
    network,
    root::Root,
    toolbox::Toolbox,
    wait::wait_until,
};

/// The user that deliveries log in as.
pub const DEPLOY_USER: &str = "deploy";

const READY: Duration = Duration::from_secs(30);
const EXEC: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(10);
const SSH: u16 = 22;
/// Where the demo's web service answers.
const WEB: u16 = 8080;

/// The files that every machine needs, from where they are documented.
const CIM_ACTIVATE: &str = include_str!("../../../../controller/nixos/host/cim-activate");
const SUDOERS: &str = include_str!("../../../../controller/nixos/host/sudoers");
const NIX_CONF: &str = include_str!("../../../../controller/nixos/host/nix.conf");

/// What the stand-in for NixOS adds to it: no sandbox and no substituters, since there is neither a
/// user namespace to spare nor a network to fetch from.
const LAB_NIX_CONF: &str = "
experimental-features = nix-command flakes
build-users-group =
sandbox = false
substituters =
flake-registry =
";

const NIX_DAEMON_SOCKET: &str = "[Unit]
Description=Nix daemon socket
[Socket]
ListenStream=/nix/var/nix/daemon-socket/socket
[Install]
WantedBy=sockets.target
";

const NIX_DAEMON_SERVICE: &str = "[Unit]
Description=Nix daemon
Requires=nix-daemon.socket
[Service]
ExecStart=/usr/bin/nix-daemon --daemon
KillMode=process
";

/// What the boot of NixOS does: the profile's closure becomes the booted and the current system.
const STAGE_2: &str = "[Unit]
Description=Activate the booted closure
ConditionPathExists=/nix/var/nix/profiles/system
After=nix-daemon.socket
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'system=$(readlink -e /nix/var/nix/profiles/system); \
  ln -sfn $system /run/booted-system; exec $system/bin/switch-to-configuration test'
[Install]
WantedBy=multi-user.target
";

/// A running host.
#[derive(Debug)]
pub struct Host {
    name: String,
    container: Container,
    public_key: String,
}

impl Host {
    /// Boots host number `n` (from 1), which lets `deploy` in and trusts closures signed by `nix`.
    pub(crate) async fn start(
        inside: &Inside,
        toolbox: &Toolbox,
        n: u8,
        deploy: &SshKey,
        nix: &NixKey,
    ) -> Result<Self> {
        let name = format!("host{n}");
        let address = network::host(n);
        let root = Root::mount(inside, &name)?;
        let host_key = SshKey::generate(toolbox, &inside.volatile().join("keys"), &name)?;
        prepare(&root, address, &host_key, deploy, nix)?;
        let container = Container::start(inside, &name, address, &root, &Payload::Boot).await?;
        Ok(Self { name, container, public_key: host_key.public })
    }

    /// Waits until it has booted and answers SSH.
    pub async fn ready(&self) -> Result<()> {
        let address = SocketAddr::from((self.address(), SSH));
        let ssh = async || TcpStream::connect(address).await.map(drop);
        self.container.process().ready(READY, ssh).await?;
        let what = format!("{} to finish its boot", self.name);
        wait_until(&what, READY, async || {
            let args = ["is-system-running"];
            let output = self.container.exec("systemctl", &args, EXEC).await;
            let state = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            match state.as_deref().map(str::trim) {
                Ok("running" | "degraded") => Ok(()),
                Ok(state) => Err(state.to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    /// `host1` and so on.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the lab's network.
    pub fn address(&self) -> Ipv4Addr {
        self.container.address()
    }

    /// Its SSH host key, `ssh-ed25519 AAAA…`.
    pub fn host_key(&self) -> &str {
        &self.public_key
    }

    /// Runs a shell script as root on the host; its standard output, or an error with what it said.
    pub async fn exec(&self, script: &str) -> Result<String> {
        self.container.run("/bin/sh", &["-ec", script], EXEC).await
    }

    /// Runs a shell script as root on the host, however it ends.
    pub async fn try_exec(&self, script: &str) -> Result<Output> {
        self.container.exec("/bin/sh", &["-ec", script], EXEC).await
    }

    /// The closure that is active, or nothing before the first delivery.
    pub async fn current_system(&self) -> Result<Option<String>> {
        self.link("/run/current-system").await
    }

    /// The closure that the system profile points to.
    pub async fn profile(&self) -> Result<Option<String>> {
        self.link("/nix/var/nix/profiles/system").await
    }

    /// What the demo's web service answers.
    pub async fn website(&self) -> Result<String> {
        let (status, body) = http_get(SocketAddr::from((self.address(), WEB)), "/").await?;
        if status == 200 {
            return Ok(body.trim().to_owned());
        }
        Err(LabError::Unexpected {
            what: format!("the web service of {}", self.name),
            why: format!("HTTP status {status}"),
        })
    }

    /// Shuts it down in order.
    pub async fn power_off(&self) -> Result<()> {
        self.container.stop(GRACE).await
    }

    /// Takes its power away.
    pub async fn pull_the_plug(&self) -> Result<()> {
        self.container.kill().await
    }

    /// Boots it on the disk that it had, and waits until it is up.
    pub async fn power_on(&self) -> Result<()> {
        self.container.process().restart().await?;
        self.ready().await
    }

    /// An error if the container has ended.
    pub fn check(&self) -> Result<()> {
        self.container.process().check()
    }

    async fn link(&self, path: &str) -> Result<Option<String>> {
        let output = self.container.exec("readlink", &["-e", path], EXEC).await?;
        let target = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((!target.is_empty()).then_some(target))
    }
}

fn prepare(
    root: &Root,
    address: Ipv4Addr,
    host_key: &SshKey,
    deploy: &SshKey,
    nix: &NixKey,
) -> Result<()> {
    root.write("/etc/machine-id", format!("{:032x}\n", rand::random::<u128>()), 0o444)?;
    // The name sorts before systemd's own file for a container's interface.
    let network = format!("[Match]\nName=host0\n[Network]\nAddress={address}/24\n");
    root.write("/etc/systemd/network/10-host0.network", network, 0o644)?;
    root.enable("systemd-networkd.service", "multi-user.target")?;
    root.enable("ssh.service", "multi-user.target")?;

    root.write("/etc/ssh/ssh_host_ed25519_key", &host_key.private, 0o600)?;
    root.write("/etc/ssh/ssh_host_ed25519_key.pub", format!("{}\n", host_key.public), 0o644)?;
    prepare_deliveries(root, deploy, nix)?;

    root.write("/etc/systemd/system/nix-daemon.socket", NIX_DAEMON_SOCKET, 0o644)?;
    root.write("/etc/systemd/system/nix-daemon.service", NIX_DAEMON_SERVICE, 0o644)?;
    root.write("/etc/systemd/system/stage-2.service", STAGE_2, 0o644)?;
    root.enable("nix-daemon.socket", "sockets.target")?;
    root.enable("stage-2.service", "multi-user.target")
}

/// What `controller/nixos/host/README.md` asks for.
pub(crate) fn prepare_deliveries(root: &Root, deploy: &SshKey, nix: &NixKey) -> Result<()> {
    root.add_user(DEPLOY_USER, 1000, "/home/deploy")?;
    let keys = format!("restrict {}\n", deploy.public);
    root.write("/home/deploy/.ssh/authorized_keys", keys, 0o600)?;
    root.give(DEPLOY_USER, "/home/deploy")?;
    root.write("/usr/local/sbin/cim-activate", CIM_ACTIVATE, 0o755)?;
    root.write("/etc/sudoers.d/cim-deploy", SUDOERS, 0o440)?;

    root.write("/etc/cim/delivery-keys", format!("{}\n", nix.public), 0o644)?;
    let trust = format!("extra-trusted-public-keys = {}\n", nix.public);
    root.write("/etc/nix/nix.conf", [NIX_CONF, LAB_NIX_CONF, &trust].concat(), 0o644)?;
    let nix_env = root.path("/usr/bin/nix-env");
    if nix_env.symlink_metadata().is_err() {
        symlink(Path::new("nix"), &nix_env).during("link", &nix_env)?;
    }
    Ok(())
}
