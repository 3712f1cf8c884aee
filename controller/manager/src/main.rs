//! `cim-controller`: keeps the Domains of a Kubernetes cluster true.

use std::process::ExitCode;

use clap::Parser;

use cim_manager::{Args, ops::telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = telemetry::init(&args.telemetry) {
        eprintln!("cim-controller: {error}");
        return ExitCode::FAILURE;
    }
    match cim_manager::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = telemetry::chain(&error), reason = error.reason(), "stopped");
            ExitCode::FAILURE
        }
    }
}
