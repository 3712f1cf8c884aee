//! Building a closure, here or on remote builders, into the local store.

mod builders;

use std::ffi::OsString;

use serde::Deserialize;

pub use self::builders::{Builder, Builders};
use crate::error::Error;
use crate::evaluate::Toplevel;
use crate::nix::Nix;
use crate::process::Output;
use crate::progress::{ProgressSink, Reader};
use crate::roots::Root;
use crate::source::one_line;
use crate::store_path::StorePath;

/// How often a build is begun again when a builder is lost. Nix goes on with the others then.
const MAX_RETRIES: u32 = 2;

/// How a closure is built. The default: here, without a root.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuildOptions<'a> {
    /// The root that holds the result against garbage collection from the moment it exists.
    pub root: Option<&'a Root>,
    /// Builders to use beside, or in place of, the local machine.
    pub builders: Option<&'a Builders>,
    /// Where progress goes.
    pub progress: Option<&'a ProgressSink>,
}

/// What a failed build wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildLog {
    /// The derivation that wrote it.
    pub derivation: String,
    /// The last 256 KiB, in whole lines. It is what builders wrote: text of the configuration's
    /// authors, without escape sequences.
    pub text: String,
}

#[derive(Deserialize)]
struct Built {
    outputs: Outputs,
}

#[derive(Deserialize)]
struct Outputs {
    out: StorePath,
}

impl Nix {
    /// Builds `toplevel` unless the local store has it already; afterwards it is valid there.
    ///
    /// A builder that is lost meanwhile is tried again, twice at most.
    ///
    /// # Errors
    /// [`Error::BuildFailed`] with the log, [`Error::Timeout`]; of builders [`Error::BuilderLost`],
    /// [`Error::HostKeyMismatch`] and [`Error::AuthFailed`].
    pub async fn build(&self, toplevel: &Toplevel, options: BuildOptions<'_>) -> Result<(), Error> {
        let mut retries = 0;
        loop {
            match self.build_once(toplevel, options).await {
                Err(error @ Error::BuilderLost { .. }) if retries < MAX_RETRIES => {
                    tracing::warn!(%error, "building again");
                    retries += 1;
                }
                ended => return ended,
            }
        }
    }

    async fn build_once(
        &self,
        toplevel: &Toplevel,
        BuildOptions { root, builders, progress }: BuildOptions<'_>,
    ) -> Result<(), Error> {
        let mut args: Vec<OsString> =
            ["build", "--json", "--log-format", "internal-json"].map(OsString::from).into();
        match root {
            Some(root) => args.extend(["--out-link".into(), root.link().into()]),
            None => args.push("--no-link".into()),
        }
        args.extend(["--".into(), format!("{}^out", toplevel.derivation).into()]);
        let what = format!("building {}", toplevel.derivation);
        let settings = builders.map_or("", Builders::settings);
        let mut run = self.nix_with_settings(settings, args, self.limits().build, what.clone());
        if let Some(builders) = builders {
            run.env.push(("NIX_SSHOPTS".into(), builders.ssh_options()));
        }
        let mut reader = Reader::new(progress);
        let output = run.run_watched(&mut |line| reader.line(line)).await?;
        if !output.success() {
            return Err(failure(toplevel, builders, reader, &output));
        }
        reader.succeeded();
        let bad = |why: String| Error::BadOutput { what: what.clone(), why };
        let built: Vec<Built> =
            serde_json::from_str(&output.stdout).map_err(|why| bad(why.to_string()))?;
        match built.as_slice() {
            [built] if built.outputs.out == toplevel.closure => Ok(()),
            [built] => Err(bad(format!("{} instead of {}", built.outputs.out, toplevel.closure))),
            _ => Err(bad(format!("{} results instead of one", built.len()))),
        }
    }
}

fn failure(
    toplevel: &Toplevel,
    builders: Option<&Builders>,
    reader: Reader<'_>,
    output: &Output,
) -> Error {
    let (errors, logs) = reader.finish();
    let derivation = toplevel.derivation.to_string();
    let told = [errors.as_str(), output.stderr.as_str()].join("\n");
    let failed = logs.failed(&told).unwrap_or_default();
    if let Some(error) = builders.and_then(|them| them.lost(&derivation, &told, &failed.machine)) {
        return error;
    }
    let log = failed.log;
    let detail = message_about(&log.derivation, &errors).unwrap_or_else(|| one_line(&told));
    Error::BuildFailed { derivation, detail, log: Box::new(log) }
}

/// The message that names the derivation that failed. Those behind it are about what needed it.
fn message_about(derivation: &str, errors: &str) -> Option<String> {
    let mut messages = errors.split("error: ").filter(|_| !derivation.is_empty());
    messages.find(|message| message.contains(derivation)).map(one_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_told_and_not_its_consequence() {
        let errors = "error: builder for '/nix/store/a.drv' failed with exit code 3\n\
                      error: 1 dependencies of derivation '/nix/store/top.drv' failed to build";
        let told = message_about("/nix/store/a.drv", errors);
        assert_eq!(told.as_deref(), Some("builder for '/nix/store/a.drv' failed with exit code 3"));
        assert_eq!(message_about("", errors), None);
    }
}
