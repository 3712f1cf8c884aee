//! A git server with repositories made from directories, and commits to them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;

use crate::lab::{
    Inside, Process, command,
    error::{During, Result},
    network,
    toolbox::Toolbox,
};

const PORT: u16 = 9418;
const READY: Duration = Duration::from_secs(10);

/// A running git daemon; its repositories are public and read-only.
#[derive(Debug)]
pub struct Git {
    process: Process,
    dir: PathBuf,
    toolbox: Toolbox,
}

/// A repository on the server, with a working tree that only the lab sees.
#[derive(Clone, Debug)]
pub struct Repository {
    name: String,
    work: PathBuf,
    bare: PathBuf,
    toolbox: Toolbox,
}

impl Git {
    /// Starts it, without repositories.
    pub(crate) async fn start(inside: &Inside, toolbox: &Toolbox) -> Result<Self> {
        let dir = inside.volatile().join("git");
        let served = dir.join("served");
        fs::create_dir_all(&served).during("create", &served)?;
        let git = toolbox.clone();
        let process = Process::spawn("git", &inside.logs(), move || {
            let mut daemon = git.command("git");
            daemon
                .args(["daemon", "--export-all", "--reuseaddr", "--informative-errors"])
                .arg(format!("--listen={}", network::GIT))
                .arg(format!("--base-path={}", served.display()));
            Command::from(daemon)
        })?;
        process
            .ready(READY, async || tokio::net::TcpStream::connect((network::GIT, PORT)).await)
            .await?;
        Ok(Self { process, dir, toolbox: toolbox.clone() })
    }

    /// Makes a repository with the content of `source` as its first commit on `main`.
    ///
    /// `extra` files are copied from the base root: pairs of the path there and in the repository.
    pub async fn create(
        &self,
        name: &str,
        source: &Path,
        extra: &[(&str, &str)],
    ) -> Result<Repository> {
        let repository = Repository {
            name: name.to_owned(),
            work: self.dir.join("work").join(name),
            bare: self.dir.join("served").join(name),
            toolbox: self.toolbox.clone(),
        };
        let source = source.to_owned();
        let extra: Vec<_> =
            extra.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        let this = repository.clone();
        command::blocking(move || {
            copy_tree(&source, &this.work)?;
            for (from, to) in extra {
                let to = this.work.join(to);
                if let Some(parent) = to.parent() {
                    fs::create_dir_all(parent).during("create", parent)?;
                }
                this.toolbox.copy_out(&from, &to)?;
            }
            let bare = this.bare.to_string_lossy().into_owned();
            this.toolbox
                .run("git", &["init", "--quiet", "--bare", "--initial-branch=main", &bare])?;
            // Nix fetches a locked revision by its hash.
            let allow = ["config", "uploadpack.allowAnySHA1InWant", "true"];
            this.toolbox.run("git", &[&["--git-dir", &bare], &allow[..]].concat())?;
            this.git(&["init", "--quiet", "--initial-branch=main"])?;
            this.git(&["remote", "add", "origin", &bare])
        })
        .await?;
        repository.commit("First release", &[]).await?;
        Ok(repository)
    }

    /// An error if the server has ended.
    pub fn check(&self) -> Result<()> {
        self.process.check()
    }
}

impl Repository {
    /// The URL that it is fetched by, also as a flake.
    pub fn url(&self) -> String {
        format!("git://{}/{}", network::GIT, self.name)
    }

    /// Writes files, commits everything and publishes it on `main`; the new revision.
    pub async fn commit(&self, message: &str, files: &[(&str, &str)]) -> Result<String> {
        self.record(message, files, &[]).await
    }

    /// Rewrites history as with `git push --force`: the last commit is gone from the server, another
    /// one stands in its place; the new revision.
    pub async fn rewrite(&self, message: &str, files: &[(&str, &str)]) -> Result<String> {
        let rewritten = self.record(message, files, &["--amend"]).await?;
        let this = self.clone();
        command::blocking(move || {
            let bare = this.bare.to_string_lossy();
            let git = |args: &[&str]| {
                this.toolbox.run("git", &[&["--git-dir", bare.as_ref()], args].concat())
            };
            git(&["reflog", "expire", "--expire=now", "--all"])?;
            git(&["gc", "--quiet", "--prune=now"])
        })
        .await?;
        Ok(rewritten)
    }

    async fn record(
        &self,
        message: &str,
        files: &[(&str, &str)],
        options: &'static [&'static str],
    ) -> Result<String> {
        let this = self.clone();
        let message = message.to_owned();
        let files: Vec<_> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        command::blocking(move || {
            for (path, text) in files {
                let path = this.work.join(path);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).during("create", parent)?;
                }
                fs::write(&path, text).during("write", &path)?;
            }
            this.git(&["add", "--all", "--force"])?;
            let author = ["-c", "user.name=lab", "-c", "user.email=lab@example.com"];
            let commit = ["commit", "--quiet", "--allow-empty", "--message", &message];
            this.git(&[&author[..], &commit, options].concat())?;
            this.git(&["push", "--quiet", "--force", "origin", "HEAD:main"])?;
            this.head()
        })
        .await
    }

    /// Publishes a commit of before on `main` again, whatever stands there.
    pub async fn restore(&self, revision: &str) -> Result<()> {
        let (this, revision) = (self.clone(), revision.to_owned());
        command::blocking(move || this.publish(&revision)).await
    }

    fn publish(&self, revision: &str) -> Result<()> {
        self.git(&["reset", "--quiet", "--hard", revision])?;
        self.git(&["push", "--quiet", "--force", "origin", "HEAD:main"]).map(drop)
    }

    /// The revision that was published last.
    pub fn head(&self) -> Result<String> {
        Ok(self.git(&["rev-parse", "HEAD"])?.trim().to_owned())
    }

    /// The content of a file in the working tree.
    pub fn read(&self, path: &str) -> Result<String> {
        let path = self.work.join(path);
        fs::read_to_string(&path).during("read", &path)
    }

    fn git(&self, args: &[&str]) -> Result<String> {
        let work = self.work.to_string_lossy();
        self.toolbox.run("git", &[&["-C", work.as_ref()], args].concat())
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).during("create", to)?;
    for entry in fs::read_dir(from).during("list", from)? {
        let entry = entry.during("list", from)?;
        let target = to.join(entry.file_name());
        // Two flakes may share a directory by a link.
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).during("copy to", &target)?;
        }
    }
    Ok(())
}
