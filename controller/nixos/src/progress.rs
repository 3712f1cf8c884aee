//! What Nix tells about its work while it works: `--log-format internal-json`.

use std::collections::HashMap;

use serde::Deserialize;
use tokio::sync::watch;

use crate::process::{Keep, Tail, strip_ansi};

/// Work done so far of one build or copy. Totals grow while Nix finds out what is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Derivations.
    pub builds: Count,
    /// Store paths copied or fetched.
    pub copies: Count,
    /// What was begun last: `building '/nix/store/….drv'`.
    pub latest: Option<String>,
}

/// Done, expected, running and failed pieces of one kind of work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Finished.
    pub done: u64,
    /// All that is known to be wanted, finished ones included.
    pub expected: u64,
    /// Under way.
    pub running: u64,
    /// Failed.
    pub failed: u64,
}

/// Where progress goes: only the latest value is kept, so a slow reader costs nothing.
pub type ProgressSink = watch::Sender<Progress>;

/// Lines of build logs kept, in bytes.
const LOG_TAIL: usize = 16 << 10;
/// Activities remembered by name at the same time; far above what any Nix runs in parallel.
const MAX_ACTIVITIES: usize = 4096;

// Numbers of src/libutil/include/nix/util/logging.hh. Unknown ones are ignored.
const COPY_PATHS: u64 = 103;
const BUILDS: u64 = 104;
const BUILD: u64 = 105;
const LOG_LINE: u64 = 101;
const PROGRESS: u64 = 105;
/// Verbosity of an error message.
const LEVEL_ERROR: u64 = 0;

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
enum Event {
    Start {
        id: u64,
        #[serde(rename = "type")]
        kind: u64,
        #[serde(default)]
        text: String,
        #[serde(default)]
        fields: Vec<serde_json::Value>,
    },
    Stop {
        id: u64,
    },
    Result {
        id: u64,
        #[serde(rename = "type")]
        kind: u64,
        #[serde(default)]
        fields: Vec<serde_json::Value>,
    },
    Msg {
        level: u64,
        msg: String,
    },
    #[serde(other)]
    Other,
}

/// Reads the stream of one run of Nix.
pub(crate) struct Reader<'a> {
    sink: Option<&'a ProgressSink>,
    /// The kind of each running activity that matters here.
    counters: HashMap<u64, (u64, Count)>,
    /// The name of each running build, for its log lines.
    builds: HashMap<u64, String>,
    log: Tail,
    errors: Tail,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(sink: Option<&'a ProgressSink>) -> Self {
        Self {
            sink,
            counters: HashMap::new(),
            builds: HashMap::new(),
            log: Tail::new(LOG_TAIL),
            errors: Tail::new(LOG_TAIL),
        }
    }

    /// Takes one line of standard error. Lines that are not of the protocol (ssh's, git's) belong
    /// into the error message as they are.
    pub(crate) fn line(&mut self, line: &str) -> Keep {
        let Some(json) = line.strip_prefix("@nix ") else { return Keep::Yes };
        match serde_json::from_str(json) {
            Ok(event) => self.event(event),
            Err(error) => tracing::debug!(%error, "unknown progress line of nix"),
        }
        Keep::No
    }

    /// The error messages, and the last lines of all build logs as `name> line`.
    pub(crate) fn finish(self) -> (String, Vec<String>) {
        (self.errors.into_string(), self.log.into_lines())
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Start { id, kind, text, fields } => self.start(id, kind, &text, &fields),
            Event::Stop { id } => {
                // A finished counter keeps its sums until the end of the run.
                self.builds.remove(&id);
            }
            Event::Result { id, kind: PROGRESS, fields } => self.count(id, &fields),
            Event::Result { id, kind: LOG_LINE, fields } => {
                if let Some(line) = fields.first().and_then(serde_json::Value::as_str) {
                    let name = self.builds.get(&id).map_or("", String::as_str);
                    self.log.push(&format!("{name}> {}", strip_ansi(line)));
                }
            }
            Event::Msg { level: LEVEL_ERROR, msg } => self.errors.push(&strip_ansi(&msg)),
            Event::Result { .. } | Event::Msg { .. } | Event::Other => {}
        }
    }

    fn start(&mut self, id: u64, kind: u64, text: &str, fields: &[serde_json::Value]) {
        if matches!(kind, COPY_PATHS | BUILDS) && self.counters.len() < MAX_ACTIVITIES {
            self.counters.insert(id, (kind, Count::default()));
        }
        if kind == BUILD
            && self.builds.len() < MAX_ACTIVITIES
            && let Some(derivation) = fields.first().and_then(serde_json::Value::as_str)
        {
            self.builds.insert(id, short_name(derivation).to_owned());
        }
        if !text.is_empty()
            && let Some(sink) = self.sink
        {
            sink.send_modify(|progress| progress.latest = Some(strip_ansi(text)));
        }
    }

    fn count(&mut self, id: u64, fields: &[serde_json::Value]) {
        let Some((_, count)) = self.counters.get_mut(&id) else { return };
        let number = |at: usize| fields.get(at).and_then(serde_json::Value::as_u64).unwrap_or(0);
        *count =
            Count { done: number(0), expected: number(1), running: number(2), failed: number(3) };
        let Some(sink) = self.sink else { return };
        let sum = |wanted: u64| {
            self.counters.values().filter(|(kind, _)| *kind == wanted).fold(
                Count::default(),
                |sum, (_, count)| Count {
                    done: sum.done + count.done,
                    expected: sum.expected + count.expected,
                    running: sum.running + count.running,
                    failed: sum.failed + count.failed,
                },
            )
        };
        let (builds, copies) = (sum(BUILDS), sum(COPY_PATHS));
        sink.send_if_modified(|progress| {
            let changed = (progress.builds, progress.copies) != (builds, copies);
            (progress.builds, progress.copies) = (builds, copies);
            changed
        });
    }
}

