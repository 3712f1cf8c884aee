//! Brings one machine to what a flake says: the whole crate in one page.
//!
//! ```text
//! deploy flake=git+https://git.example.com/infra ref=main configuration=host1 \
//!     host=10.0.0.11 user=deploy key=/path/id host-key=/path/ssh_host_ed25519_key.pub \
//!     signing-key=/path/key run-dir=/run/deploy [action=boot] [reboot=yes] [again=yes] \
//!     [apply=no]
//! ```

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use cim_nixos::{
    Action, Attempt, Attribute, BuildOptions, Delivery, Desired, Health, Hosts, Limits, Nix,
    Observed, PrivateDir, Signer, SigningKey, Source, Target, Tools, apply, assess, observe, plan,
    probe,
};

/// A delivery takes three: bring and test, confirm, and see that nothing is left.
const PASSES: usize = 6;

type AnyError = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match deploy(&Arguments::from_command_line()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let reason = error.downcast_ref::<cim_nixos::Error>().map_or("Error", |it| it.reason());
            eprintln!("{reason}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn deploy(arguments: &Arguments) -> Result<(), AnyError> {
    let nix = Nix::detect(tools(arguments), Limits::default()).await?;
    println!("nix        {}", nix.version());

    let source =
        Source::parse(arguments.get("flake")?, arguments.find("ref"), arguments.find("rev"))?;
    let locked = nix.resolve(&source).await?;
    println!("locked     {} {}", locked.url, locked.nar_hash);

    let attribute: Attribute = arguments.get("configuration")?.parse()?;
    let mut evaluation = nix.evaluate(&locked, None, std::slice::from_ref(&attribute)).await?;
    let configuration = evaluation.configurations.remove(&attribute).ok_or("not evaluated")??;
    let toplevel = configuration.toplevel;
    println!("evaluated  {}", toplevel.closure);
    nix.build(&toplevel, BuildOptions::default()).await?;
    println!("built      {}", toplevel.derivation);

    let dir = PrivateDir::open(arguments.get("run-dir")?)?;
    let signing_key: SigningKey = arguments.read("signing-key")?.parse()?;
    let signer = Signer::new(&dir, &signing_key)?;
    let hosts = Hosts::new(dir, nix.tools().clone());
    let target = Target {
        address: arguments.get("host")?.parse()?,
        port: arguments.find("port").unwrap_or("22").parse()?,
        user: arguments.get("user")?.parse()?,
        key: arguments.read("key")?.parse()?,
        host_keys: vec![arguments.read("host-key")?.parse()?],
    };
    let host = hosts.host(attribute.as_str(), target)?;

    let action =
        if arguments.find("action") == Some("boot") { Action::Boot } else { Action::Switch };
    let desired = Desired {
        closure: toplevel.closure.clone(),
        known: vec![],
        action,
        confirm_timeout: Duration::from_mins(1),
        may_reboot: arguments.find("reboot") == Some("yes"),
        attempt: if arguments.find("again") == Some("yes") {
            Attempt::Again
        } else {
            Attempt::First
        },
    };
    let delivery = Delivery { nix: &nix, signer: &signer, host: &host, progress: None };
    let mut observed = observe(&host, nix.limits(), Some(&desired.closure)).await;
    for _ in 0..PASSES {
        println!("assessed   {:?}", assess(&desired, &observed));
        if let Observed::Unreachable { reason, message } = &observed {
            return Err(format!("{reason}: {message}").into());
        }
        // Whoever can log in anew has not been locked out by what he did.
        let login = probe(&host, nix.limits().command).await;
        let health = login.map_or(Health::Unasked, |()| Health::Passing);
        let plan = plan(&desired, &observed, &health);
        plan.findings.iter().for_each(|finding| println!("finding    {finding}"));
        plan.changes.iter().for_each(|change| println!("change     {change}"));
        if plan.is_empty() || arguments.find("apply") == Some("no") {
            return Ok(());
        }
        let applied = apply(delivery, &plan, Some(&desired.closure)).await?;
        applied.outcome.iter().for_each(|outcome| println!("outcome    {outcome}"));
        applied
            .log
            .iter()
            .flat_map(|log| log.lines())
            .for_each(|line| println!("log        {line}"));
        observed = applied.observed;
    }
    Err(format!("still not done after {PASSES} passes").into())
}

fn tools(arguments: &Arguments) -> Tools {
    Tools {
        nix: "/usr/bin/nix".into(),
        git: "/usr/bin/git".into(),
        ssh: "/usr/bin/ssh".into(),
        path: "/usr/bin:/bin".into(),
        home: arguments.find("home").unwrap_or("/root").into(),
        env: vec![],
    }
}

/// `name=value` words.
struct Arguments(BTreeMap<String, String>);

impl Arguments {
    fn from_command_line() -> Self {
        let pairs = std::env::args().skip(1).filter_map(|word| {
            word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        });
        Self(pairs.collect())
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn get(&self, name: &str) -> Result<&str, AnyError> {
        self.find(name).ok_or_else(|| format!("{name}=… is missing").into())
    }

    fn read(&self, name: &str) -> Result<String, AnyError> {
        let path = self.get(name)?;
        std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}").into())
    }
}
