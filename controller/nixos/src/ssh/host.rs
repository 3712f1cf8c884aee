//! Machines by name, and commands on them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::classify::{Context, failure};
use super::config::{ALIAS, known_hosts, ssh_config};
use super::target::Target;
use crate::error::{Error, ParseError};
use crate::nix::Tools;
use crate::private_dir::{PrivateDir, remove, write_private};
use crate::process::{Invocation, Output, Pipes};

/// All machines that this process talks to. It keeps their keys in files and their connections
/// open as long as they are known here.
#[derive(Debug)]
pub struct Hosts {
    dir: PrivateDir,
    tools: Tools,
    known: Mutex<BTreeMap<String, Arc<Host>>>,
}

impl Hosts {
    /// Keeps keys and sockets below `dir`.
    pub fn new(dir: PrivateDir, tools: Tools) -> Self {
        Self { dir, tools, known: Mutex::default() }
    }

    /// The machine called `name` (for messages; one of a kind). The same `Host` comes back as long
    /// as `target` is the same; a changed address or key replaces it.
    ///
    /// # Errors
    /// [`Error::PrivateDir`], and [`Error::Parse`] when `target` pins no host key.
    pub fn host(&self, name: &str, target: Target) -> Result<Arc<Host>, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = known.get(name).filter(|host| host.target == target) {
            return Ok(Arc::clone(host));
        }
        let dir = self.dir.host_dir()?;
        let host = Arc::new(Host::prepare(name, target, dir, self.tools.clone())?);
        known.insert(name.to_owned(), Arc::clone(&host));
        Ok(host)
    }

    /// Forgets the machine called `name`. Its files go when the last use of its `Host` ends, its
    /// connection two idle minutes later.
    pub fn forget(&self, name: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// One machine that can be talked to. The connection is made by the first command and shared by all.
#[derive(Debug)]
pub struct Host {
    name: String,
    target: Target,
    dir: PathBuf,
    tools: Tools,
}

/// A shell script for a machine, with its arguments as `$1`, `$2`, …
pub(crate) struct Script<'a> {
    /// What it does, for messages.
    pub(crate) what: &'a str,
    pub(crate) text: &'a str,
    pub(crate) args: &'a [&'a str],
}

/// Over which connection a script runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// The one that all commands share.
    Shared,
    /// One of its own, which proves that somebody can log in now.
    Fresh,
}

/// What a script reads from standard input.
pub(crate) enum Feed {
    Bytes(Vec<u8>),
    File(std::fs::File),
}

/// The PATH of scripts: a non-interactive SSH session of NixOS or Debian may have less.
const REMOTE_PATH: &str = "\
PATH=/run/wrappers/bin:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:\
/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
";

impl Host {
    fn prepare(name: &str, target: Target, dir: PathBuf, tools: Tools) -> Result<Self, Error> {
        if target.host_keys.is_empty() {
            let wants = "at least one key: without it anybody could answer in the machine's place";
            return Err(ParseError::new("list of SSH host keys", "[]", wants).into());
        }
        // From here on dropping the host removes its files.
        let host = Self { name: name.to_owned(), target, dir, tools };
        write_private(&host.dir.join("key"), host.target.key.expose().as_bytes())?;
        write_private(&host.dir.join("known_hosts"), known_hosts(&host.target).as_bytes())?;
        let config = ssh_config(&host.target, &host.dir);
        write_private(&host.dir.join("config"), config.as_bytes())?;
        Ok(host)
    }

    /// The name given, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store of any machine as Nix addresses it: which one is in [`Host::nix_ssh_options`].
    pub(crate) const STORE_URL: &str = "ssh-ng://machine";

    /// `NIX_SSHOPTS`: split at spaces before Nix 2.26, so it is one option without any.
    pub(crate) fn nix_ssh_options(&self) -> OsString {
        let mut options = OsString::from("-F");
        options.push(self.dir.join("config"));
        options
    }

