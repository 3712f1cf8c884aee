//! Signing closures, so that machines can tell ours from others'.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, ParseError};
use crate::nix::Nix;
use crate::private_dir::{PrivateDir, remove, write_private};
use crate::store_path::StorePath;

/// A secret signing key as `nix key generate-secret` writes it: `<name>:<base 64>`.
#[derive(Clone)]
pub struct SigningKey {
    name: String,
    secret: String,
    public: [u8; 32],
}

impl SigningKey {
    /// What it is called in signatures.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key that machines must have in their `trusted-public-keys`.
    pub fn public(&self) -> PublicKey {
        PublicKey(format!("{}:{}", self.name, STANDARD.encode(self.public)))
    }
}

impl FromStr for SigningKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || {
            let wants = "<name>:<base 64 of 64 bytes>, as `nix key generate-secret` writes it";
            ParseError::new("signing key", "(secret)", wants)
        };
        let text = text.trim();
        let (name, secret) = text.split_once(':').ok_or_else(refuse)?;
        let bytes = STANDARD.decode(secret).map_err(|_| refuse())?;
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if name.is_empty() || name.len() > 253 || !name.bytes().all(is_plain) || bytes.len() != 64 {
            return Err(refuse());
        }
        // libsodium's secret key is the seed with the public key behind it.
        let public = bytes[32..].try_into().map_err(|_| refuse())?;
        Ok(Self { name: name.to_owned(), secret: text.to_owned(), public })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

/// A public signing key: `<name>:<base 64>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(String);

impl Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A signing key in a file, as Nix wants it. The file lives as long as this value.
///
/// It remembers what it signed, up to 4096 closures, so that a delivery need not sign what was signed
/// when it was built. A store forgets the signatures of what it collects as garbage: machines refuse
/// the closure then, and a copy that is refused makes the signer forget.
#[derive(Debug)]
pub struct Signer {
    file: PathBuf,
    public: PublicKey,
    signed: Mutex<BTreeSet<StorePath>>,
}

/// Closures remembered; far more than are delivered at the same time.
const MAX_SIGNED: usize = 4096;

impl Signer {
    /// Writes `key` into a file in `dir`.
    pub fn new(dir: &PrivateDir, key: &SigningKey) -> Result<Self, Error> {
        let file = dir.key_file();
        write_private(&file, key.secret.as_bytes())?;
        Ok(Self { file, public: key.public(), signed: Mutex::default() })
    }

    /// The key that machines must trust.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn signed(&self) -> MutexGuard<'_, BTreeSet<StorePath>> {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, paths: &[&StorePath]) {
        let mut signed = self.signed();
        if signed.len() + paths.len() > MAX_SIGNED {
            signed.clear();
        }
        signed.extend(paths.iter().copied().cloned());
    }

    /// A machine did not find the signature of `path` or of what it refers to.
    pub(crate) fn forget(&self, path: &StorePath) {
        self.signed().remove(path);
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.file) {
            tracing::warn!(%error, file = %self.file.display(), "signing key not removed");
        }
    }
}

impl Nix {
    /// Signs `path` and all that it refers to, in the local store. Must come before the first copy:
    /// a machine that already has a path does not take signatures with a later copy.
    ///
    /// # Errors
    /// [`Error::ToolFailed`], also when `path` is not in the local store.
    pub async fn sign(&self, signer: &Signer, path: &StorePath) -> Result<(), Error> {
        self.sign_all(signer, &[path]).await
    }

    /// As [`Nix::sign`], unless `signer` remembers that it did.
    pub(crate) async fn sign_once(&self, signer: &Signer, path: &StorePath) -> Result<(), Error> {
        if signer.signed().contains(path) { Ok(()) } else { self.sign(signer, path).await }
    }

    /// As [`Nix::sign`], of many closures in one run.
    ///
    /// # Errors
    /// Those of [`Nix::sign`], if any of the paths has one. The others may be signed then.
    pub async fn sign_all(&self, signer: &Signer, paths: &[&StorePath]) -> Result<(), Error> {
        let what = match paths {
            [] => return Ok(()),
            [path] => format!("signing {path}"),
            paths => format!("signing {} closures", paths.len()),
        };
        let args = ["store", "sign", "--recursive", "--key-file"].map(std::ffi::OsString::from);
        let args = args.into_iter().chain([signer.file().into(), "--".into()]);
        let args = args.chain(paths.iter().map(|path| path.as_str().into()));
        let output = self.nix(args, self.limits().store, what.clone()).run().await?;
        if !output.success() {
            return Err(Error::ToolFailed { what, code: output.code, stderr: output.stderr });
        }
        signer.remember(paths);
        self.learn_members(paths).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `nix key generate-secret` for this test alone.
    fn secret() -> String {
        format!("cim-1:{}", STANDARD.encode([7_u8; 64]))
    }

    #[test]
    fn the_public_half_is_the_second_half() {
        let key: SigningKey = format!("{}\n", secret()).parse().unwrap();
        assert_eq!(key.public().to_string(), format!("cim-1:{}", STANDARD.encode([7_u8; 32])));
    }

    #[test]
    fn no_form_of_the_key_shows_the_secret() {
        let text = secret();
        let key: SigningKey = text.parse().unwrap();
        let secret = text.split_once(':').unwrap().1;
        assert!(!format!("{key:?}").contains(secret));
        let error = text.replace("cim-1:", "cim 1:").parse::<SigningKey>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret));
    }

    #[test]
    fn the_file_goes_with_the_signer() {
        let parent = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(parent.path().join("p")).unwrap();
        let signer = Signer::new(&dir, &secret().parse().unwrap()).unwrap();
        let rotated = Signer::new(&dir, &secret().parse().unwrap()).unwrap();
        let file = signer.file().to_owned();
        assert!(file.exists());
        drop(signer);
        assert!(!file.exists());
        assert!(rotated.file().exists(), "another signer of the same name is not touched");
    }
}
