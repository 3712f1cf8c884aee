//! What the controller does while nothing happens.

use std::{process::ExitCode, sync::Arc, time::Duration};

use cim_e2e::{
    home::{HOME, Home, Programs},
    lab::{self, Inside, Lab, error::humantime, servers::nats::new_operator},
    story::{Idle, STEPS, Scene, observe_idle, table},
};
use clap::value_parser;

/// The most that an idle controller should take.
const RSS_MIB: f64 = 60.0;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How long, in minutes
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u64).range(1..=600))]
    minutes: u64,
}

pub(super) async fn measure(
    inside: Inside,
    args: &Args,
    programs: &Programs,
) -> lab::Result<ExitCode> {
    let operator = new_operator("home")?;
    let lab = Lab::builder().kubernetes().dns().git().hosts(2).nats(operator, 3);
    let lab = lab.start(inside).await?;
    let home = Home::start(Arc::new(lab), programs, &HOME).await?;
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
