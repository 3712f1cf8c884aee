//! The lab, started for a person.

use std::{process::ExitCode, time::Instant};

use cim_e2e::lab::{
    self, Inside, Lab,
    args::LabArgs,
    servers::nats::new_operator,
    tools::{Cache, Progress, Tools},
};
use clap::Parser;

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    lab: LabArgs,
    #[arg(long)]
    once: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> lab::Result<ExitCode> {
    let (inside, args) = Inside::arrive(std::env::args_os())?;
    let parsed = Args::parse_from(&args);
    let Some(inside) = inside else {
        let tools = Tools::obtain(&Cache::at(parsed.lab.cache_dir()), &Progress::new())?;
        return lab::isolate(tools, &["kubernetes"], args.into_iter().skip(1));
    };
    let rt = tokio::runtime::Runtime::new().unwrap();
    rt.block_on(async {
        let t = Instant::now();
        let mut stop = inside.stop_requested();
        let lab = Lab::builder().kubernetes().dns().git().hosts(2).nats(new_operator("home")?, 3).start(inside).await?;
        println!("up after {:?}", t.elapsed());
        let kc = lab.publish_kubernetes("kubernetes")?;
        println!("kubectl --kubeconfig {}", kc.display());
        println!("{}", lab.kubernetes()?.kubectl().run(&["get", "ns"]).await?);
        lab.dns()?.nsupdate("example.com", &["add x.example.com 300 A 10.0.0.77"]).await?;
        println!("{:?}", lab.dns()?.dig(&["+short", "x.example.com", "A"]).await?);
        println!("{:#?}", lab.dns()?.transfer("example.com").await?);
        let repo = lab.git()?.create("infra", &Lab::fixture("infra"), &[("/usr/bin/busybox", "bin/busybox")]).await?;
        println!("{}", lab.tool("git", &["ls-remote", &repo.url()])?);
        println!("{}", lab.host(1)?.exec("id deploy; sudo -lU deploy; nix --version; nix store info; cat /proc/sys/kernel/random/boot_id; systemctl --failed").await?);
        lab.check()?;
        if !parsed.once { let _ = stop.wait_for(|s| *s).await; }
        Ok(ExitCode::SUCCESS)
    })
}
