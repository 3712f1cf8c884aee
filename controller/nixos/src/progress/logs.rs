//! The logs of the builds of one run of Nix, bounded.

use std::collections::{HashMap, VecDeque};
use std::mem;

use crate::build::BuildLog;
use crate::process::Tail;

/// Bytes kept of each log: its end, where the error is.
const MAX_LOG: usize = 256 << 10;
/// Builds under way whose logs are kept at the same time.
const MAX_RUNNING: usize = 256;
/// Builds that have ended whose logs are kept. Nix says which one failed only after it has ended,
/// together with those that it stopped because of that.
const MAX_ENDED: usize = 16;

/// Logs of builds under way and of those that ended last.
#[derive(Default)]
pub(crate) struct Logs {
    running: HashMap<u64, Build>,
    ended: VecDeque<Build>,
}

struct Build {
    derivation: String,
    machine: String,
    log: Tail,
}

/// A build that failed.
#[derive(Debug, Default)]
pub(crate) struct Failed {
    pub(crate) log: BuildLog,
    /// The store of the builder that it ran on, `ssh-ng://…`; empty for this machine.
    pub(crate) machine: String,
}

impl Logs {
    pub(super) fn begin(&mut self, activity: u64, derivation: &str, machine: &str) {
        if self.running.len() < MAX_RUNNING {
            let (derivation, machine) = (derivation.to_owned(), machine.to_owned());
            self.running.insert(activity, Build { derivation, machine, log: Tail::new(MAX_LOG) });
        }
    }

    pub(super) fn line(&mut self, activity: u64, line: &str) {
        if let Some(build) = self.running.get_mut(&activity) {
            build.log.push(line);
        }
    }

    pub(super) fn end(&mut self, activity: u64) {
        if let Some(ended) = self.running.remove(&activity) {
            self.ended.push_back(ended);
            if self.ended.len() > MAX_ENDED {
                self.ended.pop_front();
            }
        }
    }

    /// The build that `errors`, Nix's messages, name as failed. Messages name those that needed it
    /// as well, in which nothing was built.
    ///
    /// Of a build on a builder Nix tells twice: that it is there, and what the Nix there tells.
    pub(crate) fn failed(self, errors: &str) -> Option<Failed> {
        let builds = self.ended.into_iter().chain(self.running.into_values());
        let mut builds: Vec<Build> =
            builds.filter(|build| errors.contains(build.derivation.as_str())).collect();
        let derivation = builds.last()?.derivation.clone();
        builds.retain(|build| build.derivation == derivation);
        let machine = builds.iter_mut().map(|build| mem::take(&mut build.machine));
        let machine = machine.filter(|machine| !machine.is_empty()).last().unwrap_or_default();
        let mut texts = builds.into_iter().map(|build| build.log.into_string());
        let mut text = texts.rfind(|text| !text.is_empty()).unwrap_or_default();
        if !text.is_empty() {
            text.push('\n');
        }
        Some(Failed { log: BuildLog { derivation, text }, machine })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_the_failed_build_is_found_among_those_that_ended() {
        let mut logs = Logs::default();
        for (id, name) in ["a", "b", "c"].into_iter().enumerate() {
            logs.begin(id as u64, &format!("/nix/store/{name}.drv"), "");
            logs.line(id as u64, &format!("building {name}"));
        }
        (0..3).for_each(|id| logs.end(id));
        let errors = "error: builder for '/nix/store/b.drv' failed with exit code 1\n\
                      error: 1 dependencies of derivation '/nix/store/top.drv' failed to build";
        let log = logs.failed(errors).unwrap().log;
        assert_eq!(
            (log.derivation.as_str(), log.text.as_str()),
            ("/nix/store/b.drv", "building b\n")
        );
    }

    #[test]
    fn a_build_on_a_builder_is_one_though_it_is_told_twice() {
        for order in [[1, 2], [2, 1]] {
            let mut logs = Logs::default();
            logs.begin(1, "/nix/store/a.drv", "ssh-ng://forge");
            logs.begin(2, "/nix/store/a.drv", "");
            logs.line(2, "begun");
            for id in order {
                logs.end(id);
            }
            let Failed { log, machine } = logs.failed("Cannot build '/nix/store/a.drv'.").unwrap();
            assert_eq!((machine.as_str(), log.text.as_str()), ("ssh-ng://forge", "begun\n"));
        }
    }

    #[test]
    fn a_log_without_end_does_not_fill_memory() {
        let mut logs = Logs::default();
        logs.begin(1, "/nix/store/a.drv", "ssh-ng://forge");
        (0..100_000).for_each(|n| logs.line(1, &format!("line {n}")));
        logs.end(1);
        let Failed { log, machine } = logs.failed("'/nix/store/a.drv' failed").unwrap();
        assert_eq!(machine, "ssh-ng://forge");
        assert!(log.text.ends_with("line 99999\n"));
        assert!(log.text.len() <= MAX_LOG + 1, "{}", log.text.len());
    }
}
