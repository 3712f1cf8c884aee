//! Where the lab's servers come from: PATH, Go modules, and Debian.

mod base;
mod cache;
mod go;
pub(crate) mod prerequisites;
mod progress;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread,
};

use serde::{Deserialize, Serialize};

pub use self::{
    cache::Cache,
    prerequisites::refusal,
    progress::{Job, Progress},
};
use super::{command::on_thread, error::Result};

/// The programs of the lab and the root that its containers are made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tools {
    programs: BTreeMap<String, PathBuf>,
    /// A Debian tree with systemd, sshd, Nix, Knot, git and DNS clients; never written to.
    pub base_root: PathBuf,
}

impl Tools {
    /// Finds or builds everything; minutes on the first run, milliseconds later.
    pub fn obtain(cache: &Cache, progress: &Progress) -> Result<Self> {
        prerequisites::ensure(progress)?;
        go::MODULES.iter().try_for_each(|module| module.check(cache))?;
        thread::scope(|scope| {
            // debootstrap mostly waits for the disk; the Go builds want all cores one by one.
            let base = on_thread(scope, || base::obtain(cache, progress));
            let mut programs = BTreeMap::new();
            for module in &go::MODULES {
                programs.extend(module.obtain(cache, progress)?);
            }
            Ok(Self { programs, base_root: base()? })
        })
    }

    /// The program of this name: etcd, kube-apiserver, kube-controller-manager, kubectl,
    /// nats-server or helm. Any other name means the machine's own program.
    pub fn program<'a>(&'a self, name: &'a str) -> &'a Path {
        self.programs.get(name).map_or(Path::new(name), PathBuf::as_path)
    }
}
