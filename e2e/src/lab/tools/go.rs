//! Servers that are Go programs: taken from PATH if the version fits, else built from the modules in
//! `e2e/tools/`, whose go.mod and go.sum pin every byte.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    cache::{self, Cache},
    progress::{Job, Progress},
};
use crate::lab::{
    command,
    error::{During, LabError, Result},
};

/// A Go module of `e2e/tools/`, compiled into this program so that it needs no checkout to run.
pub(crate) struct Module {
    name: &'static str,
    /// Path and content of each file.
    files: &'static [(&'static str, &'static str)],
    package: &'static str,
    ldflags: &'static str,
    /// What a cold build takes on two cores.
    expected: Duration,
    /// The names that the binary is called by, each with the versions that PATH may offer instead.
    programs: &'static [Program],
}

struct Program {
    name: &'static str,
    version_args: &'static [&'static str],
    accepts: fn(Version) -> bool,
}

type Version = (u32, u32);

macro_rules! module_file {
    ($module:literal, $file:literal) => {
        ($file, include_str!(concat!("../../../tools/", $module, "/", $file)))
    };
}

const KIND: &str = "tools";

/// The versions of the control plane, as its own build scripts stamp them: without the stamp the
/// server calls itself v0.0.0, and the version checks of kubectl and Helm misfire.
const KUBERNETES_STAMP: &str = "-X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36 \
    -X k8s.io/client-go/pkg/version.gitVersion=v1.36.3 \
    -X k8s.io/client-go/pkg/version.gitMajor=1 -X k8s.io/client-go/pkg/version.gitMinor=36";

/// Every Go tool of the lab.
pub(crate) const MODULES: [Module; 3] = [
    Module {
        name: "kubernetes",
        files: &[
            module_file!("kubernetes", "go.mod"),
            module_file!("kubernetes", "go.sum"),
            module_file!("kubernetes", "main.go"),
        ],
        package: ".",
        ldflags: KUBERNETES_STAMP,
        expected: Duration::from_mins(6),
        programs: &[
            Program { name: "etcd", version_args: &["--version"], accepts: |v| v >= (3, 5) },
            Program {
                name: "kube-apiserver",
                version_args: &["--version"],
                accepts: |v| v == (1, 36),
            },
            Program {
                name: "kube-controller-manager",
                version_args: &["--version"],
                accepts: |v| v == (1, 36),
            },
            // One minor version of skew either way is supported.
            Program {
                name: "kubectl",
                version_args: &["version", "--client"],
                accepts: |v| ((1, 35)..=(1, 37)).contains(&v),
            },
        ],
    },
    Module {
        name: "nats-server",
        files: &[module_file!("nats-server", "go.mod"), module_file!("nats-server", "go.sum")],
        package: "github.com/nats-io/nats-server/v2",
        ldflags: "",
        expected: Duration::from_secs(30),
        programs: &[Program {
            name: "nats-server",
            version_args: &["--version"],
            accepts: |v| ((2, 15)..(3, 0)).contains(&v),
        }],
    },
    Module {
        name: "helm",
        files: &[module_file!("helm", "go.mod"), module_file!("helm", "go.sum")],
        package: "helm.sh/helm/v4/cmd/helm",
        ldflags: "-X helm.sh/helm/v4/internal/version.version=v4.3.1",
        expected: Duration::from_secs(135),
        programs: &[Program {
            name: "helm",
            version_args: &["version", "--template", "{{.Version}}"],
            accepts: |v| v.0 == 4,
        }],
    },
];

impl Module {
    /// The name and the path of each program of the module; no path is needed for those on PATH.
    pub(crate) fn obtain(
        &self,
        cache: &Cache,
        progress: &Progress,
    ) -> Result<Vec<(String, PathBuf)>> {
        if self.on_path() {
            return Ok(Vec::new());
        }
        let waiting =
            || progress.say(&format!("another process builds {}; waiting for it", self.name));
        let entry = cache.entry(KIND, self.name, &self.key(), waiting, |scratch| {
            let job = progress.begin(&format!("build {}", self.name), self.expected);
            self.build(scratch, &job)?;
            job.done();
            Ok(())
        })?;
        let path = |program: &Program| (program.name.to_owned(), entry.join(program.name));
        Ok(self.programs.iter().map(path).collect())
    }

