//! Delivery to a fleet by the crate that the controller uses, beside the same work in a shell loop.
//!
//! ```text
//! fleet     the targets, their repository, and the tools that both sides take
//! ours      resolve, evaluate, build, sign, copy, test, confirm; and looking when nothing is to do
//! by_hand   nix build, nix store sign, nix copy, ssh
//! wire      what a release needs at least, and what went over the interface
//! report    medians, ratios, the table
//! ```

mod by_hand;
mod fleet;
mod ours;
mod report;
mod wire;

use std::process::ExitCode;

use cim_e2e::lab::{Inside, Lab, targets};
use clap::{ValueEnum, value_parser};

use self::{
    by_hand::{How, Loop},
    fleet::Fleet,
    report::Report,
};
use super::Try;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many targets
    #[arg(long, default_value_t = 50, value_parser = value_parser!(u8).range(1..=i64::from(targets::MAX)))]
    targets: u8,

    /// How many rounds; medians of them are told
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u8).range(1..))]
    rounds: u8,

    /// How the result is written
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

pub(super) async fn measure(inside: Inside, args: &Args) -> Try<ExitCode> {
    let lab = Lab::builder().git().start(inside).await?;
    let fleet = Fleet::start(&lab, args.targets).await?;
    let by_hand = Loop::new(&fleet)?;
    let mut report = Report::new(args.targets);
    eprintln!("{} targets are up; each side delivers once to warm up", args.targets);
    by_hand.roll_out(&fleet.commit("warm up by hand").await?, How::AtOnce)?;
    let mut running = ours::roll_out(&fleet, &fleet.commit("warm up").await?).await?.release;
    for round in 1..=args.rounds {
        let rev = fleet.commit(&format!("round {round}")).await?;
        let rollout = ours::roll_out(&fleet, &rev).await?;
        let delta = wire::delta(&fleet, &running, &rollout.release)?;
        running.clone_from(&rollout.release);
        report.rollout(&rollout, delta);
        // The fleet is in sync now.
        for _ in 0..args.rounds {
            report.passes(ours::pass(&fleet, &running).await?, by_hand.round_trips()?);
        }
        let rev = fleet.commit(&format!("round {round} by hand")).await?;
        report.by_hand(&by_hand.roll_out(&rev, How::AtOnce)?);
        let rev = fleet.commit(&format!("round {round} by hand, with care")).await?;
        let rollout = by_hand.roll_out(&rev, How::WithCare)?;
        report.with_care(&rollout);
        running = rollout.release;
        eprintln!("round {round} of {} is done", args.rounds);
    }
    match args.output {
        Output::Table => print!("{}", report.table()),
        Output::Json => println!("{}", report.json()),
    }
    Ok(ExitCode::SUCCESS)
}
