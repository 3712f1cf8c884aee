//! The lab, started for a person, who gets a kubeconfig for it.

use std::process::ExitCode;

use cim_e2e::lab::{
    self, Inside, Lab, LabError,
    args::LabArgs,
    servers::nats::new_operator,
    tools::{Cache, Progress, Tools},
};
use clap::Parser;
use tokio::runtime::Runtime;

/// The door to the API server.
const KUBERNETES: &str = "kubernetes";

#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    lab: LabArgs,
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
    let Some(inside) = inside else {
        let tools = Tools::obtain(&Cache::at(args.lab.cache_dir()), &Progress::new())?;
        return lab::isolate(tools, &[KUBERNETES], words.into_iter().skip(1));
    };
    let runtime = Runtime::new()
        .map_err(|source| LabError::System { action: "start the runtime".into(), source })?;
    runtime.block_on(async {
        let mut stop = inside.stop_requested();
        let operator = new_operator("home")?;
        let builder = Lab::builder().kubernetes().dns().git().hosts(2).nats(operator, 3);
        let lab = builder.start(inside).await?;
        let kubeconfig = lab.publish_kubernetes(KUBERNETES)?;
        println!("The lab is up. In another terminal:");
        println!("  export KUBECONFIG={}", kubeconfig.display());
        println!("  {} get namespaces", lab.inside().tools().program("kubectl").display());
        println!("Ctrl-C ends it.");
        let _ = stop.wait_for(|stop| *stop).await;
        Ok(ExitCode::SUCCESS)
    })
}
