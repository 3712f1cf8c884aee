//! `cargo bench-e2e NAME`: measurements in a lab of real servers.

mod idle;
mod nixos;

use std::{error::Error, ffi::OsString, process::ExitCode};

use cim_e2e::{
    home::{Profile, ProgramArgs},
    lab::{
        self, Inside,
        args::LabArgs,
        tools::{Cache, Progress, Tools},
    },
};
use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

/// Nobody tells the errors of a bench apart.
type Try<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Measures in a lab of real servers.
#[derive(Debug, Parser)]
#[command(name = "cargo bench-e2e")]
struct Args {
    /// What is measured
    #[command(subcommand)]
    bench: Bench,

    #[command(flatten)]
    programs: ProgramArgs,

    #[command(flatten)]
    lab: LabArgs,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// What the controller does with the demo's objects while nothing happens: API writes, memory,
    /// processor time
    Idle(idle::Args),
    /// Delivery to a fleet, beside the same work in a shell loop
    Nixos(nixos::Args),
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn run() -> Try<ExitCode> {
    let (inside, words) = Inside::arrive(std::env::args_os())?;
    let args = Args::parse_from(&words);
    let Some(inside) = inside else { return outside(&args, words) };
    let mut stop = inside.stop_requested();
    Runtime::new()?.block_on(async {
        tokio::select! {
            measured = measure(inside, &args) => measured,
            _ = stop.wait_for(|stop| *stop) => Ok(ExitCode::from(130)),
        }
    })
}

fn outside(args: &Args, words: Vec<OsString>) -> Try<ExitCode> {
    let progress = Progress::new();
    let tools = Tools::obtain(&Cache::at(args.lab.cache_dir()), &progress)?;
    let words = words.into_iter().skip(1);
    Ok(match args.bench {
        // In front: they are arguments of the program, not of the bench.
        Bench::Idle(_) => {
            let programs = args.programs.build(Profile::Release, &progress)?;
            lab::isolate(tools, &[], programs.into_iter().chain(words))?
        }
        Bench::Nixos(_) => lab::isolate(tools, &[], words)?,
    })
}

async fn measure(inside: Inside, args: &Args) -> Try<ExitCode> {
    match &args.bench {
        Bench::Idle(of) => Ok(idle::measure(inside, of, &args.programs.programs()?).await?),
        Bench::Nixos(of) => nixos::measure(inside, of).await,
    }
}
