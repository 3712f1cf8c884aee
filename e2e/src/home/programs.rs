//! The controller and cimctl: built by the cargo that runs us, outside of the lab, which has no
//! network to fetch crates from.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde::Deserialize;

use crate::lab::{LabError, Result, run_watched, tools::Progress};

const CONTROLLER: &str = "cim-controller";
const CIMCTL: &str = "cimctl";
const EXPECTED: Duration = Duration::from_mins(2);

/// What cargo sets for the program that it runs. A cargo that is started with them would think that
/// crates whose build scripts look at them have changed, and build these again.
const OF_THIS_PROGRAM: [&str; 20] = [
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_AUTHORS",
    "CARGO_PKG_DESCRIPTION",
    "CARGO_PKG_HOMEPAGE",
    "CARGO_PKG_LICENSE",
    "CARGO_PKG_LICENSE_FILE",
    "CARGO_PKG_NAME",
    "CARGO_PKG_README",
    "CARGO_PKG_REPOSITORY",
    "CARGO_PKG_RUST_VERSION",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
    "CARGO_PRIMARY_PACKAGE",
];

/// Where the programs of this workspace come from.
#[derive(Clone, Debug, clap::Args)]
pub struct ProgramArgs {
    /// Run this controller instead of building one
    #[arg(long, value_name = "FILE")]
    controller: Option<PathBuf>,

    /// Show this cimctl instead of building one
    #[arg(long, value_name = "FILE")]
    cimctl: Option<PathBuf>,

    #[arg(long, env = "CARGO", hide = true, default_value = "cargo")]
    cargo: PathBuf,
}

/// How they are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quickly.
    Dev,
    /// As they are shipped.
    Release,
}

/// The files of the programs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `cim-controller`.
    pub controller: PathBuf,
    /// `cimctl`.
    pub cimctl: PathBuf,
}

impl ProgramArgs {
    /// Builds what was not given. The answer are the arguments that tell the process within the lab.
    pub fn build(&self, profile: Profile, progress: &Progress) -> Result<Vec<OsString>> {
        let mut words = Vec::new();
        if let (Some(_), Some(_)) = (&self.controller, &self.cimctl) {
            return Ok(words);
        }
        let built = build(&self.cargo, profile, progress)?;
        for (name, flag, given) in
            [(CONTROLLER, "--controller", &self.controller), (CIMCTL, "--cimctl", &self.cimctl)]
        {
            if given.is_none() {
                let path = built.get(name).ok_or_else(|| LabError::Unexpected {
                    what: "what cargo built".into(),
                    why: format!("there is no {name} in it"),
                })?;
                words.extend([flag.into(), path.into()]);
            }
        }
        Ok(words)
    }

    /// The programs, within the lab.
    pub fn programs(&self) -> Result<Programs> {
        let given = |path: &Option<PathBuf>, flag: &str| {
            path.clone().ok_or_else(|| LabError::Unexpected {
                what: "the arguments within the lab".into(),
                why: format!("{flag} is missing"),
            })
        };
        let controller = given(&self.controller, "--controller")?;
        Ok(Programs { controller, cimctl: given(&self.cimctl, "--cimctl")? })
    }
}

/// A line of what cargo tells programs.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    executable: Option<PathBuf>,
}

fn build(cargo: &Path, profile: Profile, progress: &Progress) -> Result<BTreeMap<String, PathBuf>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(["build", "--locked", "--package=cim-manager", "--package=cim-cli", "--bins"])
        .arg("--message-format=json-render-diagnostics");
    if profile == Profile::Release {
        command.arg("--release");
    }
    for name in OF_THIS_PROGRAM {
        command.env_remove(name);
    }
    let job = progress.begin("build the controller and cimctl", EXPECTED);
    let mut built = BTreeMap::new();
    run_watched(command, |line| {
        let Ok(message) = serde_json::from_str::<Message>(line) else {
            return job.now(line.trim());
        };
        let file = message.executable.filter(|_| message.reason == "compiler-artifact");
        let name = file.as_deref().and_then(Path::file_stem);
        if let (Some(name), Some(file)) = (name.map(|name| name.to_string_lossy().into()), &file) {
            built.insert(name, file.clone());
        }
    })?;
    job.done();
    Ok(built)
}
