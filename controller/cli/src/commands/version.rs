//! `version`.

use serde::Serialize;

use crate::{args::Program, output::Report};

/// What this program is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    program: &'static str,
    version: &'static str,
    api: String,
}

pub(crate) fn run(program: Program) -> About {
    About {
        program: program.call(),
        version: env!("CARGO_PKG_VERSION"),
        api: format!("{}/{}", cim_crds::GROUP, cim_crds::VERSION),
    }
}

impl Report for About {
    fn table(&self, _: bool) -> String {
        format!("{} {} ({})\n", self.program, self.version, self.api)
    }
}
