//! Runs cases in a lab, and speaks like Rust's own test harness.

use std::{
    error::Error,
    ffi::OsString,
    path::PathBuf,
    pin::Pin,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use cim_e2e::{
    home::{BARE, Estate, HOME, Home, Profile, ProgramArgs, SHOP},
    lab::{
        self, Inside, Lab, Openings,
        args::LabArgs,
        servers::nats::new_operator,
        tools::{Cache, Progress, Tools, refusal},
    },
};
use clap::{Parser, builder::FalseyValueParser};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::{runtime::Runtime, sync::OnceCell, time::timeout};

use crate::took::Took;

/// What a case returns: any error fails it.
pub(crate) type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

type InLab = for<'lab> fn(&'lab Lab) -> Pin<Box<dyn Future<Output = Outcome> + 'lab>>;
type AtHome = for<'home> fn(&'home Home) -> Pin<Box<dyn Future<Output = Outcome> + 'home>>;

/// What a case gets.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// The lab alone.
    Lab(InLab),
    /// The Domain of `examples/home/`, kept by the controller.
    Home(AtHome),
    /// That of `examples/promotion/`.
    Shop(AtHome),
    /// That of `examples/first-install/`, of which nothing is applied and no controller runs yet.
    Bare(AtHome),
}

/// No case takes longer; a hang is a failure with a name.
const DEADLINE: Duration = Duration::from_mins(10);

/// A test that gets the shared lab.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: Run,
}

/// A list of cases by the paths of their functions.
macro_rules! cases {
    ($($path:path),* $(,)?) => {
        vec![$($crate::harness::Case {
            name: stringify!($path),
            run: $crate::harness::Run::Lab(|lab| Box::pin($path(lab))),
        }),*]
    };
}
pub(crate) use cases;

/// The same for cases that get the shared Domain.
macro_rules! at_home {
    ($($path:path),* $(,)?) => {
        vec![$($crate::harness::Case {
            name: stringify!($path),
            run: $crate::harness::Run::Home(|home| Box::pin($path(home))),
        }),*]
    };
}
pub(crate) use at_home;

/// The same for those of the shared Domain with dev and prod.
macro_rules! at_shop {
    ($($path:path),* $(,)?) => {
        vec![$($crate::harness::Case {
            name: stringify!($path),
            run: $crate::harness::Run::Shop(|home| Box::pin($path(home))),
        }),*]
    };
}
pub(crate) use at_shop;

/// The same for those that install a bare machine.
macro_rules! at_bare {
    ($($path:path),* $(,)?) => {
        vec![$($crate::harness::Case {
            name: stringify!($path),
            run: $crate::harness::Run::Bare(|home| Box::pin($path(home))),
        }),*]
    };
}
pub(crate) use at_bare;

/// The lab and, once somebody asked for it, the Domain in it.
struct Stage {
    lab: Arc<Lab>,
    home: OnceCell<Result<Home, String>>,
    shop: OnceCell<Result<Home, String>>,
    bare: OnceCell<Result<Home, String>>,
    programs: ProgramArgs,
}

/// The command line: libtest's and the lab's.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    libtest: Arguments,

    #[command(flatten)]
    lab: LabArgs,

    #[command(flatten)]
    programs: ProgramArgs,

    /// Fail cases that cannot run here, instead of skipping them.
    #[arg(long, env = "CI", value_parser = FalseyValueParser::new())]
    ci: bool,

    /// Start a small lab, say "ready" and wait; for the cases about labs themselves.
    #[arg(long, hide = true)]
    hold: bool,

    /// A cluster outside for that lab.
    #[arg(long, hide = true, requires = "hold")]
    kubeconfig: Option<PathBuf>,
}

