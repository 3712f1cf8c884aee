//! The archives of paths, compressed once for all machines: a binary cache on the controller's disk,
//! of what machines lacked in the last day. Made again when it is lost.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use super::closure::{Member, Members};
use crate::error::Error;
use crate::nix::Nix;
use crate::sign::Signer;
use crate::store_path::StorePath;

/// A seventh more than xz makes of it, in a sixth of the time; the next level that gains anything takes
/// four times as long.
const LEVEL: u8 = 12;
/// For what is small, where [`LEVEL`] gains little, and takes 15 ms to clear its tables.
const LEVEL_OF_SMALL: u8 = 3;
/// Up to this length of its NAR a path is small, in bytes.
const SMALL: u64 = 256 << 10;
/// How long archives are kept that nobody took.
const KEEP: Duration = Duration::from_hours(24);
/// How much is kept, in bytes. What was taken in the last [`IN_USE`] stays nevertheless.
const MAX_BYTES: u64 = 2 << 30;
/// Longer than it takes to send the archives of one portion, once they were looked up.
const IN_USE: Duration = Duration::from_mins(30);

/// What is shared by all copies.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    pub(super) members: Members,
    /// What is to be compressed, by the directory where it belongs.
    wanted: Mutex<BTreeSet<(PathBuf, StorePath)>>,
    /// One run at a time: what all machines need is not compressed twice.
    turn: tokio::sync::Mutex<()>,
}

/// A path as a binary cache has it.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    pub(super) member: Arc<Member>,
    /// What it is and who signed it, for Nix to read.
    pub(super) narinfo: Vec<u8>,
    /// The name of the compressed archive within the cache.
    pub(super) name: String,
    pub(super) file: PathBuf,
    /// The length of that file, in bytes.
    pub(super) size: u64,
}

impl Nix {
    /// The archives of `members`, signed by `signer`. Compresses those that are not there.
    pub(super) async fn archives(
        &self,
        signer: &Signer,
        members: &[Arc<Member>],
    ) -> Result<Vec<Archive>, Error> {
        let cache = Cache::of(&self.tools().home, signer);
        let (found, absent) = cache.find(members).await?;
        if absent.is_empty() {
            return Ok(found);
        }
        self.compress(&cache, &absent).await?;
        let (found, absent) = cache.find(members).await?;
        match absent.first() {
            None => Ok(found),
            // The local store lost its signature.
            Some(absent) => Err(Error::BadOutput {
                what: format!("compressing {}", absent.path),
                why: "what Nix made is not there, or not signed".to_owned(),
            }),
        }
    }

    /// Whoever comes while others are compressed is served with all who came meanwhile, in one run.
    async fn compress(&self, cache: &Cache, members: &[Arc<Member>]) -> Result<(), Error> {
        let copies = self.copies();
        let wanted = || copies.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted().extend(members.iter().map(|it| (cache.dir.clone(), it.path.clone())));
        let _turn = copies.turn.lock().await;
        let (_, absent) = cache.find(members).await?;
        if absent.is_empty() {
            return Ok(());
        }
        let all: BTreeSet<StorePath> = {
            let mut wanted = wanted();
            let all = wanted.extract_if(.., |(dir, _)| *dir == cache.dir).map(|(_, path)| path);
            all.collect()
        };
        let ours: BTreeSet<StorePath> = absent.iter().map(|it| it.path.clone()).collect();
        if let Err(error) = self.export(cache, &all).await {
            if all == ours {
                return Err(error);
            }
            // It may be another's.
            tracing::debug!(%error, "compressing for several machines at once");
            self.export(cache, &ours).await?;
        }
        Ok(())
    }

    async fn export(&self, cache: &Cache, paths: &BTreeSet<StorePath>) -> Result<(), Error> {
        let (small, large): (BTreeSet<_>, BTreeSet<_>) =
            paths.iter().cloned().partition(|path| self.copies().members.is_within(path, SMALL));
        for (paths, level) in [(small, LEVEL_OF_SMALL), (large, LEVEL)] {
            self.export_at(cache, &paths, level).await?;
        }
        Ok(())
    }

    async fn export_at(
        &self,
        cache: &Cache,
        paths: &BTreeSet<StorePath>,
        level: u8,
    ) -> Result<(), Error> {
        let (members, references) = self.copies().members.with_references(paths);
        if members.is_empty() {
            return Ok(());
        }
        cache.work(move |cache| cache.prepare(&references)).await?;
        let what = format!("compressing {} paths", members.len());
        let staging = cache.staging();
        let compression = format!("compression=zstd&compression-level={level}");
        let to = format!("file://{}?{compression}", staging.display());
        let args = ["copy", "--no-recursive", "--to", &to, "--"].into_iter();
        let args = args.chain(members.iter().map(|member| member.path.as_str()));
        let output = self.nix(args, self.limits().copy, what.clone()).run().await?;
        if !output.success() {
            return Err(Error::ToolFailed { what, code: output.code, stderr: output.stderr });
        }
        cache.work(move |cache| cache.accept(&members)).await
    }
}

/// The archives whose paths one key signed: machines that trust another one need others.
#[derive(Clone, Debug)]
struct Cache {
    dir: PathBuf,
    /// How lines with our signature begin.
    signature: String,
}

