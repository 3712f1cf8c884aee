//! `cimctl`: the hierarchy, names and drift of a Domain on the command line.
//!
//! ```text
//! args ──> access (API server) ──> world (the resources) ──> commands/* ──> output
//!                                       └─ cim_crds::names ──> cim_names::Hierarchy
//! ```
//!
//! Names are resolved here exactly as in the controller: both build them with `cim_crds::names` and
//! `cim-names`. States and drift are what the controller wrote into the status; nothing is observed
//! from here, and the only thing ever written is the annotation that requests a reconciliation.

mod access;
mod args;
mod commands;
mod error;
#[cfg(test)]
mod fixtures;
mod kinds;
mod output;
mod state;
mod style;
mod table;
mod world;

use std::{
    io::{self, Write},
    process::ExitCode,
};

pub use args::Program;
use args::{Cli, Command};
use commands::{drift, plan, reconcile, resolve, tree};
use error::Error;
use output::{Report, render};

/// The exit code of `drift --exit-code` when something differs.
const DRIFT_FOUND: u8 = 3;

/// Runs the program with the arguments of this process.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 drift found with `drift --exit-code`.
pub fn main(program: Program) -> ExitCode {
    let cli = program.parse();
    match run(program, &cli) {
        Ok(code) => code,
        // Whoever reads our output has seen enough, as in `cimctl tree | head -1`.
        Err(Error::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be gone, too; the exit code tells it then.
            let _ = writeln!(io::stderr(), "{}: {}", program.call(), error.chain());
            ExitCode::FAILURE
        }
    }
}

fn run(program: Program, cli: &Cli) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(dispatch(program, cli))
}

async fn dispatch(program: Program, cli: &Cli) -> Result<ExitCode, Error> {
    let connect = || access::Access::connect(&cli.global);
    let mut code = ExitCode::SUCCESS;
    match &cli.command {
        Command::Tree => print(cli, &tree::run(&connect().await?).await?)?,
        Command::Resolve { query, from } => {
            print(cli, &resolve::run(&connect().await?, query, from.as_deref()).await?)?;
        }
        Command::Drift { target, exit_code } => {
            let report = drift::run(&connect().await?, target).await?;
            print(cli, &report)?;
            if *exit_code && report.differs() {
                code = ExitCode::from(DRIFT_FOUND);
            }
        }
        Command::Plan { target } => print(cli, &plan::run(&connect().await?, target).await?)?,
        Command::Reconcile { kind, name, wait, timeout } => {
            let deadline = wait.then(|| (*timeout).into());
            print(cli, &reconcile::run(&connect().await?, *kind, name, deadline).await?)?;
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut program.command(), program.file(), &mut script);
            io::stdout().write_all(&script)?;
        }
        Command::Version => print(cli, &commands::version::run(program))?,
    }
    Ok(code)
}

fn print(cli: &Cli, report: &impl Report) -> Result<(), Error> {
    let text = render(report, cli.global.output, cli.global.colour())?;
    io::stdout().write_all(text.as_bytes())?;
    for remark in report.remarks() {
        writeln!(io::stderr(), "{remark}")?;
    }
    Ok(())
}