/// The program: outside it gets the tools and isolates itself, inside it runs the cases.
pub(crate) fn main(cases: Vec<Case>) -> ExitCode {
    run(cases).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn run(cases: Vec<Case>) -> lab::Result<ExitCode> {
    let (inside, words) = Inside::arrive(std::env::args_os())?;
    let mut args = Args::parse_from(&words);
    // They share a lab and two cores; whoever wants them at once says so.
    args.libtest.test_threads.get_or_insert(1);
    match inside {
        Some(inside) if args.hold => crate::hold::hold(inside, args.kubeconfig.as_deref()),
        Some(inside) => Ok(run_inside(inside, &args, cases)),
        None => run_outside(&args, words, cases),
    }
}

fn run_outside(args: &Args, words: Vec<OsString>, cases: Vec<Case>) -> lab::Result<ExitCode> {
    if let Some(why) = refusal() {
        return Ok(skip(args, cases, &why));
    }
    let wanted = |case: &Case| !args.libtest.is_filtered_out(&Trial::test(case.name, || Ok(())));
    if args.libtest.list || !args.hold && !cases.iter().any(wanted) {
        // Nothing will run, so nothing needs a lab.
        let trials = cases.into_iter().map(|case| Trial::test(case.name, || Ok(()))).collect();
        return Ok(libtest_mimic::run(&args.libtest, trials).exit_code());
    }
    let progress = Progress::new();
    let tools = Tools::obtain(&Cache::at(args.lab.cache_dir()), &progress)?;
    let at_home = |case: &Case| wanted(case) && !matches!(case.run, Run::Lab(_));
    let programs = if !args.hold && cases.iter().any(at_home) {
        args.programs.build(Profile::Dev, &progress)?
    } else {
        Vec::new()
    };
    let openings = if args.hold {
        crate::hold::openings(&tools, args.kubeconfig.as_deref())?
    } else {
        Openings::default()
    };
    lab::isolate(tools, openings, words.into_iter().skip(1).chain(programs))
}

/// Reports every case as ignored, or as failed where a skip must not go unseen.
fn skip(args: &Args, cases: Vec<Case>, why: &str) -> ExitCode {
    let skipped = |case: Case| {
        let why = why.to_owned();
        let reason = why.clone();
        Trial::test(case.name, move || Err(Failed::from(reason))).with_ignored_flag(!args.ci)
    };
    if !args.ci {
        eprintln!("skipping {} cases: {why}", cases.len());
    }
    libtest_mimic::run(&args.libtest, cases.into_iter().map(skipped).collect()).exit_code()
}

fn run_inside(inside: Inside, args: &Args, cases: Vec<Case>) -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut stop = inside.stop_requested();
    runtime.spawn(async move {
        // The end of this process ends the lab; 130 is what a shell says of Ctrl-C.
        if stop.wait_for(|stop| *stop).await.is_ok() {
            std::process::exit(130);
        }
    });
    let lab = runtime.block_on(start(inside)).map_err(|error| error.to_string());
    let programs = args.programs.clone();
    let stage = lab.map(|lab| Stage {
        lab: Arc::new(lab),
        home: OnceCell::new(),
        shop: OnceCell::new(),
        bare: OnceCell::new(),
        programs,
    });
    let stage = Arc::new(stage);
    let took = Arc::new(Took::default());
    let trial = |case: Case| {
        let (runtime, stage, took) = (Arc::clone(&runtime), Arc::clone(&stage), Arc::clone(&took));
        Trial::test(case.name, move || match &*stage {
            Ok(stage) => {
                let began = Instant::now();
                let outcome = runtime.block_on(run_case(stage, case.run));
                took.note(case.name, began.elapsed());
                outcome
            }
            Err(error) => Err(format!("the lab did not start: {error}").into()),
        })
    };
    let trials = cases.into_iter().map(trial).collect();
    let exit_code = libtest_mimic::run(&args.libtest, trials).exit_code();
    if let Some(slowest) = took.slowest() {
        eprintln!("{slowest}");
    }
    exit_code
}

async fn start(inside: Inside) -> lab::Result<Lab> {
    let operator = new_operator("lab")?;
    Lab::builder().kubernetes().dns().git().hosts(5).nats(operator, 3).start(inside).await
}

async fn run_case(stage: &Stage, run: Run) -> Result<(), Failed> {
    let lab = &stage.lab;
    let case = async {
        match run {
            Run::Lab(run) => run(lab).await,
            Run::Home(run) => run(stage.domain(&stage.home, &HOME).await?).await,
            Run::Shop(run) => run(stage.domain(&stage.shop, &SHOP).await?).await,
            Run::Bare(run) => run(stage.prepared(&BARE).await?).await,
        }
    };
    let outcome = match timeout(DEADLINE, case).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err(format!("not done within {}", lab::error::humantime(DEADLINE))),
    };
    // A dead server explains a failure better than whatever missed it.
    outcome.map_err(|error| match lab.check() {
        Ok(()) => error.into(),
        Err(dead) => format!("{error}\n{dead}").into(),
    })
}

impl Stage {
    /// A Domain, which the first case that asks for it starts.
    async fn domain<'s>(
        &'s self,
        cell: &'s OnceCell<Result<Home, String>>,
        estate: &'static Estate,
    ) -> Result<&'s Home, String> {
        let start = async || {
            let programs = self.programs.programs().map_err(|error| error.to_string())?;
            let home = Home::start(Arc::clone(&self.lab), &programs, estate).await;
            home.map_err(|error| format!("the Domain did not start: {error}"))
        };
        cell.get_or_init(start).await.as_ref().map_err(Clone::clone)
    }

    /// What the Domain of bare machines takes for granted.
    async fn prepared(&self, estate: &'static Estate) -> Result<&Home, String> {
        let prepare = async || {
            let programs = self.programs.programs().map_err(|error| error.to_string())?;
            let home = Home::prepare(Arc::clone(&self.lab), &programs, estate).await;
            home.map_err(|error| format!("the Domain was not prepared: {error}"))
        };
        self.bare.get_or_init(prepare).await.as_ref().map_err(Clone::clone)
    }
}
