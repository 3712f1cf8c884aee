//! Building a closure, here or on remote builders, into the local store.

mod builders;

use std::ffi::OsString;

use futures::{StreamExt as _, stream};
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
/// Short runs of Nix at the same time.
const PARALLEL: usize = 4;

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

    /// Builds all of `toplevels` in one run, each with the options beside it, of which those of the
    /// first count for the run. One that fails does not stop the others; how each ended, in order.
    ///
    /// Runs beside one another would wait for what they have in common, and Nix looks only every five
    /// seconds whether the wait is over.
    ///
    /// # Errors
    /// Of each, those of [`Nix::build`].
    pub async fn build_all(
        &self,
        toplevels: &[(&Toplevel, BuildOptions<'_>)],
    ) -> Vec<Result<(), Error>> {
        let together = match toplevels {
            [] | [_] => false,
            [(_, options), ..] => self.build_together(toplevels, *options).await,
        };
        // What was not built tells its own error when it is tried alone. What was built lacks its
        // root at most.
        let mut each = Vec::with_capacity(toplevels.len());
        for (toplevel, options) in toplevels {
            each.push(async move {
                match options.root {
                    Some(root) if together => self.root(root, &toplevel.closure).await,
                    None if together => Ok(()),
                    _ => self.build(toplevel, *options).await,
                }
            });
        }
        stream::iter(each).buffered(PARALLEL).collect().await
    }

    /// Whether one run built all of them.
    async fn build_together(
        &self,
        toplevels: &[(&Toplevel, BuildOptions<'_>)],
        BuildOptions { builders, progress, .. }: BuildOptions<'_>,
    ) -> bool {
        let derivations = toplevels.iter().map(|(toplevel, _)| out(toplevel));
        let words = ["--no-link", "--keep-going", "--"].map(OsString::from);
        let args = words.into_iter().chain(derivations).collect();
        let what = format!("building {} closures", toplevels.len());
        let mut reader = Reader::new(progress);
        let output = self.run_build(args, what, builders, &mut reader).await;
        match output.map(|output| (output.success(), built(&output))) {
            Ok((true, Ok(built))) => {
                reader.succeeded();
                let wanted = toplevels.iter().map(|(toplevel, _)| &toplevel.closure);
                wanted.eq(built.iter())
            }
            Ok(_) => false,
            Err(error) => {
                tracing::warn!(%error, "building one by one");
                false
            }
        }
    }

    async fn run_build(
        &self,
        words: Vec<OsString>,
        what: String,
        builders: Option<&Builders>,
        reader: &mut Reader<'_>,
    ) -> Result<Output, Error> {
        let args = ["build", "--json", "--log-format", "internal-json"].map(OsString::from);
        let args = args.into_iter().chain(words);
        let settings = builders.map_or("", Builders::settings);
        let mut run = self.nix_with_settings(settings, args, self.limits().build, what);
        if let Some(builders) = builders {
            run.env.push(("NIX_SSHOPTS".into(), builders.ssh_options()));
        }
        run.run_watched(&mut |line| reader.line(line)).await
    }

    async fn build_once(
        &self,
        toplevel: &Toplevel,
        BuildOptions { root, builders, progress }: BuildOptions<'_>,
    ) -> Result<(), Error> {
        let mut words: Vec<OsString> = match root {
            Some(root) => vec!["--out-link".into(), root.link().into()],
            None => vec!["--no-link".into()],
        };
        words.extend(["--".into(), out(toplevel)]);
        let what = format!("building {}", toplevel.derivation);
        let mut reader = Reader::new(progress);
        let output = self.run_build(words, what.clone(), builders, &mut reader).await?;
        if !output.success() {
            return Err(failure(toplevel, builders, reader, &output));
        }
        reader.succeeded();
        let bad = |why: String| Error::BadOutput { what: what.clone(), why };
        match built(&output).map_err(|why| bad(why.to_string()))?.as_slice() {
            [built] if *built == toplevel.closure => Ok(()),
            [built] => Err(bad(format!("{built} instead of {}", toplevel.closure))),
            built => Err(bad(format!("{} results instead of one", built.len()))),
        }
    }
}

/// The output of a toplevel that is the closure, as `nix build` takes it.
fn out(toplevel: &Toplevel) -> OsString {
    format!("{}^out", toplevel.derivation).into()
}

/// What a run that succeeded has built, in order.
fn built(output: &Output) -> Result<Vec<StorePath>, serde_json::Error> {
    let built: Vec<Built> = serde_json::from_str(&output.stdout)?;
    Ok(built.into_iter().map(|built| built.outputs.out).collect())
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
