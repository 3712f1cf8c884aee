//! What all Clusters and Machines share for delivering NixOS: the local Nix, and the machines that
//! this process talks to.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cim_nixos::{
    Access, Builders, Credentials, Error, FlakeUrl, Hosts, Limits, Nix, PrivateDir, Roots, Signer,
    SigningKey, Tools,
};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::args::OutsideArgs;
use crate::builders::{self, BuildersError};
use crate::ops::metrics::Metrics;

/// The local Nix and the known machines. They are made when first needed, so that a controller
/// without Nix can still keep zones and accounts.
pub struct Workshop {
    tools: Tools,
    limits: Limits,
    metrics: Metrics,
    ssh_dir: PathBuf,
    keys_dir: PathBuf,
    nix: OnceCell<Nix>,
    hosts: OnceCell<Hosts>,
    keys: OnceCell<PrivateDir>,
    builders_file: Option<PathBuf>,
    builders: OnceCell<Builders>,
    /// By the name of the key. Clusters share them, and so do the Machines of one.
    signers: Mutex<BTreeMap<String, Arc<Signer>>>,
    roots_dir: PathBuf,
    /// By whom they are for.
    accesses: Mutex<BTreeMap<String, Admission>>,
    /// By Cluster: how many copies at a time, and who may.
    copies: Mutex<BTreeMap<String, (u32, Arc<Semaphore>)>>,
}

/// Credentials for one flake, and the files that they are in.
struct Admission {
    url: FlakeUrl,
    credentials: Credentials,
    access: Arc<Access>,
}

impl Workshop {
    /// A workshop with the programs and directories of `args`; what it does is counted in `metrics`.
    pub fn new(args: &OutsideArgs, metrics: Metrics) -> Self {
        let tools = Tools {
            nix: "nix".into(),
            git: "git".into(),
            ssh: "ssh".into(),
            path: OsString::from(&args.tool_path),
            home: args.state_dir.clone(),
            env: Vec::new(),
        };
        let limits = Limits { command: args.external_timeout, ..Limits::default() };
        Self {
            tools: located(tools),
            limits,
            metrics,
            ssh_dir: args.state_dir.join("ssh"),
            keys_dir: args.state_dir.join("keys"),
            nix: OnceCell::new(),
            hosts: OnceCell::new(),
            keys: OnceCell::new(),
            builders_file: args.builders.clone(),
            builders: OnceCell::new(),
            signers: Mutex::default(),
            roots_dir: args.state_dir.join("roots"),
            accesses: Mutex::default(),
            copies: Mutex::default(),
        }
    }

    /// The local Nix.
    pub async fn nix(&self) -> Result<&Nix, Error> {
        self.nix.get_or_try_init(|| Nix::detect(self.tools.clone(), self.limits.clone())).await
    }

    /// The machines that this process talks to.
    pub async fn hosts(&self) -> Result<&Hosts, Error> {
        let open = async || Ok(Hosts::new(PrivateDir::open(&self.ssh_dir)?, self.tools.clone()));
        self.hosts.get_or_try_init(open).await
    }

    /// The remote builders, if there are any.
    pub async fn builders(&self) -> Result<Option<&Builders>, BuildersError> {
        let Some(file) = &self.builders_file else { return Ok(None) };
        let read = async || {
            let dir = self.keys.get_or_try_init(async || PrivateDir::open(&self.keys_dir)).await?;
            builders::read(file, dir)
        };
        self.builders.get_or_try_init(read).await.map(Some)
    }

    /// Closes the connection to a machine that is gone.
    pub fn forget_host(&self, name: &str) {
        if let Some(hosts) = self.hosts.get() {
            hosts.forget(name);
        }
    }

    /// The signing key as a file, which Nix wants. A rotated key replaces the one of its name.
    pub async fn signer(&self, key: &SigningKey) -> Result<Arc<Signer>, Error> {
        let dir = self.keys.get_or_try_init(async || PrivateDir::open(&self.keys_dir)).await?;
        let public = key.public();
        let text = public.to_string();
        let name = text.split(':').next().unwrap_or_default();
        let mut signers = self.signers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signer) = signers.get(name).filter(|signer| *signer.public() == public) {
            return Ok(Arc::clone(signer));
        }
        // Its file has the same name, and goes with it.
        signers.remove(name);
        let signer = Arc::new(Signer::new(dir, key)?);
        signers.insert(name.to_owned(), Arc::clone(&signer));
        Ok(signer)
    }

    /// The credentials of `owner` for its flake as files, which git wants. Changed ones replace them.
    pub async fn access(
        &self,
        owner: &str,
        url: &FlakeUrl,
        credentials: &Credentials,
    ) -> Result<Arc<Access>, Error> {
        let dir = self.keys.get_or_try_init(async || PrivateDir::open(&self.keys_dir)).await?;
        let mut accesses = self.accesses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = accesses.get(owner)
            && (&present.url, &present.credentials) == (url, credentials)
        {
            return Ok(Arc::clone(&present.access));
        }
        let access = Arc::new(Access::new(dir, url, credentials)?);
        let (url, credentials) = (url.clone(), credentials.clone());
        let admission = Admission { url, credentials, access: Arc::clone(&access) };
        accesses.insert(owner.to_owned(), admission);
        Ok(access)
    }

    /// Waits until a machine of the Cluster may be copied to, of which `at_a_time` are at the same
    /// time; as long as the permit lives. A machine waits no longer than its visit may take.
    pub async fn may_copy(
        &self,
        namespace: &str,
        cluster: &str,
        at_a_time: u32,
    ) -> Option<OwnedSemaphorePermit> {
        let semaphore = {
            let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh =
                || (at_a_time, Arc::new(Semaphore::new(usize::try_from(at_a_time).unwrap_or(1))));
            let entry = copies.entry(format!("{namespace}/{cluster}")).or_insert_with(fresh);
            if entry.0 != at_a_time {
                *entry = fresh();
            }
            Arc::clone(&entry.1)
        };
        // It is never closed.
        semaphore.acquire_owned().await.ok()
    }

    /// The roots that keep the closures of one Cluster from garbage collection.
    pub fn roots(&self, namespace: &str, cluster: &str) -> Result<Roots, Error> {
        // Neither name can hold the character between them.
        Roots::open(&self.roots_dir)?;
        Roots::open(self.roots_dir.join(format!("{namespace}_{cluster}")))
    }

    /// The Clusters that have such roots, or had when an earlier process ended: namespaces and names.
    pub fn rooted(&self) -> Result<Vec<(String, String)>, Error> {
        let owners = Roots::owners(&self.roots_dir)?;
        let pair = |owner: &String| {
            owner.split_once('_').map(|(namespace, name)| (namespace.to_owned(), name.to_owned()))
        };
        Ok(owners.iter().filter_map(pair).collect())
    }

    /// Where calls to the tools and machines are counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The deadlines in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// Programs by their place on the tools' own PATH: the process' PATH may be another. What is not
/// there keeps its bare name, and its first use says that it is missing.
fn located(tools: Tools) -> Tools {
    let find = |program: PathBuf| {
        let places = std::env::split_paths(&tools.path).map(|dir| dir.join(&program));
        places.into_iter().find(|place| place.is_file()).unwrap_or(program)
    };
    let (nix, git, ssh) =
        (find(tools.nix.clone()), find(tools.git.clone()), find(tools.ssh.clone()));
    Tools { nix, git, ssh, ..tools }
}