    /// Runs `script` and returns what it wrote; a failing script is an error.
    pub(crate) async fn run(
        &self,
        script: Script<'_>,
        deadline: Duration,
    ) -> Result<String, Error> {
        let command = script.what.to_owned();
        let output = self.run_any(script, deadline).await?;
        if output.success() {
            return Ok(output.stdout);
        }
        Err(self.failure(&command, &output, false))
    }

    /// Runs `script` and returns how it ended. An error is only what kept it from ending.
    pub(crate) async fn run_any(
        &self,
        script: Script<'_>,
        deadline: Duration,
    ) -> Result<Output, Error> {
        self.run_over(Connection::Shared, script, deadline).await
    }

    /// Ends the shared connection, for when the machine at its other end is another boot's: it would
    /// be used until it is found dead. That there is none is as good.
    pub(crate) async fn disconnect(&self, deadline: Duration) {
        let args = ["-F".into(), self.dir.join("config").into_os_string(), "-O".into()];
        let args: Vec<_> = args.into_iter().chain(["exit".into(), ALIAS.into()]).collect();
        let what = format!("disconnect from {}", self.name);
        let run = self.tools.invocation(self.tools.ssh.clone(), args, deadline, what);
        if let Err(error) = run.run().await {
            tracing::debug!(%error, host = %self.name, "the connection was not ended");
        }
    }

    /// As [`Host::run_any`], over the connection named.
    pub(crate) async fn run_over(
        &self,
        connection: Connection,
        script: Script<'_>,
        deadline: Duration,
    ) -> Result<Output, Error> {
        let what = script.what;
        let output = self.run_until_lost(connection, script, deadline).await?;
        self.unless_lost(what, output)
    }

    /// An error if ssh failed, and not what it ran.
    pub(crate) fn unless_lost(&self, what: &str, output: Output) -> Result<Output, Error> {
        if output.code == Some(255) { Err(self.failure(what, &output, false)) } else { Ok(output) }
    }

    /// As [`Host::run_over`], but a connection that is lost is an exit status of 255, behind what was
    /// heard before.
    pub(crate) async fn run_until_lost(
        &self,
        connection: Connection,
        script: Script<'_>,
        deadline: Duration,
    ) -> Result<Output, Error> {
        let mut args: Vec<OsString> = vec!["-F".into(), self.dir.join("config").into()];
        if connection == Connection::Fresh {
            // What is on the command line comes before the file.
            args.extend(["-oControlMaster=no".into(), "-oControlPath=none".into()]);
        }
        args.extend(remote(&script));
        let what = format!("{} on {}", script.what, self.name);
        let run = self.tools.invocation(self.tools.ssh.clone(), args, deadline, what);
        self.end_of(run, script.what).await
    }

    /// Runs `script` over the shared connection while `talk` speaks with it; a connection that is lost
    /// is an exit status of 255. See [`Invocation::run_talking`].
    pub(crate) async fn converse<T>(
        &self,
        script: Script<'_>,
        deadline: Duration,
        talk: impl FnOnce(Pipes) -> T,
    ) -> Result<Output, Error>
    where
        T: Future<Output = Result<Pipes, Error>>,
    {
        let mut args: Vec<OsString> = vec!["-F".into(), self.dir.join("config").into()];
        args.extend(remote(&script));
        let what = format!("{} on {}", script.what, self.name);
        let run = self.tools.invocation(self.tools.ssh.clone(), args, deadline, what);
        self.told_by(run.run_talking(talk).await, script.what)
    }

    async fn end_of(&self, run: Invocation, command: &str) -> Result<Output, Error> {
        self.told_by(run.run().await, command)
    }

    /// Names the machine for which a run took too long.
    fn told_by(&self, ended: Result<Output, Error>, command: &str) -> Result<Output, Error> {
        match ended {
            Err(Error::Timeout { after, .. }) => Err(Error::HostTimeout {
                host: self.name.clone(),
                command: command.to_owned(),
                after,
            }),
            other => other,
        }
    }