impl Cache {
    fn of(home: &Path, signer: &Signer) -> Self {
        let public = signer.public().to_string();
        let name = public.split(':').next().unwrap_or_default();
        let digest: [u8; 32] = Sha256::digest(public.as_bytes()).into();
        let key = digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        let dir = home.join(".cache/cim/archives").join(format!("{key:016x}"));
        Self { dir, signature: format!("Sig: {name}:") }
    }

    fn staging(&self) -> PathBuf {
        self.dir.join("staging")
    }

    /// Does something with files, which may block.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let cache = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&cache)).await;
        done.map_err(io::Error::other).and_then(|done| done).map_err(|error| Error::BadOutput {
            what: format!("the archives in {}", self.dir.display()),
            why: error.to_string(),
        })
    }

    /// Those that are there, and the others.
    async fn find(
        &self,
        members: &[Arc<Member>],
    ) -> Result<(Vec<Archive>, Vec<Arc<Member>>), Error> {
        let members = members.to_vec();
        self.work(move |cache| {
            let (mut found, mut absent) = (Vec::new(), Vec::new());
            for member in members {
                match cache.archive(&member)? {
                    Some(archive) => found.push(archive),
                    None => absent.push(member),
                }
            }
            Ok((found, absent))
        })
        .await
    }

    fn archive(&self, member: &Arc<Member>) -> io::Result<Option<Archive>> {
        let narinfo_file = self.dir.join(narinfo_name(&member.path));
        let Some(narinfo) = unless_absent(fs::read_to_string(&narinfo_file))? else {
            return Ok(None);
        };
        let name = narinfo.lines().find_map(|line| line.strip_prefix("URL: "));
        let signed = narinfo.lines().any(|line| line.starts_with(&self.signature));
        let Some(name) = name.filter(|name| signed && is_plain(name)) else { return Ok(None) };
        let file = self.dir.join(name);
        let Some(size) = unless_absent(touch(&file))? else { return Ok(None) };
        touch(&narinfo_file)?;
        let (member, name) = (Arc::clone(member), name.to_owned());
        Ok(Some(Archive { member, narinfo: narinfo.into_bytes(), name, file, size }))
    }

    /// A cache for one run of Nix. It wants to find there what its paths refer to, so it does, by name.
    fn prepare(&self, references: &[StorePath]) -> io::Result<()> {
        let staging = self.staging();
        unless_absent(fs::remove_dir_all(&staging))?;
        fs::create_dir_all(&staging)?;
        references.iter().try_for_each(|path| {
            let text = format!("StorePath: {path}\n{NAMED_ONLY}");
            fs::write(staging.join(narinfo_name(path)), text)
        })
    }

    /// Takes over what Nix made, and removes what is old.
    fn accept(&self, members: &[Arc<Member>]) -> io::Result<()> {
        let staging = self.staging();
        fs::create_dir_all(self.dir.join("nar"))?;
        for archive in fs::read_dir(staging.join("nar"))? {
            let archive = archive?;
            fs::rename(archive.path(), self.dir.join("nar").join(archive.file_name()))?;
        }
        for member in members {
            let name = narinfo_name(&member.path);
            fs::rename(staging.join(&name), self.dir.join(&name))?;
        }
        fs::remove_dir_all(staging)?;
        self.evict()
    }

    fn evict(&self) -> io::Result<()> {
        let now = SystemTime::now();
        let mut archives = files(&self.dir.join("nar"), now)?;
        archives.sort_by_key(|file| file.age);
        let mut kept = 0;
        for file in archives.into_iter().chain(files(&self.dir, now)?) {
            kept += file.size;
            if file.age > KEEP || kept > MAX_BYTES && file.age > IN_USE {
                unless_absent(fs::remove_file(file.path))?;
            }
        }
        Ok(())
    }
}

/// Nix reads that it is there, and nothing else of it.
const NAMED_ONLY: &str = "\
URL: nar/none
Compression: none
NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73
NarSize: 1
References:\x20
";

pub(super) fn narinfo_name(path: &StorePath) -> String {
    format!("{}.narinfo", path.hash())
}

/// A name of Nix's own making, and no way out of the cache.
fn is_plain(name: &str) -> bool {
    let rest = name.strip_prefix("nar/").unwrap_or_default();
    !rest.is_empty()
        && rest.len() < 90
        && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.')
}

/// Notes that a file was used; its length.
fn touch(file: &Path) -> io::Result<u64> {
    let file = File::options().write(true).open(file)?;
    file.set_modified(SystemTime::now())?;
    Ok(file.metadata()?.len())
}

struct Aged {
    path: PathBuf,
    size: u64,
    age: Duration,
}

fn files(dir: &Path, now: SystemTime) -> io::Result<Vec<Aged>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Some(metadata) = unless_absent(entry.metadata())?.filter(fs::Metadata::is_file) else {
            continue;
        };
        let age = now.duration_since(metadata.modified()?).unwrap_or_default();
        files.push(Aged { path: entry.path(), size: metadata.len(), age });
    }
    Ok(files)
}

fn unless_absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
