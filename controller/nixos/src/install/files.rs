//! Files that no closure may hold.

use std::fmt;

use crate::error::{Error, ParseError};
use crate::nix::Limits;
use crate::ssh::{Feed, Host, Script};

/// The content comes by standard input: arguments can be seen by all on the machine. It is complete
/// and has its mode before it has its name.
const WRITE: &str = "\
umask 022
file=$1$2
mkdir -p \"${file%/*}\" || exit 74
umask 077
cat >\"$file.cim-new\" || exit 74
[ \"$(wc -c <\"$file.cim-new\")\" -eq \"$5\" ] || { echo 'it did not arrive whole' >&2; exit 74; }
chmod \"$3\" \"$file.cim-new\" && chown \"$4\" \"$file.cim-new\" && mv \"$file.cim-new\" \"$file\"
";

/// A file of the new system: a key, mostly. Its content is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ExtraFile {
    path: String,
    mode: u32,
    owner: (u32, u32),
    content: Vec<u8>,
}

impl ExtraFile {
    /// A file at the absolute `path`, with the permission bits `mode` (`0o600`), owned by the user
    /// and group of the numbers `owner`.
    ///
    /// # Errors
    /// When `path` is not absolute, plain and of a file, or `mode` is more than `0o7777`.
    pub fn new(
        path: &str,
        mode: u32,
        owner: (u32, u32),
        content: impl Into<Vec<u8>>,
    ) -> Result<Self, ParseError> {
        let plain = path.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        });
        if !plain || path.len() > 1024 || path.chars().any(char::is_control) {
            let wants = "an absolute path without `.` or `..`: /etc/ssh/ssh_host_ed25519_key";
            return Err(ParseError::new("path of an extra file", path, wants));
        }
        if mode > 0o7777 {
            let wants = "permission bits: 0600";
            return Err(ParseError::new("mode of an extra file", &format!("{mode:o}"), wants));
        }
        Ok(Self { path: path.to_owned(), mode, owner, content: content.into() })
    }

    /// Where it lies in the new system.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Debug for ExtraFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, mode, owner, .. } = self;
        write!(f, "ExtraFile({path} {mode:04o} {}:{}, redacted)", owner.0, owner.1)
    }
}

/// Writes `files` below `root` (`/mnt`, or nothing), one after the other.
pub(super) async fn write(
    host: &Host,
    root: &str,
    files: &[ExtraFile],
    limits: &Limits,
) -> Result<(), Error> {
    for file in files {
        let mode = format!("{:04o}", file.mode);
        let owner = format!("{}:{}", file.owner.0, file.owner.1);
        let size = file.content.len().to_string();
        let what = format!("writing {root}{}", file.path);
        let args = [root, &file.path, &mode, &owner, &size];
        let script = Script { what: &what, text: WRITE, args: &args };
        host.feed(script, Feed::Bytes(file.content.clone()), limits.command).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_absolute_path_is_a_file_of_the_new_system() {
        let file = |path: &str| ExtraFile::new(path, 0o600, (0, 0), "x");
        assert!(file("/etc/ssh/ssh_host_ed25519_key").is_ok());
        for evil in ["", "/", "etc/x", "/etc/", "/etc/../x", "/etc//x", "/etc/./x", "/a\nb"] {
            assert!(file(evil).is_err(), "{evil}");
        }
        assert!(ExtraFile::new("/x", 0o10000, (0, 0), "x").is_err());
    }

    #[test]
    fn its_content_is_not_shown() {
        let file = ExtraFile::new("/etc/key", 0o600, (0, 0), "hunter2").unwrap();
        assert_eq!(format!("{file:?}"), "ExtraFile(/etc/key 0600 0:0, redacted)");
    }
}