/// `host1-25.05` of `/nix/store/<hash>-host1-25.05.drv`.
fn short_name(derivation: &str) -> &str {
    let base = derivation.rsplit('/').next().unwrap_or(derivation);
    base.split_once('-').map_or(base, |(_, name)| name).trim_end_matches(".drv")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Nix 2.26.3 printed it, shortened.
    const BUILD_OF_ONE: &str = r#"
@nix {"action":"start","id":3,"level":6,"parent":0,"text":"querying info about missing paths","type":0}
@nix {"action":"stop","id":3}
@nix {"action":"msg","level":3,"msg":"this derivation will be built:"}
@nix {"action":"start","id":4,"level":0,"parent":0,"text":"","type":104}
@nix {"action":"start","id":5,"level":0,"parent":0,"text":"","type":103}
@nix {"action":"start","fields":["/nix/store/3i08014lim3070x15lfy5v5bsvrd15cn-nixos-system-host1.drv","",1,1],"id":7,"level":3,"parent":0,"text":"building '/nix/store/3i08014lim3070x15lfy5v5bsvrd15cn-nixos-system-host1.drv'","type":105}
@nix {"action":"result","fields":[0,1,1,0],"id":4,"type":105}
@nix {"action":"result","fields":[101,0],"id":3,"type":106}
@nix {"action":"result","fields":["building host1"],"id":7,"type":101}
@nix {"action":"result","fields":[1,1,0,0],"id":4,"type":105}
@nix {"action":"future","id":4}
@nix not json
@nix {"action":"msg","level":0,"msg":"\u001b[31;1merror:\u001b[0m builder failed"}
ssh: connect to host h: Connection refused"#;

    #[test]
    fn a_build_is_counted_its_log_is_kept_and_errors_are_told_apart() {
        let (sink, latest) = watch::channel(Progress::default());
        let mut reader = Reader::new(Some(&sink));
        let kept: Vec<&str> =
            BUILD_OF_ONE.lines().skip(1).filter(|line| reader.line(line) == Keep::Yes).collect();
        assert_eq!(kept, ["ssh: connect to host h: Connection refused"]);
        let progress = latest.borrow();
        assert_eq!(progress.builds, Count { done: 1, expected: 1, running: 0, failed: 0 });
        assert_eq!(progress.copies, Count::default());
        assert!(progress.latest.as_deref().is_some_and(|text| text.starts_with("building")));
        let (errors, log) = reader.finish();
        assert_eq!(errors, "error: builder failed");
        assert_eq!(log, ["nixos-system-host1> building host1"]);
    }
}
