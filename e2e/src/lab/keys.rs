//! Keys that the lab makes for its servers, with the tools that a person would use.

use std::{fs, path::Path};

use super::{
    error::{During, Result},
    toolbox::Toolbox,
};

/// An SSH key pair in OpenSSH's formats.
#[derive(Clone)]
pub struct SshKey {
    /// The private key file's content.
    pub private: String,
    /// `ssh-ed25519 AAAA…`, without a comment.
    pub public: String,
}

impl std::fmt::Debug for SshKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl SshKey {
    pub(crate) fn generate(toolbox: &Toolbox, dir: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(dir).during("create", dir)?;
        let path = dir.join(name);
        let file = path.to_string_lossy();
        toolbox.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &file])?;
        let public = path.with_added_extension("pub");
        Ok(Self {
            private: fs::read_to_string(&path).during("read", &path)?,
            public: fs::read_to_string(&public).during("read", &public)?.trim().to_owned(),
        })
    }
}

/// The key that closures are signed with.
#[derive(Clone)]
pub struct NixKey {
    /// `name:base64` of the secret key, as `nix key generate-secret` prints it.
    pub secret: String,
    /// `name:base64` of the public key, as `trusted-public-keys` takes it.
    pub public: String,
}

impl std::fmt::Debug for NixKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NixKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl NixKey {
    pub(crate) fn generate(toolbox: &Toolbox, name: &str) -> Result<Self> {
        let features = ["--extra-experimental-features", "nix-command"];
        let generate = [&features[..], &["key", "generate-secret", "--key-name", name]].concat();
        let secret = toolbox.run("nix", &generate)?;
        let convert = [&features[..], &["key", "convert-secret-to-public"]].concat();
        let public = toolbox.run_with_input("nix", &convert, &secret)?;
        Ok(Self { secret: secret.trim().to_owned(), public: public.trim().to_owned() })
    }
}
