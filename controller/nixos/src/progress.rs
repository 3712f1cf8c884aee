//! What Nix tells about its work while it works: `--log-format internal-json`.

mod logs;

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;

pub(crate) use self::logs::Logs;
use crate::process::{Keep, Tail, strip_ansi};

/// Work done so far of one build or copy. Totals grow while Nix finds out what is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Derivations.
    pub builds: Count,
    /// Store paths copied or fetched.
    pub copies: Count,
    /// Their content.
    pub bytes: Bytes,
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

/// Bytes copied or fetched, as uncompressed archives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// So far.
    pub done: u64,
    /// All that is known to be wanted, those done included. It may fall behind `done` for a while.
    pub expected: u64,
}

/// Where progress goes: only the latest value is kept, so a slow reader costs nothing.
pub type ProgressSink = watch::Sender<Progress>;

/// Error messages kept, in bytes.
const ERRORS_TAIL: usize = 16 << 10;
/// Activities remembered at the same time; far above what any Nix runs in parallel.
const MAX_ACTIVITIES: usize = 4096;

// Numbers of src/libutil/include/nix/util/logging.hh. Unknown ones are ignored.
const COPY_PATH: u64 = 100;
const REALISE: u64 = 102;
const COPY_PATHS: u64 = 103;
const BUILDS: u64 = 104;
const BUILD: u64 = 105;
const LOG_LINE: u64 = 101;
const PROGRESS: u64 = 105;
const SET_EXPECTED: u64 = 106;
/// Verbosity of an error message.
const LEVEL_ERROR: u64 = 0;

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
enum Event {
    Start {
        id: u64,
        #[serde(rename = "type")]
        kind: u64,
        /// 0 for what this Nix does itself; Nix before 2.26 does not tell.
        #[serde(default)]
        parent: u64,
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

/// An activity that counts something.
#[derive(Clone, Copy, Debug)]
struct Counter {
    kind: u64,
    count: Count,
    /// Of all paths that this activity will copy, known before the first of them begins.
    expected_bytes: u64,
}

/// Reads the stream of one run of Nix.
pub(crate) struct Reader<'a> {
    sink: Option<&'a ProgressSink>,
    /// Copies and builds as a whole, and copies of single paths under way.
    counters: HashMap<u64, Counter>,
    /// Content of the paths whose copy has ended.
    copied_bytes: u64,
    logs: Logs,
    errors: Tail,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(sink: Option<&'a ProgressSink>) -> Self {
        Self {
            sink,
            counters: HashMap::new(),
            copied_bytes: 0,
            logs: Logs::default(),
            errors: Tail::new(ERRORS_TAIL),
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

    /// The run succeeded, so all that it wanted is done: Nix does not always say so at the end.
    pub(crate) fn succeeded(&self) {
        let Some(sink) = self.sink else { return };
        let complete = |count: Count| Count {
            done: count.expected.max(count.done),
            expected: count.expected.max(count.done),
            running: 0,
            ..count
        };
        sink.send_modify(|progress| {
            progress.builds = complete(progress.builds);
            progress.copies = complete(progress.copies);
            let bytes = progress.bytes.done.max(progress.bytes.expected);
            progress.bytes = Bytes { done: bytes, expected: bytes };
        });
    }

    /// The error messages, and the logs of the builds.
    pub(crate) fn finish(self) -> (String, Logs) {
        (self.errors.into_string(), self.logs)
    }

    fn event(&mut self, event: Event) {
        match event {
            // The Nix on a builder counts the builds that we have counted already.
            Event::Start { kind: BUILDS, parent: 1.., .. } => {}
            Event::Start { id, kind, text, fields, .. } => self.start(id, kind, &text, &fields),
            Event::Stop { id } => self.stop(id),
            Event::Result { id, kind: PROGRESS, fields } => self.count(id, &fields),
            Event::Result { id, kind: SET_EXPECTED, fields } => {
                if let Some(counter) = self.counters.get_mut(&id)
                    && number(&fields, 0) == COPY_PATH
                {
                    counter.expected_bytes = number(&fields, 1);
                    self.tell();
                }
            }
            Event::Result { id, kind: LOG_LINE, fields } => {
                if let Some(line) = fields.first().and_then(Value::as_str) {
                    self.logs.line(id, &strip_ansi(line));
                }
            }
            Event::Msg { level: LEVEL_ERROR, msg } => self.errors.push(&strip_ansi(&msg)),
            Event::Result { .. } | Event::Msg { .. } | Event::Other => {}
        }
    }

    fn start(&mut self, id: u64, kind: u64, text: &str, fields: &[Value]) {
        let counts = matches!(kind, COPY_PATH | REALISE | COPY_PATHS | BUILDS);
        if counts && self.counters.len() < MAX_ACTIVITIES {
            let counter = Counter { kind, count: Count::default(), expected_bytes: 0 };
            self.counters.insert(id, counter);
        }
        if kind == BUILD
            && let Some(derivation) = fields.first().and_then(Value::as_str)
        {
            let machine = fields.get(1).and_then(Value::as_str).unwrap_or_default();
            self.logs.begin(id, derivation, machine);
        }
        if !text.is_empty()
            && let Some(sink) = self.sink
        {
            sink.send_modify(|progress| progress.latest = Some(strip_ansi(text)));
        }
    }

    fn stop(&mut self, id: u64) {
        self.logs.end(id);
        // A whole that has ended keeps its sums until the end of the run.
        if let Some(Counter { kind: COPY_PATH, count, .. }) = self.counters.get(&id) {
            self.copied_bytes += count.done;
            self.counters.remove(&id);
        }
    }

    fn count(&mut self, id: u64, fields: &[Value]) {
        let Some(counter) = self.counters.get_mut(&id) else { return };
        let [done, expected, running, failed] = [0, 1, 2, 3].map(|at| number(fields, at));
        counter.count = Count { done, expected, running, failed };
        self.tell();
    }

    /// Makes the present sums known.
    fn tell(&self) {
        let Some(sink) = self.sink else { return };
        let (builds, copies) = (self.sum(BUILDS), self.sum(COPY_PATHS));
        let single = self.sum(COPY_PATH);
        let announced: u64 = self.counters.values().map(|counter| counter.expected_bytes).sum();
        let bytes = Bytes {
            done: self.copied_bytes + single.done,
            expected: announced.max(self.copied_bytes + single.expected),
        };
        sink.send_if_modified(|progress| {
            let changed =
                (progress.builds, progress.copies, progress.bytes) != (builds, copies, bytes);
            (progress.builds, progress.copies, progress.bytes) = (builds, copies, bytes);
            changed
        });
    }

    fn sum(&self, wanted: u64) -> Count {
        self.counters.values().filter(|counter| counter.kind == wanted).fold(
            Count::default(),
            |sum, Counter { count, .. }| Count {
                done: sum.done + count.done,
                expected: sum.expected + count.expected,
                running: sum.running + count.running,
                failed: sum.failed + count.failed,
            },
        )
    }
}

fn number(fields: &[Value], at: usize) -> u64 {
    fields.get(at).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Nix 2.26.3 printed it, shortened.
    const COPY_OF_TWO: &str = r#"
@nix {"action":"start","fields":["/nix/store/a","local","ssh-ng://machine"],"id":1,"level":3,"parent":0,"text":"copying 2 paths","type":103}
@nix {"action":"result","fields":[100,3000],"id":1,"type":106}
@nix {"action":"result","fields":[0,2,0,0],"id":1,"type":105}
@nix {"action":"start","fields":["/nix/store/a","local","ssh-ng://machine"],"id":2,"level":3,"parent":0,"text":"copying path '/nix/store/a'","type":100}
@nix {"action":"result","fields":[500,1000,0,0],"id":2,"type":105}
@nix {"action":"result","fields":[1000,1000,0,0],"id":2,"type":105}
@nix {"action":"stop","id":2}
@nix {"action":"result","fields":[1,2,0,0],"id":1,"type":105}
@nix {"action":"start","fields":["/nix/store/b","local","ssh-ng://machine"],"id":3,"level":3,"parent":0,"text":"copying path '/nix/store/b'","type":100}
@nix {"action":"result","fields":[500,2000,0,0],"id":3,"type":105}"#;

    #[test]
    fn bytes_of_a_copy_are_counted_over_its_paths() {
        let (sink, latest) = watch::channel(Progress::default());
        let mut reader = Reader::new(Some(&sink));
        let mut seen = Vec::new();
        for line in COPY_OF_TWO.lines().skip(1) {
            assert!(reader.line(line) == Keep::No);
            seen.push(latest.borrow().bytes);
        }
        assert!(seen.is_sorted_by_key(|bytes| bytes.done), "{seen:?}");
        assert_eq!(seen[1], Bytes { done: 0, expected: 3000 });
        assert_eq!(seen.last(), Some(&Bytes { done: 1500, expected: 3000 }));
        let copies = Count { done: 1, expected: 2, running: 0, failed: 0 };
        assert_eq!(latest.borrow().copies, copies);
        reader.succeeded();
        assert_eq!(latest.borrow().copies.done, 2);
        assert_eq!(latest.borrow().bytes, Bytes { done: 3000, expected: 3000 });
    }

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
@nix {"action":"msg","level":0,"msg":"\u001b[31;1merror:\u001b[0m builder for '/nix/store/3i08014lim3070x15lfy5v5bsvrd15cn-nixos-system-host1.drv' failed"}
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
        let (errors, logs) = reader.finish();
        let derivation = "/nix/store/3i08014lim3070x15lfy5v5bsvrd15cn-nixos-system-host1.drv";
        assert_eq!(errors, format!("error: builder for '{derivation}' failed"));
        let log = logs.failed(&errors).unwrap().log;
        assert_eq!((log.derivation.as_str(), log.text.as_str()), (derivation, "building host1\n"));
    }
}
