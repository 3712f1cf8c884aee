//! Knot, authoritative for the lab's zones, with one TSIG key that may update and transfer.

use std::{fmt::Write, fs, path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::process::Command;

use crate::lab::{
    Inside, Process, command,
    error::{During, LabError, Result},
    network,
    toolbox::Toolbox,
};

/// The zones that the server has from the start, each with nothing but SOA and NS.
pub const ZONES: [&str; 3] = ["example.com", "example.org", "0.0.10.in-addr.arpa"];
/// The name of the TSIG key.
pub const KEY_NAME: &str = "cim";
/// The algorithm of the TSIG key, RFC 8945.
pub const KEY_ALGORITHM: &str = "hmac-sha256";

const READY: Duration = Duration::from_secs(15);

/// A running Knot.
#[derive(Debug)]
pub struct Dns {
    process: Process,
    toolbox: Toolbox,
    dir: PathBuf,
    secret: String,
}

impl Dns {
    /// Starts it and waits until it answers for every zone.
    pub(crate) async fn start(inside: &Inside, toolbox: &Toolbox) -> Result<Self> {
        let dir = inside.volatile().join("knot");
        let secret = STANDARD.encode(rand::random::<[u8; 32]>());
        for dir in [dir.join("zones"), dir.join("db")] {
            fs::create_dir_all(&dir).during("create", &dir)?;
        }
        for zone in ZONES {
            let path = dir.join(format!("zones/{zone}.zone"));
            fs::write(&path, zone_file(zone)).during("write", &path)?;
        }
        let path = dir.join("knot.conf");
        fs::write(&path, config(&dir.to_string_lossy(), &secret)).during("write", &path)?;
        let knotd = toolbox.clone();
        let process = Process::spawn("knot", &inside.logs(), move || {
            let mut knotd = knotd.command("knotd");
            knotd.arg("--config").arg(&path);
            Command::from(knotd)
        })?;
        let this = Self { process, toolbox: toolbox.clone(), dir, secret };
        this.ready().await?;
        Ok(this)
    }

    /// The TSIG secret, base64.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The answer lines of `dig` at the server, with these further arguments.
    pub async fn dig(&self, args: &[&str]) -> Result<Vec<String>> {
        let toolbox = self.toolbox.clone();
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        command::blocking(move || {
            dig(&toolbox, &args.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .await
    }

    /// Every record of a zone, by a signed transfer.
    pub async fn transfer(&self, zone: &str) -> Result<Vec<String>> {
        let key = format!("{KEY_ALGORITHM}:{KEY_NAME}:{}", self.secret);
        let mut lines = self
            .dig(&["-y", &key, "+nostats", "+nocomments", "+nocmd", "+onesoa", zone, "AXFR"])
            .await?;
        lines.retain(|line| !line.contains("\tTSIG\t"));
        Ok(lines)
    }

    /// Sends a signed update as nsupdate reads it: lines such as `add host.example.com 300 A 10.0.0.9`.
    pub async fn nsupdate(&self, zone: &str, lines: &[&str]) -> Result<()> {
        let mut script = format!(
            "server {}\nkey {KEY_ALGORITHM}:{KEY_NAME} {}\nzone {zone}\n",
            network::DNS,
            self.secret
        );
        for line in lines {
            // Writing to a string cannot fail.
            let _ = writeln!(script, "update {line}");
        }
        script.push_str("send\n");
        let toolbox = self.toolbox.clone();
        command::blocking(move || toolbox.run_with_input("nsupdate", &["-v"], &script)).await?;
        Ok(())
    }

    /// Runs `knotc` against the server.
    pub async fn knotc(&self, args: &[&str]) -> Result<String> {
        let toolbox = self.toolbox.clone();
        let socket = self.dir.join("knot.sock").display().to_string();
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        command::blocking(move || {
            let args = args.iter().map(String::as_str);
            toolbox.run("knotc", &["--socket", &socket].into_iter().chain(args).collect::<Vec<_>>())
        })
        .await
    }

    /// Kills the server and starts it again on its old data.
    pub async fn restart(&self) -> Result<()> {
        self.process.restart().await?;
        self.ready().await
    }

    async fn ready(&self) -> Result<()> {
        for zone in ZONES {
            let loaded = async || match self.dig(&["+short", zone, "SOA"]).await {
                Ok(lines) if lines.is_empty() => Err(format!("no SOA of {zone}")),
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            };
            self.process.ready(READY, loaded).await?;
        }
        Ok(())
    }

    /// An error if the server has ended.
    pub fn check(&self) -> Result<()> {
        self.process.check()
    }
}

/// dig reports "no answer from the server" by its exit status only, and NXDOMAIN not at all.
fn dig(toolbox: &Toolbox, args: &[&str]) -> Result<Vec<String>> {
    let server = format!("@{}", network::DNS);
    let args = [&[server.as_str(), "+time=2", "+tries=1"], args].concat();
    let output = toolbox.run("dig", &args)?;
    let failed = output.lines().find(|line| line.starts_with("; Transfer failed"));
    if let Some(line) = failed {
        return Err(LabError::Unexpected { what: "the transfer".into(), why: line.to_owned() });
    }
    Ok(output.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// The name server's own name lies outside of the zones, so that it needs no record in them.
fn zone_file(zone: &str) -> String {
    format!(
        "$ORIGIN {zone}.\n\
         $TTL 300\n\
         @ SOA ns.example.net. hostmaster.example.net. 1 3600 600 86400 5\n\
         @ NS ns.example.net.\n"
    )
}

fn config(dir: &str, secret: &str) -> String {
    let mut text = format!(
        "server:\n  rundir: {dir}\n  listen: {}@53\n  background-workers: 1\n\
         log:\n- target: stderr\n  any: info\n\
         database:\n  storage: {dir}/db\n\
         control:\n  listen: {dir}/knot.sock\n\
         key:\n- id: {KEY_NAME}\n  algorithm: {KEY_ALGORITHM}\n  secret: {secret}\n\
         acl:\n- id: cim\n  key: {KEY_NAME}\n  action: [update, transfer]\n\
         template:\n- id: default\n  storage: {dir}/zones\n  acl: cim\n\
         zone:\n",
        network::DNS
    );
    for zone in ZONES {
        let _ = writeln!(text, "- domain: {zone}\n  file: {zone}.zone");
    }
    text
}
