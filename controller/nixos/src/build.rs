//! Building a closure in the local store.

use serde::Deserialize;

use crate::error::Error;
use crate::evaluate::Toplevel;
use crate::nix::Nix;
use crate::process::Output;
use crate::progress::{ProgressSink, Reader};
use crate::source::one_line;
use crate::store_path::StorePath;

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
    /// # Errors
    /// [`Error::BuildFailed`] with the end of the log, [`Error::Timeout`].
    pub async fn build(
        &self,
        toplevel: &Toplevel,
        progress: Option<&ProgressSink>,
    ) -> Result<(), Error> {
        let installable = format!("{}^out", toplevel.derivation);
        let args =
            ["build", "--no-link", "--json", "--log-format", "internal-json", "--", &installable];
        let what = format!("building {}", toplevel.derivation);
        let mut reader = Reader::new(progress);
        let output = self
            .nix(args, self.limits().build, what.clone())
            .run_watched(&mut |line| reader.line(line))
            .await?;
        if !output.success() {
            return Err(failure(toplevel, reader, &output));
        }
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

fn failure(toplevel: &Toplevel, reader: Reader<'_>, output: &Output) -> Error {
    let (errors, log) = reader.finish();
    let detail = if errors.is_empty() { &output.stderr } else { &errors };
    Error::BuildFailed {
        derivation: toplevel.derivation.to_string(),
        detail: one_line(detail),
        log,
    }
}