    /// Runs `script` with something to read; a failing script is an error.
    pub(crate) async fn feed(
        &self,
        script: Script<'_>,
        feed: Feed,
        deadline: Duration,
    ) -> Result<String, Error> {
        let mut args: Vec<OsString> = vec!["-F".into(), self.dir.join("config").into()];
        args.extend(remote(&script));
        let what = format!("{} on {}", script.what, self.name);
        let mut run = self.tools.invocation(self.tools.ssh.clone(), args, deadline, what);
        match feed {
            Feed::Bytes(bytes) => run.stdin = bytes,
            Feed::File(file) => run.stdin_from = Some(file),
        }
        let output = self.end_of(run, script.what).await?;
        if output.success() {
            Ok(output.stdout)
        } else {
            Err(self.failure(script.what, &output, false))
        }
    }

    /// The error of a failed command; see [`failure`] for `tool_of_ours`.
    pub(crate) fn failure(&self, command: &str, output: &Output, tool_of_ours: bool) -> Error {
        let user = self.target.user.to_string();
        let context = Context { host: &self.name, user: &user, command };
        failure(&context, output.code, &output.stderr, tool_of_ours)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.dir) {
            tracing::warn!(%error, host = %self.name, "SSH files not removed");
        }
    }
}

/// The machine and the command for it. The script is an argument: it is there with the request, and
/// standard input is free. ssh joins its arguments with spaces and the user's shell takes them apart
/// again.
fn remote(script: &Script<'_>) -> impl Iterator<Item = OsString> {
    let text = format!("{REMOTE_PATH}{}", bare(script.text));
    let words = [ALIAS.into(), "exec /bin/sh -c".into(), quote(&text), "sh".into()];
    let args: Vec<String> = script.args.iter().map(|arg| quote(arg)).collect();
    words.into_iter().chain(args).map(OsString::from)
}

/// A script without what only its readers need. It has no lines within quotes that look like that.
fn bare(text: &str) -> String {
    let lines = text.lines().map(str::trim_start);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .fold(String::with_capacity(text.len()), |text, line| text + line + "\n")
}

/// `text` as one word of a POSIX shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(port: u16) -> Target {
        Target {
            address: "127.0.0.1".parse().unwrap(),
            port,
            user: "deploy".parse().unwrap(),
            key: "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----"
                .parse()
                .unwrap(),
            host_keys: vec![
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJkOxZ6Wm1ibn0JvQ4e1QQ0gzyQzPGmZg0gq0nO1l2dB"
                    .parse()
                    .unwrap(),
            ],
        }
    }

    fn hosts(parent: &std::path::Path) -> Hosts {
        let tools = Tools {
            nix: "nix".into(),
            git: "git".into(),
            ssh: "ssh".into(),
            path: "/usr/bin:/bin".into(),
            home: parent.into(),
            env: vec![],
        };
        Hosts::new(PrivateDir::open(parent.join("p")).unwrap(), tools)
    }

    #[test]
    fn the_same_target_keeps_its_connection_and_a_changed_one_gets_new_files() {
        let parent = tempfile::tempdir().unwrap();
        let hosts = hosts(parent.path());
        let first = hosts.host("a", target(22)).unwrap();
        assert!(Arc::ptr_eq(&first, &hosts.host("a", target(22)).unwrap()));
        let second = hosts.host("a", target(23)).unwrap();
        assert_ne!(first.dir, second.dir);
        assert!(first.dir.exists(), "still in use");
        let old = first.dir.clone();
        drop(first);
        assert!(!old.exists());
        hosts.forget("a");
        let new = second.dir.clone();
        drop(second);
        assert!(!new.exists());
    }

    #[test]
    fn a_machine_without_pinned_keys_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let nobody = Target { host_keys: vec![], ..target(22) };
        let error = hosts(parent.path()).host("a", nobody).unwrap_err();
        assert!(error.to_string().contains("at least one key"), "{error}");
    }

    #[test]
    fn quoting_leaves_nothing_to_the_shell() {
        let evil = "a'b $(id) `id` \\ \"x\"\n;";
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", &format!("printf %s {}", quote(evil))])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), evil);
    }
}
