//! `cimctl`: the hierarchy, names, drift and releases of a Domain on the command line.
//!
//! ```text
//! args ──> access (API server) ──> world (the resources) ──> commands/* ──> output
//!                                       ├─ cim_crds::names ──> cim_names::Hierarchy
//!                                       └─ release (what one is, which one is meant)
//! proposal: show ──> have it checked ──> ask ──> write ──> wait
//! ```
//!
//! Names are resolved here exactly as in the controller: both build them with `cim_crds::names` and
//! `cim-names`. States and drift are what the controller wrote into the status; nothing is observed
//! from here. Written are the annotations that request a reconciliation, and what a person decides about
//! a Cluster's release: `spec.promotion.approved`, or `spec.source.rev` with its hash.

mod access;
mod args;
mod commands;
mod error;
#[cfg(test)]
mod fixtures;
mod kinds;
mod output;
mod proposal;
mod release;
mod state;
mod style;
mod table;
mod target;
mod wait;
mod world;

use std::{
    ffi::OsString,
    io::{self, BufRead, IsTerminal, Write},
    process::ExitCode,
};

pub use args::Program;
use args::{Cli, Command};
use commands::{
    approve, confirm, diff, drift, history, logs, plan, reconcile, resolve, rollback, tree, version,
};
use error::Error;
use output::{Report, render};
use proposal::Manner;

/// Done.
pub const DONE: u8 = 0;
/// Failed; standard error says why.
pub const FAILED: u8 = 1;
/// Wrong usage.
pub const MISUSED: u8 = 2;
/// Something differs; of `drift --exit-code` and `diff --exit-code` only.
pub const DRIFT_FOUND: u8 = 3;

/// Where the program prints, and whom it may ask.
pub struct Console<'c> {
    /// Results.
    pub out: &'c mut dyn Write,
    /// Errors and remarks.
    pub err: &'c mut dyn Write,
    /// Whether `out` is a terminal.
    pub terminal: bool,
    /// Whether `err` is the terminal of this process; bars are drawn there.
    pub err_terminal: bool,
    /// Answers, if there is somebody to ask.
    pub input: Option<&'c mut dyn BufRead>,
}

impl Console<'_> {
    /// Asks whether to go on; an error if not.
    fn confirm(&mut self, command: &'static str, what: &str) -> Result<(), Error> {
        let Some(input) = &mut self.input else { return Err(Error::NobodyToAsk { command }) };
        write!(self.err, "{what}\nGo on? [y/N] ")?;
        self.err.flush()?;
        let mut answer = String::new();
        input.read_line(&mut answer)?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Error::Declined),
        }
    }
}

/// Runs the program with the arguments of this process.
pub fn main(program: Program) -> ExitCode {
    let (mut out, mut err, mut answers) = (io::stdout(), io::stderr(), io::stdin().lock());
    let (terminal, err_terminal) = (out.is_terminal(), err.is_terminal());
    let asks = err_terminal && answers.is_terminal();
    let input = asks.then_some(&mut answers as &mut dyn BufRead);
    let mut console = Console { out: &mut out, err: &mut err, terminal, err_terminal, input };
    run(program, std::env::args_os(), &mut console).into()
}

