//! What the module `nats` configures, run by a real nats-server.

use std::{fs, path::Path, time::Duration};

use async_nats::ConnectOptions;
use cim_e2e::lab::{Lab, Process};
use futures::StreamExt;
use serde_json::Value;
use tokio::{process::Command, time::timeout};

use super::{Try, library::Library};
use crate::harness::Outcome;

const SOON: Duration = Duration::from_secs(30);
const SUBJECT: &str = "greetings";

/// A program that talks to localhost without a word of who it is reaches one that is known to the
/// Domain, through a leaf node with credentials and a server in operator mode.
pub(crate) async fn localhost_leads_into_the_domain(lab: &Lab) -> Outcome {
    let library = Library::new(lab, "nix-lib-nats")?;
    let machines =
        library.evaluate("import ./nix-lib/nats.nix { cim = ./cim; nixpkgs = ./nixpkgs; }")?;
    let operator = lab.nats()?.operator();
    let creds = operator.system_creds().reveal();

    let dir = library.dir.join("machines/hub");
    let trust = operator.resolver_conf(&dir.join("resolver").to_string_lossy());
    let hub = start(lab, &dir, &machines["hub"], "resolver.conf", &trust)?;
    let known = || ConnectOptions::with_credentials(&creds);
    let listener = hub.ready(SOON, async || connect(known()?, 5222).await).await?;
    let mut heard = listener.subscribe(SUBJECT).await?;
    listener.flush().await?;
    let stranger = connect(ConnectOptions::new(), 5222).await;
    assert!(stranger.is_err(), "the Domain's server lets in whom it does not know");

    let dir = library.dir.join("machines/leaf");
    let leaf = start(lab, &dir, &machines["leaf"], "leaf-0.creds", &creds)?;
    let local = leaf.ready(SOON, async || connect(ConnectOptions::new(), 5223).await).await?;
    // The leaf node connects by itself; what is said before is heard by nobody.
    let answer = leaf
        .ready(SOON, async || {
            local.publish(SUBJECT, "hello".into()).await?;
            local.flush().await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
                timeout(Duration::from_millis(200), heard.next()).await?,
            )
        })
        .await?;
    assert_eq!(answer.map(|message| message.payload), Some("hello".into()));
    leaf.kill().await?;
    hub.kill().await?;
    Ok(())
}

/// Starts a server below `dir`, as a machine's root, with one credential as systemd would put it.
fn start(lab: &Lab, dir: &Path, machine: &Value, credential: &str, content: &str) -> Try<Process> {
    let given = machine["credentials"][0].as_str().unwrap_or_default();
    assert!(given.starts_with(&format!("{credential}:/run/secrets/")), "{machine}");
    let text = machine["conf"].as_str().ok_or("no configuration")?;
    // Relative paths, such as that of the include, lead below `dir` anyway.
    let text = text
        .replace("\"/run/", "\"ROOT/run/")
        .replace("\"/var/", "\"ROOT/var/")
        .replace("\"ROOT", &format!("\"{}", dir.display()));
    let (etc, run) = (dir.join("etc/cim"), dir.join("run/credentials/cim-nats.service"));
    fs::create_dir_all(&etc)?;
    fs::create_dir_all(&run)?;
    fs::write(run.join(credential), content)?;
    fs::write(etc.join("nats.conf"), text)?;
    let program = lab.inside().tools().program("nats-server").to_owned();
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    Ok(Process::spawn(&format!("nix-lib-{name}"), &lab.logs(), move || {
        let mut command = Command::new(&program);
        command.arg("--config").arg(etc.join("nats.conf"));
        command
    })?)
}

async fn connect(options: ConnectOptions, port: u16) -> Try<async_nats::Client> {
    let url = format!("nats://127.0.0.1:{port}");
    Ok(timeout(SOON, options.ignore_discovered_servers().connect(url)).await??)
}