    /// An error if the module will have to be built and there is no Go to build it with.
    pub(crate) fn check(&self, cache: &Cache) -> Result<()> {
        if cache.has(KIND, self.name, &self.key()) || self.on_path() {
            return Ok(());
        }
        let mut go = Command::new("go");
        go.arg("version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let runs = go.status().is_ok_and(|status| status.success());
        if runs { Ok(()) } else { Err(no_go()) }
    }

    fn on_path(&self) -> bool {
        self.programs.iter().all(Program::on_path)
    }

    fn key(&self) -> String {
        let contents = self.files.iter().flat_map(|(path, content)| [*path, *content]);
        cache::key(contents.chain([self.package, self.ldflags]))
    }

    fn build(&self, scratch: &Path, job: &Job) -> Result<()> {
        for (path, content) in self.files {
            let path = scratch.join(path);
            fs::write(&path, content).during("write", &path)?;
        }
        let binary = scratch.join(format!("{}.bin", self.name));
        let mut command = command::contained("nice");
        command
            .args(["go", "build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false"])
            .arg(format!("-ldflags=-s -w {}", self.ldflags))
            .arg("-o")
            .arg(&binary)
            .arg(self.package)
            .current_dir(scratch)
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .env_remove("GOFLAGS")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().attempting("run go build")?;
        // `go build -v` names each package as it comes to it, and prints its errors to the same place.
        let mut tail = std::collections::VecDeque::new();
        for line in child.stderr.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
            let line = line.attempting("read what go build says")?;
            job.now(&line);
            tail.push_back(line);
            if tail.len() > 15 {
                tail.pop_front();
            }
        }
        let status = child.wait().attempting("wait for go build")?;
        if !status.success() {
            return Err(LabError::Command {
                command: format!("go build {}", self.package),
                status: status.to_string(),
                output: Vec::from(tail).join("\n"),
            });
        }
        for program in self.programs {
            let link = scratch.join(program.name);
            symlink(format!("{}.bin", self.name), &link).during("link", &link)?;
        }
        Ok(())
    }
}

fn no_go() -> LabError {
    LabError::Prerequisite {
        what: "Go 1.26 or newer, to build the servers of the lab".into(),
        remedy: "install it from https://go.dev/dl/ so that `go version` works, or put etcd, \
                 kube-apiserver, kube-controller-manager, kubectl, nats-server and helm on PATH"
            .into(),
    }
}

impl Program {
    fn on_path(&self) -> bool {
        let output = Command::new(self.name)
            .args(self.version_args)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        let version = output.ok().filter(|output| output.status.success());
        let version =
            version.and_then(|output| version_in(&String::from_utf8_lossy(&output.stdout)));
        version.is_some_and(self.accepts)
    }
}

/// The first `<major>.<minor>.` in what a program says of itself.
fn version_in(text: &str) -> Option<Version> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
        let mut numbers = word.split('.').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(_))) => Some((major, minor)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_the_servers_print() {
        let says = [
            ("etcd Version: 3.6.8\nGit SHA: Not provided\nGo Version: go1.26.8\n", (3, 6)),
            ("Kubernetes v1.36.3\n", (1, 36)),
            ("Client Version: v1.36.3\nKustomize Version: v5.8.1\n", (1, 36)),
            ("nats-server: v2.15.2\n", (2, 15)),
            ("v4.3.1", (4, 3)),
        ];
        for (text, version) in says {
            assert_eq!(version_in(text), Some(version), "{text}");
        }
        assert_eq!(version_in("Kubernetes v0"), None);
    }

    #[test]
    fn the_stamp_says_the_version_that_go_mod_pins() {
        for (module, pin, stamp) in [
            (&MODULES[0], "k8s.io/kubernetes v1.36.3", "gitVersion=v1.36.3"),
            (&MODULES[2], "helm.sh/helm/v4 v4.3.1", "version=v4.3.1"),
        ] {
            assert!(module.files[0].1.contains(pin), "{pin}");
            assert!(module.ldflags.contains(stamp), "{stamp}");
        }
    }
}
