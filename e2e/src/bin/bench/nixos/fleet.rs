//! The targets, their repository, and the tools that both sides take.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use cim_e2e::lab::{
    Lab,
    servers::{git::Repository, host::DEPLOY_USER},
    targets::Target,
};
use cim_nixos::{Attribute, Host, Hosts, Limits, Nix, PrivateDir, Signer, Tools};

use crate::Try;

const FLAKE: &str = include_str!("fleet.nix");
const NIX_CONF: &str = "\
experimental-features = nix-command flakes
build-users-group =
sandbox = false
substituters =
flake-registry =
max-jobs = auto
";

/// Of programs in the lab's root.
pub(super) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What both sides work on.
pub(super) struct Fleet<'lab> {
    pub(super) lab: &'lab Lab,
    pub(super) targets: Vec<Target>,
    pub(super) repository: Repository,
    pub(super) nix: Nix,
    pub(super) signer: Signer,
    hosts: Hosts,
    /// A directory that the tools see by the same path, with the tools of both sides.
    pub(super) scratch: PathBuf,
}

impl<'lab> Fleet<'lab> {
    pub(super) async fn start(lab: &'lab Lab, count: u8) -> Try<Self> {
        let scratch = lab.scratch("b")?;
        let repository = lab.infra("fleet").await?;
        repository.commit("A fleet", &[("flake.nix", FLAKE)]).await?;
        let targets = lab.targets(count).await?;
        let nix = Nix::detect(tools(lab, &scratch)?, Limits::default()).await?;
        let dir = PrivateDir::open(scratch.join("p"))?;
        let signer = Signer::new(&dir, &lab.nix_key().secret.parse()?)?;
        let hosts = Hosts::new(PrivateDir::open(scratch.join("h"))?, nix.tools().clone());
        Ok(Self { lab, targets, repository, nix, signer, hosts, scratch })
    }

    /// The file with Nix's settings.
    pub(super) fn settings(&self) -> PathBuf {
        self.scratch.join("nix.conf")
    }

    /// Publishes a release that differs in all machines; its revision.
    pub(super) async fn commit(&self, message: &str) -> Try<String> {
        let files = [("message", &*format!("{message}\n"))];
        Ok(self.repository.commit(message, &files).await?)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(Target::name)
    }

    pub(super) fn attributes(&self) -> Try<Vec<Attribute>> {
        Ok(self.names().map(str::parse).collect::<Result<_, _>>()?)
    }

    pub(super) fn host(&self, target: &Target) -> Try<Arc<Host>> {
        let address = cim_nixos::Target {
            address: target.address().to_string().parse()?,
            port: 22,
            user: DEPLOY_USER.parse()?,
            key: self.lab.deploy_key().private.parse()?,
            host_keys: vec![target.host_key().parse()?],
        };
        Ok(self.hosts.host(target.name(), address)?)
    }
}

/// The lab's tools live in a root of their own, in which its files have the same paths.
fn tools(lab: &Lab, scratch: &Path) -> Try<Tools> {
    let root = lab.tool_root();
    let wrap = |program: &str| -> Try<PathBuf> {
        let path = scratch.join(program);
        let script = format!(
            "#!/bin/sh\nexport PATH={PATH}\nexec chroot {} {program} \"$@\"\n",
            root.display()
        );
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    };
    let settings = scratch.join("nix.conf");
    fs::write(&settings, NIX_CONF)?;
    Ok(Tools {
        nix: wrap("nix")?,
        git: wrap("git")?,
        ssh: wrap("ssh")?,
        path: PATH.into(),
        home: scratch.into(),
        env: vec![("NIX_USER_CONF_FILES".into(), settings.into())],
    })
}
