//! Roots: what the local garbage collector must leave.
//!
//! A root is a link in a directory of ours to a store path. Nix knows it as an indirect root: it
//! registers the link's place, not its target, so removing the link is all it takes to let go, and
//! links of a directory that was lost hold nothing back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, ParseError};
use crate::nix::Nix;
use crate::source::one_line;
use crate::store_path::StorePath;

/// By this ending the links in the directory are known as ours.
const ENDING: &str = ".root";
/// Longest file name of common file systems, without the ending.
const MAX_NAME: usize = 250;

/// A directory of roots. Best on a disk that lives as long as the Nix store does.
#[derive(Clone, Debug)]
pub struct Roots {
    dir: PathBuf,
}

/// A place for a root; the root itself is made by [`Nix::root`] or [`Nix::build`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    link: PathBuf,
}

impl Roots {
    /// Takes `dir`, creating it (not its parents) where it is missing.
    ///
    /// # Errors
    /// [`Error::Roots`], also for a relative path: Nix remembers roots by where they are.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir = dir.into();
        if !dir.is_absolute() {
            return Err(failed(&dir, &"must be an absolute path"));
        }
        match DirBuilder::new().mode(0o755).create(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(failed(&dir, &error));
            }
            _ => {}
        }
        // Nix remembers the place by its real path.
        let dir = fs::canonicalize(&dir).map_err(|error| failed(&dir, &error))?;
        Ok(Self { dir })
    }

    /// The names of the directories in `dir`: where each owner of roots has one, they are owners.
    /// Empty where there is no `dir`.
    ///
    /// # Errors
    /// [`Error::Roots`] when it cannot be read.
    pub fn owners(dir: &Path) -> Result<Vec<String>, Error> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| failed(dir, &error))?,
        };
        let mut owners = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed(dir, &error))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                owners.extend(entry.file_name().into_string());
            }
        }
        owners.sort();
        Ok(owners)
    }

    /// The place for the root called `name`.
    ///
    /// # Errors
    /// When `name` is not 1 to 250 of A-Z a-z 0-9 . _ -, or begins with a dot.
    pub fn place(&self, name: &str) -> Result<Root, ParseError> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if (1..=MAX_NAME).contains(&name.len())
            && name.bytes().all(is_plain)
            && !name.starts_with('.')
        {
            Ok(Root { link: self.dir.join(format!("{name}{ENDING}")) })
        } else {
            let wants = "1 to 250 of A-Z a-z 0-9 . _ -, without a leading dot";
            Err(ParseError::new("name of a root", name, wants))
        }
    }

    /// All roots by name, with what they hold.
    ///
    /// # Errors
    /// [`Error::Roots`] when the directory cannot be read.
    pub fn list(&self) -> Result<BTreeMap<String, StorePath>, Error> {
        let entries = fs::read_dir(&self.dir).map_err(|error| failed(&self.dir, &error))?;
        let mut roots = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed(&self.dir, &error))?;
            let target = fs::read_link(entry.path()).ok();
            let target = target.and_then(|target| target.to_str()?.parse().ok());
            let file = entry.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(ENDING));
            // What is no link into the store, or is not called as we call them, is not ours.
            if let (Some(name), Some(target)) = (name, target) {
                roots.insert(name.to_owned(), target);
            }
        }
        Ok(roots)
    }

    /// Removes all roots but those called `names`; the names of those removed. Nothing else in the
    /// directory is touched. What they held goes with the next garbage collection.
    ///
    /// # Errors
    /// [`Error::Roots`].
    pub fn retain(&self, names: &BTreeSet<String>) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        for name in self.list()?.into_keys().filter(|name| !names.contains(name)) {
            let link = self.dir.join(format!("{name}{ENDING}"));
            match fs::remove_file(&link) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed(&link, &error));
                }
                _ => removed.push(name),
            }
        }
        Ok(removed)
    }
}

impl Roots {
    /// As [`Roots::retain`], for an owner who is gone: the directory goes as well unless something is
    /// left in it.
    ///
    /// # Errors
    /// [`Error::Roots`].
    pub fn abandon(self, names: &BTreeSet<String>) -> Result<Vec<String>, Error> {
        let removed = self.retain(names)?;
        match fs::remove_dir(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::DirectoryNotEmpty => {
                Err(failed(&self.dir, &error))
            }
            _ => Ok(removed),
        }
    }
}

