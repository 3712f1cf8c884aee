//! The cache outside the checkout: built once, used by every later run of every checkout.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use crate::lab::error::{During, Result};

/// A directory whose entries are complete or absent, shared safely by concurrent processes.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache below `root`, usually `$XDG_CACHE_HOME/cim`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Whether there is an entry `name-key` of `kind`.
    pub fn has(&self, kind: &str, name: &str, key: &str) -> bool {
        self.path(kind, name, key).is_dir()
    }

    fn path(&self, kind: &str, name: &str, key: &str) -> PathBuf {
        self.root.join(kind).join(format!("{name}-{key}"))
    }

    /// The entry `name-key` of `kind`, made by `build` in a scratch directory if it is absent.
    ///
    /// The scratch directory is renamed into place when `build` succeeded, so that nobody ever
    /// sees half an entry; a lock keeps a second process from doing the same work at once.
    /// Calls `waiting` before it waits for such another process.
    pub fn entry(
        &self,
        kind: &str,
        name: &str,
        key: &str,
        waiting: impl FnOnce(),
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let entry = self.path(kind, name, key);
        let kind = self.root.join(kind);
        if entry.is_dir() {
            return Ok(entry);
        }
        fs::create_dir_all(&kind).during("create", &kind)?;
        let lock_path = kind.join(format!("{name}.lock"));
        let lock = File::create(&lock_path).during("create", &lock_path)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            waiting();
            flock(&lock, FlockOperation::LockExclusive).during("lock", &lock_path)?;
        }
        if entry.is_dir() {
            return Ok(entry);
        }
        // Under the lock an existing scratch directory can only be that of a killed process.
        let scratch = kind.join(format!("{name}.building"));
        if scratch.exists() {
            fs::remove_dir_all(&scratch).during("remove", &scratch)?;
        }
        fs::create_dir(&scratch).during("create", &scratch)?;
        build(&scratch)?;
        fs::rename(&scratch, &entry).during("rename into place", &entry)?;
        Ok(entry)
    }
}

/// A key of 16 hexadecimal digits over `parts`, in order.
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let word = hasher.finalize().iter().take(8).fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    format!("{word:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::error::LabError;

    #[test]
    fn an_entry_is_built_once_and_never_half() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let fails = cache.entry(
            "tools",
            "x",
            "1",
            || (),
            |scratch| {
                fs::write(scratch.join("part"), "").unwrap();
                Err(LabError::Unexpected { what: "x".into(), why: "y".into() })
            },
        );
        assert!(fails.is_err());
        assert!(!dir.path().join("tools/x-1").exists());
        let build = |scratch: &Path| {
            assert!(!scratch.join("part").exists(), "the rest of a failed build is in the way");
            fs::write(scratch.join("whole"), "").unwrap();
            Ok(())
        };
        let entry = cache.entry("tools", "x", "1", || (), build).unwrap();
        assert!(entry.join("whole").exists());
        cache.entry("tools", "x", "1", || (), |_| panic!("built twice")).unwrap();
    }

    #[test]
    fn a_key_covers_the_border_between_its_parts() {
        assert_ne!(key(["ab", "c"]), key(["a", "bc"]));
    }
}
