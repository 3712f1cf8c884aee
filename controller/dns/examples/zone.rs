//! A zone by hand: look at it, plan, apply.
//!
//! ```text
//! zone show   SERVER KEYFILE ZONE
//! zone plan   SERVER KEYFILE ZONE RECORDS LEDGER [RULE…]
//! zone apply  SERVER KEYFILE ZONE RECORDS LEDGER [RULE…]
//! zone lookup SERVER NAME TYPE
//! ```
//!
//! KEYFILE holds `[ALGORITHM:]NAME:SECRET`, or is `-` for no key. RECORDS holds one record a line,
//! `NAME TTL TYPE VALUE`. LEDGER is made when it does not exist. A RULE is one of `upsert-only`,
//! `create-only`, `confirm=HASH`, `adopt=NAME` and `ignore=PATTERN`.

use std::{
    error::Error, fs, io::ErrorKind, path::Path, process::ExitCode, sync::Arc, time::Instant,
};

use cim_dns::{
    Desired, Ledger, Limits, Name, Observed, Planned, Policy, Primary, Rdata, RecordType, Release,
    Rules, TsigKey, Zone, plan,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zone: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(words: &[&str]) -> Result<()> {
    match words {
        ["show", server, key, zone] => show(&primary(server, key)?, &zone.parse()?).await,
        ["lookup", server, name, kind] => {
            let answer = primary(server, "-")?.lookup(&name.parse()?, kind.parse()?).await?;
            println!("{answer:?}");
            Ok(())
        }
        [verb @ ("plan" | "apply"), server, key, zone, records, ledger, rules @ ..] => {
            let zone: Zone = zone.parse()?;
            let task = Task {
                primary: primary(server, key)?,
                desired: desired(&zone, &fs::read_to_string(records)?)?,
                ledger: Path::new(ledger),
                rules: parse_rules(rules)?,
                zone,
            };
            if *verb == "plan" { task.plan().await } else { task.apply().await }
        }
        _ => Err("usage: zone show|plan|apply SERVER KEYFILE ZONE [RECORDS LEDGER [RULE…]]".into()),
    }
}

async fn show(primary: &Primary, zone: &Zone) -> Result<()> {
    let start = Instant::now();
    let observed = primary.observe(zone, None).await?;
    let took = start.elapsed();
    for (key, set) in observed.records() {
        for value in &set.values {
            println!("{} {} {} {value}", key.name, set.ttl, key.kind);
        }
    }
    eprintln!("serial {}, {} record sets in {took:?}", observed.serial(), observed.records().len());
    let start = Instant::now();
    let again = primary.observe(zone, Some(observed.clone())).await?;
    eprintln!("again: unchanged {} in {:?}", Arc::ptr_eq(&observed, &again), start.elapsed());
    Ok(())
}

struct Task<'a> {
    primary: Primary,
    desired: Desired,
    ledger: &'a Path,
    rules: Rules,
    zone: Zone,
}

impl Task<'_> {
    async fn plan(&self) -> Result<()> {
        let observed = self.primary.observe(&self.zone, None).await?;
        self.planned(&observed).map(|_| ())
    }

    async fn apply(&self) -> Result<()> {
        let observed = self.primary.observe(&self.zone, None).await?;
        let planned = self.planned(&observed)?;
        fs::write(self.ledger, serde_json::to_vec(&planned.ledger)?)?;
        let start = Instant::now();
        let report = self.primary.apply(&self.zone, &planned.plan).await;
        println!("-- applied with {} messages in {:?}", report.messages.len(), start.elapsed());
        for (change, outcome) in planned.plan.changes.iter().zip(&report.outcomes).take(20) {
            println!("{outcome:?}: {change}");
        }
        if let Some(error) = &report.stopped {
            println!("stopped: {error}");
        }
        println!("-- read back");
        let observed = self.primary.observe(&self.zone, Some(observed)).await?;
        fs::write(self.ledger, serde_json::to_vec(&self.planned(&observed)?.ledger)?)?;
        Ok(())
    }

    fn planned(&self, observed: &Observed) -> Result<Planned> {
        let ledger = match fs::read(self.ledger) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == ErrorKind::NotFound => Ledger::new(self.zone.clone()),
            Err(error) => return Err(error.into()),
        };
        let planned = plan(&self.desired, observed, &ledger, &self.rules)?;
        planned.plan.findings.iter().take(20).for_each(|finding| println!("{finding}"));
        planned.conflicts.iter().take(20).for_each(|conflict| println!("conflict   {conflict}"));
        if let Some(held) = &planned.held {
            println!("held       {} (confirm={}):\n{}", held.reason, held.hash, held.plan);
        }
        println!(
            "serial {}, {:?}, {} changes",
            observed.serial(),
            planned.counts,
            planned.plan.changes.len()
        );
        Ok(planned)
    }
}

fn primary(server: &str, key_file: &str) -> Result<Primary> {
    let key = match key_file {
        "-" => None,
        file => Some(fs::read_to_string(file)?.parse::<TsigKey>()?),
    };
    Ok(Primary::new(server.parse()?, key, Limits::default()))
}

fn desired(zone: &Zone, text: &str) -> Result<Desired> {
    let mut desired = Desired::new(zone.clone());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let [name, ttl, kind, value] = line.splitn(4, ' ').collect::<Vec<_>>()[..] else {
            return Err(line.into());
        };
        let kind: RecordType = kind.parse()?;
        if let Err(error) = desired.add(name.parse()?, ttl.parse()?, Rdata::parse(kind, value)?) {
            println!("refused    {error}");
        }
    }
    Ok(desired)
}

fn parse_rules(words: &[&str]) -> Result<Rules> {
    let mut rules = Rules::default();
    for word in words {
        match word.split_once('=') {
            None if *word == "upsert-only" => rules.policy = Policy::UpsertOnly,
            None if *word == "create-only" => rules.policy = Policy::CreateOnly,
            Some(("confirm", hash)) => rules.release = Release::Confirmed(hash.to_owned()),
            Some(("adopt", name)) => {
                rules.adopt.insert(name.parse::<Name>()?);
            }
            Some(("ignore", pattern)) => rules.ignore.push(pattern.parse()?),
            _ => return Err(format!("{word:?} is not a rule").into()),
        }
    }
    Ok(rules)
}