impl Root {
    /// Where the link is.
    pub fn link(&self) -> &Path {
        &self.link
    }

    /// What it holds now.
    pub fn target(&self) -> Option<StorePath> {
        fs::read_link(&self.link).ok()?.to_str()?.parse().ok()
    }
}

impl Nix {
    /// Makes `root` hold `path`, which must be in the local store; what it held before is let go.
    ///
    /// Nix holds the path by itself while it makes and registers the link (by a temporary name and
    /// a renaming), so there is no moment in which a collection could take it.
    ///
    /// # Errors
    /// [`Error::Roots`] when something that is no root lies in its place, or `path` is not in the
    /// store.
    pub async fn root(&self, root: &Root, path: &StorePath) -> Result<(), Error> {
        // Also when the link is there already: a process that was killed may not have come to
        // register it.
        let args = ["build", "--offline", "--out-link"].map(std::ffi::OsString::from);
        let args = args.into_iter().chain([root.link().into(), "--".into(), path.as_str().into()]);
        let what = format!("making a garbage collector root for {path}");
        let output = self.nix(args, self.limits().store, what).run().await?;
        if output.success() && root.target().as_ref() == Some(path) {
            return Ok(());
        }
        Err(failed(root.link(), &format!("not made for {path}: {}", one_line(&output.stderr))))
    }
}

fn failed(path: &Path, why: &dyn ToString) -> Error {
    Error::Roots { path: path.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const PATH: &str = "/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-nixos-system-host1";

    #[test]
    fn only_our_roots_are_listed_and_let_go() {
        let parent = tempfile::tempdir().unwrap();
        let roots = Roots::open(parent.path().join("roots")).unwrap();
        let roots = Roots::open(&roots.dir).unwrap();
        for name in ["core.host1", "core.host2"] {
            symlink(PATH, roots.place(name).unwrap().link()).unwrap();
        }
        symlink(PATH, roots.dir.join("by-hand")).unwrap();
        symlink("/etc", roots.dir.join("odd.root")).unwrap();
        fs::write(roots.dir.join("notes.root"), "x").unwrap();

        assert_eq!(
            roots.list().unwrap().into_keys().collect::<Vec<_>>(),
            ["core.host1", "core.host2"]
        );
        let kept = BTreeSet::from(["core.host1".to_owned()]);
        assert_eq!(roots.retain(&kept).unwrap(), ["core.host2"]);
        assert_eq!(roots.retain(&kept).unwrap(), [""; 0]);
        assert_eq!(fs::read_dir(&roots.dir).unwrap().count(), 4);
        assert_eq!(roots.place("core.host1").unwrap().target().unwrap().as_str(), PATH);
    }

    #[test]
    fn an_owner_who_is_gone_leaves_only_what_is_held() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("roots");
        assert_eq!(Roots::owners(&dir).unwrap(), [""; 0]);
        Roots::open(&dir).unwrap();
        fs::write(dir.join("notes"), "x").unwrap();
        for owner in ["a", "b"] {
            let roots = Roots::open(dir.join(owner)).unwrap();
            for name in ["host1", "host2"] {
                symlink(PATH, roots.place(name).unwrap().link()).unwrap();
            }
        }
        let open = |owner: &str| Roots::open(dir.join(owner)).unwrap();
        let kept = BTreeSet::from(["host1".to_owned()]);
        assert_eq!(open("a").abandon(&kept).unwrap(), ["host2"]);
        assert_eq!(open("b").abandon(&BTreeSet::new()).unwrap(), ["host1", "host2"]);
        assert_eq!(Roots::owners(&dir).unwrap(), ["a"]);
    }

    #[test]
    fn a_name_stays_within_the_directory() {
        let parent = tempfile::tempdir().unwrap();
        let roots = Roots::open(parent.path().join("roots")).unwrap();
        for evil in ["", ".", "..", "a/b", "../x", ".hidden", &"x".repeat(251)] {
            assert!(roots.place(evil).is_err(), "{evil}");
        }
        assert!(Roots::open("relative").is_err());
        assert!(Roots::open(parent.path().join("a/b")).is_err());
    }
}
