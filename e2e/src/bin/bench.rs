//! `cargo bench-e2e NAME`: measurements in a lab of real servers, with the controller as it is shipped.

use std::{ffi::OsString, process::ExitCode, sync::Arc, time::Duration};

use cim_e2e::{
    home::{HOME, Home, Profile, ProgramArgs},
    lab::{
        self, Inside, Lab, LabError,
        args::LabArgs,
        error::humantime,
        servers::nats::new_operator,
        tools::{Cache, Progress, Tools},
    },
    story::{Idle, STEPS, Scene, observe_idle, table},
};
use clap::{Parser, ValueEnum, value_parser};
use tokio::runtime::Runtime;

/// The most that an idle controller should take.
const RSS_MIB: f64 = 60.0;

/// Measures the controller in a lab of real servers.
#[derive(Debug, Parser)]
#[command(name = "cargo bench-e2e")]
struct Args {
    /// What is measured
    #[arg(value_enum)]
    bench: Bench,

    /// How long, in minutes
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u64).range(1..=600))]
    minutes: u64,

    #[command(flatten)]
    programs: ProgramArgs,

    #[command(flatten)]
    lab: LabArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// What the controller does with the demo's objects while nothing happens: API writes, memory,
    /// processor time
    Idle,
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn run() -> lab::Result<ExitCode> {
    let (inside, words) = Inside::arrive(std::env::args_os())?;
    let args = Args::parse_from(&words);
    let Some(inside) = inside else { return outside(&args, words) };
    let runtime = Runtime::new()
        .map_err(|source| LabError::System { action: "start the runtime".into(), source })?;
    let mut stop = inside.stop_requested();
    runtime.block_on(async {
        tokio::select! {
            measured = measure(inside, &args) => measured,
            _ = stop.wait_for(|stop| *stop) => Ok(ExitCode::from(130)),
        }
    })
}

fn outside(args: &Args, words: Vec<OsString>) -> lab::Result<ExitCode> {
    let progress = Progress::new();
    let tools = Tools::obtain(&Cache::at(args.lab.cache_dir()), &progress)?;
    let programs = args.programs.build(Profile::Release, &progress)?;
    lab::isolate(tools, &[], words.into_iter().skip(1).chain(programs))
}

async fn measure(inside: Inside, args: &Args) -> lab::Result<ExitCode> {
    let Bench::Idle = args.bench;
    let programs = args.programs.programs()?;
    let operator = new_operator("home")?;
    let lab = Lab::builder().kubernetes().dns().git().hosts(2).nats(operator, 3);
    let lab = lab.start(inside).await?;
    let home = Home::start(Arc::new(lab), &programs, &HOME).await?;
    println!("The Domain becomes true; then nothing happens for {} minutes.", args.minutes);
    // With an object, so that there are copies to look after.
    for step in STEPS.iter().filter(|step| matches!(step.name, "object" | "ready")) {
        let scene = Scene { home: &home, applied: std::time::Instant::now(), hear: &drop };
        step.play(&scene).await?;
    }
    let objects = home.objects().await?.len();
    let idle = observe_idle(&home, Duration::from_mins(args.minutes)).await?;
    print!("{}", report(&idle, objects, args.minutes));
    for write in &idle.writes {
        println!("unexpected: {write}");
    }
    Ok(if idle.writes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(idle: &Idle, objects: usize, minutes: u64) -> String {
    let row = |what: &str, value: String, goal: &str| vec![what.to_owned(), value, goal.to_owned()];
    let rows = [
        row("objects", objects.to_string(), ""),
        row("time", humantime(Duration::from_mins(minutes)), ""),
        row("API writes", idle.writes.len().to_string(), "0"),
        row("renewals of the leader lease", idle.renewals.to_string(), ""),
        row("reconciles", format!("{:.0}", idle.reconciles), ""),
        row("processor time", format!("{:.2}s", idle.cpu.as_secs_f64()), ""),
        row("resident memory now", mebibytes(idle.rss), &format!("< {RSS_MIB} MiB")),
        row("resident memory at most", mebibytes(idle.peak), ""),
    ];
    table(["WHAT", "MEASURED", "GOAL"], &rows)
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
