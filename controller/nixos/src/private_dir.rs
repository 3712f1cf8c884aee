//! A directory that only this process's user can read: keys, and sockets of SSH masters.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// Longest path of a directory here: a Unix socket's address has 108 bytes, and ssh appends up to
/// 17 to the socket's name while it creates it.
const MAX_PATH: usize = 60;

const HOST: &str = "host-";
const KEY: &str = "key-";
const ACCESS: &str = "access-";
const BUILDERS: &str = "builders-";

/// A private directory that belongs to this process alone. Best on a memory file system.
#[derive(Clone, Debug)]
pub struct PrivateDir {
    path: PathBuf,
    /// Names what comes next. No name comes twice: what it replaces may still be in use, and goes
    /// with its last user.
    next: Arc<AtomicU64>,
}

impl PrivateDir {
    /// Takes `path`, creating it with mode 0700, and removes what a process that was killed left
    /// there.
    ///
    /// # Errors
    /// [`Error::PrivateDir`] when others may enter it, when something lies there that is not ours,
    /// when the path is relative, longer than 60 bytes or has a character that ssh's configuration
    /// cannot hold.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let fail =
            |why: &dyn ToString| Error::PrivateDir { path: path.clone(), why: why.to_string() };
        let text = path.to_str().unwrap_or_default();
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
        if !path.is_absolute() || text.len() > MAX_PATH || !text.bytes().all(is_plain) {
            return Err(fail(&format!(
                "must be absolute, of at most {MAX_PATH} bytes and of A-Z a-z 0-9 / . _ -"
            )));
        }
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(fail(&error));
            }
            _ => {}
        }
        let metadata = fs::symlink_metadata(&path).map_err(|error| fail(&error))?;
        if !metadata.is_dir() || metadata.mode() & 0o077 != 0 {
            return Err(fail(&"must be a directory with mode 0700"));
        }
        for entry in fs::read_dir(&path).map_err(|error| fail(&error))? {
            let entry = entry.map_err(|error| fail(&error))?;
            if !is_ours(&entry.file_name().to_string_lossy()) {
                let name = entry.path();
                return Err(fail(&format!("must be for us alone, but has {}", name.display())));
            }
            remove(&entry.path()).map_err(|error| fail(&error))?;
        }
        Ok(Self { path, next: Arc::default() })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new directory for the files of one machine.
    pub(crate) fn host_dir(&self) -> Result<PathBuf, Error> {
        self.dir(HOST)
    }

    /// A new directory for the credentials of one source.
    pub(crate) fn access_dir(&self) -> Result<PathBuf, Error> {
        self.dir(ACCESS)
    }

    /// A new directory for the keys of a set of builders.
    pub(crate) fn builders_dir(&self) -> Result<PathBuf, Error> {
        self.dir(BUILDERS)
    }

    fn dir(&self, kind: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(format!("{kind}{}", self.number()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Error::PrivateDir { path: path.clone(), why: error.to_string() })?;
        Ok(path)
    }

    /// A new name for the file of a signing key.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.path.join(format!("{KEY}{}", self.number()))
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

fn is_ours(name: &str) -> bool {
    let kinds = [HOST, KEY, ACCESS, BUILDERS];
    let number = kinds.iter().find_map(|kind| name.strip_prefix(kind)).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

/// Writes a new file that only its owner can read.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(|error| Error::PrivateDir { path: path.to_owned(), why: error.to_string() })
}

/// Removes a file, or a directory with all in it.
pub(crate) fn remove(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_private_and_empty_when_taken() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let dir = PrivateDir::open(&path).unwrap();
        let key = dir.key_file();
        write_private(&key, b"secret").unwrap();
        write_private(&dir.host_dir().unwrap().join("key"), b"secret").unwrap();
        assert_ne!(key, dir.key_file());
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        PrivateDir::open(&path).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_ours_is_not_removed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("home");
        PrivateDir::open(&path).unwrap();
        fs::write(path.join("thesis"), "years of work").unwrap();
        let error = PrivateDir::open(&path).unwrap_err();
        assert!(error.to_string().contains("thesis"), "{error}");
        assert!(path.join("thesis").exists());
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let error = PrivateDir::open(parent.path()).unwrap_err();
        assert!(error.to_string().contains("mode 0700"), "{error}");
        assert!(PrivateDir::open("relative").is_err());
        assert!(PrivateDir::open("/tmp/has space").is_err());
    }
}
