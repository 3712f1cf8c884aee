//! `cargo demo`: a lab comes up, examples are applied, and the Domain becomes true.

use std::{ffi::OsString, path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use cim_e2e::{
    home::{Estate, HOME, Home, Profile, ProgramArgs, Programs, SHOP},
    lab::{
        self, Inside, Lab, LabError, Openings,
        args::LabArgs,
        error::humantime,
        servers::{kubernetes::RemoteCluster, nats::new_operator},
        tools::{Cache, Progress, Tools},
    },
    story::{Console, PROMOTION, STEPS, Scene, Step},
};
use clap::{Parser, ValueEnum, builder::PossibleValuesParser};
use tokio::runtime::Runtime;

/// The door to the API server, and the window to that of a cluster outside.
const KUBERNETES: &str = "kubernetes";

/// Starts a lab of real servers, applies examples and shows how the Domain becomes true.
/// Stays up until Ctrl-C, so that you can look around.
#[derive(Debug, Parser)]
#[command(name = "cargo demo")]
struct Args {
    /// Tear everything down at the end; the exit code is 0 only if every step was seen to hold
    #[arg(long)]
    once: bool,

    /// Play only these steps; the servers start and the Domain is applied all the same
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    #[arg(value_parser = step_names())]
    only: Vec<String>,

    /// Use the Kubernetes API of a cluster that you have already (kind, k3s, microk8s) instead of the
    /// lab's own. The definitions and the namespaces `home` and `cim-system` are left in it
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Which story
    #[arg(long, value_enum, default_value_t = StoryName::Home)]
    story: StoryName,

    #[command(flatten)]
    programs: ProgramArgs,

    #[command(flatten)]
    lab: LabArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StoryName {
    /// Two hosts, one website, one set of names: examples/home/
    Home,
    /// What dev ran and somebody approved reaches prod: examples/promotion/
    Promotion,
}

impl StoryName {
    fn estate(self) -> &'static Estate {
        match self {
            Self::Home => &HOME,
            Self::Promotion => &SHOP,
        }
    }

    fn steps(self) -> &'static [Step] {
        match self {
            Self::Home => &STEPS,
            Self::Promotion => &PROMOTION,
        }
    }
}

/// The steps of all stories.
fn step_names() -> PossibleValuesParser {
    PossibleValuesParser::new(STEPS.iter().chain(&PROMOTION).map(|step| step.name))
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
    match inside {
        None => outside(&args, words),
        Some(inside) => {
            let runtime = Runtime::new().map_err(|source| LabError::System {
                action: "start the runtime".into(),
                source,
            })?;
            runtime.block_on(within(inside, &args))
        }
    }
}

/// Builds everything, where there is a network, and enters the lab.
fn outside(args: &Args, words: Vec<OsString>) -> lab::Result<ExitCode> {
    let progress = Progress::new();
    let tools = Tools::obtain(&Cache::at(args.lab.cache_dir()), &progress)?;
    let programs = args.programs.build(Profile::Dev, &progress)?;
    let mut openings = Openings::from(&[KUBERNETES]);
    if let Some(file) = &args.kubeconfig {
        let cluster = RemoteCluster::read(&tools, file)?;
        openings.windows.push((KUBERNETES.into(), cluster.address()));
    }
    lab::isolate(tools, openings, words.into_iter().skip(1).chain(programs))
}

async fn within(inside: Inside, args: &Args) -> lab::Result<ExitCode> {
    let mut stop = inside.stop_requested();
    let mut told = inside.stop_requested();
    let programs = args.programs.programs()?;
    let show = async {
        let console = Console::default();
        let played = play(inside, args, &programs, &console).await;
        println!("\n{}", console.table());
        played
    };
    let played = tokio::select! {
        played = show => played,
        _ = stop.wait_for(|stop| *stop) => return Ok(ExitCode::from(130)),
    };
    if args.once {
        return Ok(if played.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    // The lab ends with whoever holds it.
    if let Ok(home) | Err(Some(home)) = &played {
        look_around(home)?;
        let _ = told.wait_for(|stop| *stop).await;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// Plays the story; without success the Domain as it was left, if there is one.
async fn play(
    inside: Inside,
    args: &Args,
    programs: &Programs,
    console: &Console,
) -> Result<Home, Option<Home>> {
    let servers = "Kubernetes, three NATS servers, Knot, git and the hosts are up";
    let lab = console.step("servers", servers, start(inside, args)).await.ok_or(None)?;
    let home = console.step("controller", "the controller is ready", async {
        let home = Home::prepare(Arc::new(lab), programs, args.story.estate()).await?;
        home.start_controller().await?;
        Ok(home)
    });
    let home = home.await.ok_or(None)?;
    let applied = console.step("apply", "the examples are accepted", home.apply()).await;
    if applied.is_none() {
        return Err(Some(home));
    }
    let hear = |fact| console.fact(&fact);
    let scene = Scene { home: &home, applied: Instant::now(), hear: &hear };
    for step in args.story.steps() {
        let wanted = args.only.is_empty() || args.only.iter().any(|name| name == step.name);
        if wanted && console.step(step.name, step.shows, step.play(&scene)).await.is_none() {
            return Err(Some(home));
        }
    }
    println!(
        "\nAll of it was seen to hold, {} after the Domain was applied.",
        humantime(scene.applied.elapsed())
    );
    Ok(home)
}

async fn start(inside: Inside, args: &Args) -> lab::Result<Lab> {
    let operator = new_operator("home")?;
    let hosts = u8::try_from(args.story.estate().hosts.end).unwrap_or(u8::MAX);
    let builder = Lab::builder().dns().git().hosts(hosts).nats(operator, 3);
    let builder = match &args.kubeconfig {
        Some(file) => {
            builder.kubernetes_outside(RemoteCluster::read(inside.tools(), file)?, KUBERNETES)
        }
        None => builder.kubernetes(),
    };
    builder.start(inside).await
}

/// Says how to look at what is there, from another terminal.
fn look_around(home: &Home) -> lab::Result<()> {
    let kubeconfig = home.lab().publish_kubernetes(KUBERNETES)?;
    let tools = home.lab().inside().tools();
    let kubectl = tools.program("kubectl").display();
    let cimctl = home.cimctl().display();
    println!("Everything stays up. In another terminal:");
    println!("  export KUBECONFIG={}", kubeconfig.display());
    let namespace = home.estate().namespace;
    println!("  {kubectl} get cim --namespace {namespace}");
    println!("  {cimctl} tree --namespace {namespace}");
    println!("Logs: {}", home.lab().logs().display());
    println!("Ctrl-C ends it.");
    Ok(())
}