/// Runs the program with `words`, of which the first is its own name; its exit code.
///
/// # Panics
/// When called from within an asynchronous runtime: it has its own.
pub fn run(
    program: Program,
    words: impl IntoIterator<Item = OsString>,
    console: &mut Console<'_>,
) -> u8 {
    let cli = match program.parse(words) {
        Ok(cli) => cli,
        Err(usage) => {
            // Where nobody reads it, the exit code is all there is.
            let _ = explain(&usage, console);
            return u8::try_from(usage.exit_code()).unwrap_or(FAILED);
        }
    };
    match start(program, &cli, console) {
        Ok(code) => code,
        // Whoever reads our output has seen enough, as in `cimctl tree | head -1`.
        Err(Error::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => DONE,
        Err(error) => {
            let _ = writeln!(console.err, "{}: {}", program.call(), error.chain());
            if matches!(error, Error::Usage(_)) { MISUSED } else { FAILED }
        }
    }
}

/// Prints a usage error, or the help that somebody asked for.
fn explain(usage: &clap::Error, console: &mut Console<'_>) -> io::Result<()> {
    let text = usage.render();
    let coloured = args::colour_by_default(console.terminal);
    let text = if coloured { text.ansi().to_string() } else { text.to_string() };
    let to = if usage.use_stderr() { &mut console.err } else { &mut console.out };
    to.write_all(text.as_bytes())
}

fn start(program: Program, cli: &Cli, console: &mut Console<'_>) -> Result<u8, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(dispatch(program, cli, console))
}

async fn dispatch(program: Program, cli: &Cli, console: &mut Console<'_>) -> Result<u8, Error> {
    let connect = || access::Access::connect(&cli.global);
    let mut code = DONE;
    match &cli.command {
        Command::Tree => print(cli, console, &tree::run(&connect().await?).await?)?,
        Command::Resolve { query, from } => {
            let answers = resolve::run(&connect().await?, query, from.as_deref()).await?;
            print(cli, console, &answers)?;
        }
        Command::Drift { target, exit_code } => {
            let report = drift::run(&connect().await?, target).await?;
            print(cli, console, &report)?;
            if *exit_code && report.differs() {
                code = DRIFT_FOUND;
            }
        }
        Command::Plan { target, wide } => {
            print(cli, console, &plan::run(&connect().await?, target, *wide).await?)?;
        }
        Command::Diff { cluster, to, wide, exit_code } => {
            let report = diff::run(&connect().await?, cluster, to.as_deref(), *wide).await?;
            print(cli, console, &report)?;
            if *exit_code && report.differs() {
                code = DRIFT_FOUND;
            }
        }
        Command::Approve { from, receiver, comment, consent, patience } => {
            let manner = manner(cli, "approve", approve::MANAGER, (*consent, *patience));
            let what = (from, receiver.as_deref());
            let access = connect().await?;
            let done = approve::run(&access, console, manner, what, comment.as_deref()).await?;
            print(cli, console, &done)?;
        }
        Command::Confirm { target, consent } => {
            let access = connect().await?;
            let done = confirm::run(&access, console, &cli.global, target, *consent).await?;
            print(cli, console, &done)?;
        }
        Command::History { cluster } => {
            print(cli, console, &history::run(&connect().await?, cluster).await?)?;
        }
        Command::Rollback { cluster, to, release, comment, consent, patience } => {
            let manner = manner(cli, "rollback", rollback::MANAGER, (*consent, *patience));
            let to = match release {
                true => rollback::To::Branch,
                false => rollback::To::Past(to.as_deref()),
            };
            let access = connect().await?;
            let what = (cluster.as_str(), to);
            let done = rollback::run(&access, console, manner, what, comment.as_deref()).await?;
            print(cli, console, &done)?;
        }
        Command::Logs { target, build, activation, install, follow } => {
            let (build, activation, install) = (*build, *activation, *install);
            let which = logs::Which { build, activation, install };
            let access = connect().await?;
            if *follow {
                let colour = cli.global.colour(console.terminal);
                logs::follow(&access, console, target, which, colour).await?;
            } else {
                print(cli, console, &logs::run(&access, target, which).await?)?;
            }
        }
        Command::Reconcile { target, retry, wait, timeout } => {
            let deadline = wait.then(|| (*timeout).into());
            let requested = reconcile::run(&connect().await?, target, *retry, deadline).await?;
            print(cli, console, &requested)?;
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut program.command(), program.file(), &mut script);
            console.out.write_all(&script)?;
        }
        Command::Version => print(cli, console, &version::run(program))?,
    }
    Ok(code)
}

fn manner<'c>(
    cli: &'c Cli,
    command: &'static str,
    manager: &'static str,
    (consent, patience): (args::Consent, args::Patience),
) -> Manner<'c> {
    Manner { command, manager, global: &cli.global, consent, patience }
}

fn print(cli: &Cli, console: &mut Console<'_>, report: &impl Report) -> Result<(), Error> {
    let text = render(report, cli.global.output, cli.global.colour(console.terminal))?;
    console.out.write_all(text.as_bytes())?;
    for remark in report.remarks() {
        writeln!(console.err, "{remark}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[&str]) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console {
            out: &mut out,
            err: &mut err,
            terminal: false,
            err_terminal: false,
            input: None,
        };
        let code = run(Program::Cimctl, words.iter().map(OsString::from), &mut console);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn help_is_a_result_and_wrong_usage_an_error() {
        let (code, out, err) = told(&["cimctl", "--help"]);
        assert!(code == DONE && out.contains("Usage: cimctl") && err.is_empty(), "{out}{err}");
        let (code, out, err) = told(&["cimctl", "drift", "pod/x"]);
        assert!(code == 2 && out.is_empty() && err.contains("no kind of that name"), "{out}{err}");
    }

    #[test]
    fn a_missing_kubeconfig_is_named() {
        let (code, out, err) = told(&["cimctl", "tree", "--kubeconfig", "/does/not/exist"]);
        assert!(code == FAILED && out.is_empty(), "{out}");
        assert!(err.starts_with("cimctl: cannot use the kubeconfig /does/not/exist"), "{err}");
    }

    #[test]
    fn completion_and_version_need_no_cluster() {
        let (code, out, _) = told(&["cimctl", "completion", "fish"]);
        assert!(code == DONE && out.contains("reconcile"), "{out}");
        let (code, out, _) = told(&["cimctl", "version", "-o", "json"]);
        assert!(code == DONE && out.contains("cim.dev/v1alpha1"), "{out}");
    }
}
