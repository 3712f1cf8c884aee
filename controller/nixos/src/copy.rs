//! Bringing closures to machines. The machine checks signatures; we never ask it not to.

use crate::error::Error;
use crate::nix::Nix;
use crate::process::Output;
use crate::progress::{ProgressSink, Reader};
use crate::ssh::Host;
use crate::store_path::StorePath;

impl Nix {
    /// Copies `path` and all that it refers to, as far as the machine lacks it.
    ///
    /// # Errors
    /// [`Error::UnsignedRefused`] when the machine trusts none of the signatures, those of SSH, and
    /// [`Error::CommandFailed`] (a full disk, for instance).
    pub async fn copy(
        &self,
        host: &Host,
        path: &StorePath,
        progress: Option<&ProgressSink>,
    ) -> Result<(), Error> {
        self.copy_to(host, Host::STORE_URL, path, progress).await
    }

    /// As [`Nix::copy`], into the store of the machine that `to` names.
    pub(crate) async fn copy_to(
        &self,
        host: &Host,
        to: &str,
        path: &StorePath,
        progress: Option<&ProgressSink>,
    ) -> Result<(), Error> {
        let args = ["copy", "--log-format", "internal-json", "--to", to, "--", path.as_str()];
        self.towards(host, args, &format!("copying {path}"), progress).await
    }

    /// Gives the machine our signature of a path that it already has: a copy would not.
    ///
    /// # Errors
    /// As [`Nix::copy`].
    pub async fn copy_signatures(&self, host: &Host, path: &StorePath) -> Result<(), Error> {
        let args = [
            "store",
            "copy-sigs",
            "--log-format",
            "internal-json",
            "--store",
            Host::STORE_URL,
            "--substituter",
            "auto",
            "--",
            path.as_str(),
        ];
        self.towards(host, args, &format!("copying signatures of {path}"), None).await
    }

    async fn towards<const N: usize>(
        &self,
        host: &Host,
        args: [&str; N],
        command: &str,
        progress: Option<&ProgressSink>,
    ) -> Result<(), Error> {
        let mut run = self.nix(args, self.limits().copy, format!("{command} to {}", host.name()));
        run.env.push(("NIX_SSHOPTS".into(), host.nix_ssh_options()));
        let mut reader = Reader::new(progress);
        match run.run_watched(&mut |line| reader.line(line)).await {
            Ok(output) if output.success() => {
                reader.succeeded();
                Ok(())
            }
            Ok(output) => Err(failure(host, command, reader, &output)),
            Err(Error::Timeout { after, .. }) => Err(Error::HostTimeout {
                host: host.name().to_owned(),
                command: command.to_owned(),
                after,
            }),
            Err(other) => Err(other),
        }
    }
}

fn failure(host: &Host, command: &str, reader: Reader<'_>, output: &Output) -> Error {
    let (errors, _) = reader.finish();
    if let Some(path) = unsigned_path(&errors) {
        return Error::UnsignedRefused { host: host.name().to_owned(), path };
    }
    // Nix's messages and those of the ssh that it ran come separately; both may tell the cause.
    let stderr = [errors.as_str(), output.stderr.as_str()].join("\n").trim().to_owned();
    if stderr.to_lowercase().contains("no space left on device") {
        return Error::DiskFull { host: host.name().to_owned(), what: command.to_owned(), stderr };
    }
    host.failure(command, &Output { code: output.code, stdout: String::new(), stderr }, true)
}

/// The path that the machine's Nix refused, by its message of 2.18 to 2.34.
fn unsigned_path(errors: &str) -> Option<String> {
    let refused =
        ["lacks a signature by a trusted key", "lacks a valid signature", "lacks a signature"];
    let line = errors.lines().find(|line| refused.iter().any(|text| line.contains(text)))?;
    let quoted = line.split('\'').find(|part| part.starts_with("/nix/store/"));
    Some(quoted.unwrap_or("a path of the closure").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_path_is_named() {
        let errors = "error: cannot add path '/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-x' \
                      because it lacks a signature by a trusted key";
        let path = unsigned_path(errors).unwrap();
        assert_eq!(path, "/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-x");
        assert_eq!(unsigned_path("error: no space left on device"), None);
    }
}
