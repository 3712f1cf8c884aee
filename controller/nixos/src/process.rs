//! Running a tool: argument vector, explicit environment, deadline, bounded output, bounded memory.

mod group;
mod memory;
mod pipes;
mod text;

use std::ffi::OsString;
use std::io::{Seek as _, Write as _};
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use self::group::Group;
use self::memory::Memory;
use self::pipes::{feed, read_bounded, read_lines};
pub(crate) use self::text::{Tail, strip_ansi};
use crate::error::Error;

const STDERR_TAIL: usize = 16 << 10;
/// How long output may stay open behind the end of the tool: a background child that inherited the
/// pipe (an SSH master) must not hold us up.
const DRAIN: Duration = Duration::from_secs(2);

/// One run of one program.
pub(crate) struct Invocation {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// The whole environment; nothing is inherited.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) stdin: Vec<u8>,
    /// Standard input is a file without a name instead of a pipe: the program can open it by
    /// `/proc/self/fd/0`, and it is gone with the program, however that ends.
    pub(crate) stdin_is_file: bool,
    /// Standard input is this file, whatever its size, instead of [`Invocation::stdin`].
    pub(crate) stdin_from: Option<std::fs::File>,
    pub(crate) deadline: Duration,
    /// What is being done, for error messages.
    pub(crate) what: String,
}

/// The ends of a program's pipes that are ours.
pub(crate) struct Pipes {
    pub(crate) input: ChildStdin,
    pub(crate) output: BufReader<ChildStdout>,
}

/// How a program ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Output {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    /// The last [`STDERR_TAIL`] bytes, in whole lines.
    pub(crate) stderr: String,
}

impl Output {
    pub(crate) fn success(&self) -> bool {
        self.code == Some(0)
    }
}

impl Invocation {
    pub(crate) async fn run(self) -> Result<Output, Error> {
        self.run_watched(&mut |_| Keep::Yes).await
    }

    /// Runs the program; `watch` sees each line of standard error as it comes and says whether it
    /// belongs into [`Output::stderr`].
    pub(crate) async fn run_watched(
        self,
        watch: &mut (dyn FnMut(&str) -> Keep + Send),
    ) -> Result<Output, Error> {
        let (child, group) = self.spawn()?;
        self.finish(child, group, watch).await
    }

    /// Runs the program while `talk` writes to it and reads what it answers. What it writes after that
    /// is its output. An error of `talk` stops it.
    pub(crate) async fn run_talking<T>(self, talk: impl FnOnce(Pipes) -> T) -> Result<Output, Error>
    where
        T: Future<Output = Result<Pipes, Error>>,
    {
        let (mut child, mut group) = self.spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let Some((input, output)) = pipes else {
            return Err(Error::BadOutput { what: self.what, why: "it has no pipes".to_owned() });
        };
        let bad = |error: std::io::Error| Error::BadOutput {
            what: self.what.clone(),
            why: error.to_string(),
        };
        let (mut stdout, mut stderr) = (Vec::new(), Tail::new(STDERR_TAIL));
        let mut keep_all = |_: &str| Keep::Yes;
        let messages = child.stderr.take();
        let run = async {
            let talked = async {
                let Pipes { output, .. } =
                    talk(Pipes { input, output: BufReader::new(output) }).await?;
                read_bounded(Some(output), &mut stdout).await.map_err(bad)
            };
            let heard =
                async { read_lines(messages, &mut stderr, &mut keep_all).await.map_err(bad) };
            // The future of a whole conversation is large.
            let pipes = Box::pin(async { tokio::try_join!(talked, heard).map(|_| ()) });
            end(&mut child, pipes, bad).await
        };
        let status = match timeout(self.deadline, run).await {
            Ok(ended) => ended?,
            Err(_) => return Err(Error::Timeout { what: self.what, after: self.deadline }),
        };
        group.ended();
        Ok(Output {
            code: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: stderr.into_string(),
        })
    }

    /// Runs the program, and stops it with all that it forked when they hold more than
    /// `max_memory` bytes of resident memory together.
    pub(crate) async fn run_measured(self, max_memory: u64) -> Result<Measured, Error> {
        let (child, group) = self.spawn()?;
        let mut memory = Memory::of(&group);
        let mut keep_all = |_: &str| Keep::Yes;
        let finished = tokio::select! {
            finished = self.finish(child, group, &mut keep_all) => Some(finished?),
            () = memory.exceeds(max_memory) => None,
        };
        Ok(Measured { output: finished, peak_memory: memory.peak() })
    }

    fn spawn(&self) -> Result<(Child, Group), Error> {
        tracing::debug!(program = %self.program.display(), what = %self.what, "run");
        let failed = |source| Error::Spawn { program: self.program.clone(), source };
        let stdin = if let Some(file) = &self.stdin_from {
            file.try_clone().map_err(failed)?.into()
        } else if self.stdin_is_file {
            nameless_file(&self.stdin).map_err(failed)?.into()
        } else {
            Stdio::piped()
        };
        let child = Command::new(&self.program)
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let group = Group::led_by(&child);
        Ok((child, group))
    }

    async fn finish(
        &self,
        child: Child,
        group: Group,
        watch: &mut (dyn FnMut(&str) -> Keep + Send),
    ) -> Result<Output, Error> {
        match timeout(self.deadline, communicate(child, group, &self.stdin, watch)).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(why)) => Err(Error::BadOutput { what: self.what.clone(), why: why.to_string() }),
            Err(_) => Err(Error::Timeout { what: self.what.clone(), after: self.deadline }),
        }
    }
}

/// How a program ended whose memory was watched.
#[derive(Debug)]
pub(crate) struct Measured {
    /// `None` when it was stopped because of its memory.
    pub(crate) output: Option<Output>,
    /// The most that it and what it forked were seen to hold at a time, in bytes.
    pub(crate) peak_memory: u64,
}

fn nameless_file(content: &[u8]) -> std::io::Result<std::fs::File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = std::fs::File::from(rustix::fs::memfd_create("stdin", flags)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

/// Whether a line of standard error is kept for the error message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Yes,
    No,
}

async fn communicate(
    mut child: Child,
    mut group: Group,
    stdin: &[u8],
    watch: &mut (dyn FnMut(&str) -> Keep + Send),
) -> std::io::Result<Output> {
    let mut stdout = Vec::new();
    let mut stderr = Tail::new(STDERR_TAIL);
    let feed = feed(child.stdin.take(), stdin);
    let read_stdout = read_bounded(child.stdout.take(), &mut stdout);
    let read_stderr = read_lines(child.stderr.take(), &mut stderr, watch);
    let pipes = async { tokio::try_join!(feed, read_stdout, read_stderr).map(|_| ()) };
    let status = end(&mut child, pipes, |error| error).await?;
    group.ended();
    Ok(Output {
        code: status.code(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: stderr.into_string(),
    })
}

/// Waits for the end of a program and of its `pipes`.
async fn end<E>(
    child: &mut Child,
    pipes: impl Future<Output = Result<(), E>>,
    lost: impl FnOnce(std::io::Error) -> E,
) -> Result<ExitStatus, E> {
    let mut pipes = pin!(pipes);
    tokio::select! {
        closed = &mut pipes => {
            closed?;
            child.wait().await.map_err(lost)
        }
        ended = child.wait() => {
            if let Ok(closed) = timeout(DRAIN, &mut pipes).await {
                closed?;
            }
            ended.map_err(lost)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, deadline: Duration) -> Invocation {
        Invocation {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            stdin: b"given\n".to_vec(),
            stdin_is_file: false,
            stdin_from: None,
            deadline,
            what: "test".into(),
        }
    }

    #[tokio::test]
    async fn output_input_and_exit_code_are_told_apart() {
        let output = sh("cat; echo err >&2; exit 3", Duration::from_secs(20)).run().await.unwrap();
        assert_eq!(
            (output.code, output.stdout.as_str(), output.stderr.as_str()),
            (Some(3), "given\n", "err")
        );
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_stopped_at_its_deadline() {
        let error = sh("exec sleep 600", Duration::from_millis(50)).run().await.unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_a_stopped_program_forked_is_stopped_too() {
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", note.display());
        sh(&script, Duration::from_millis(300)).run().await.unwrap_err();
        let pid = std::fs::read_to_string(note).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        // Killed, and at most a zombie that nobody has reaped yet.
        for _ in 0..200 {
            match std::fs::read_to_string(&stat) {
                Ok(stat) if !stat.contains(") Z ") => {
                    tokio::time::sleep(Duration::from_millis(25)).await;
                }
                _ => return,
            }
        }
        panic!("{stat} is still alive");
    }

    #[tokio::test]
    async fn a_program_that_takes_too_much_memory_is_stopped() {
        // The shell itself stays small; what it forks does not.
        let script = "head -c 200m /dev/zero | tail -c 200m | sleep 600";
        let measured = sh(script, Duration::from_mins(5)).run_measured(64 << 20).await.unwrap();
        assert!(measured.output.is_none());
        assert!(measured.peak_memory > 64 << 20, "{}", measured.peak_memory);

        let measured = sh("cat", Duration::from_mins(1)).run_measured(1 << 30).await.unwrap();
        assert_eq!(measured.output.unwrap().stdout, "given\n");
    }

    #[tokio::test]
    async fn input_can_be_opened_as_a_file() {
        let mut invocation = sh("cat /proc/self/fd/0 /proc/self/fd/0", Duration::from_secs(20));
        invocation.stdin_is_file = true;
        assert_eq!(invocation.run().await.unwrap().stdout, "given\ngiven\n");
    }

    #[tokio::test]
    async fn a_background_child_that_keeps_the_pipes_open_does_not_hold_us_up() {
        let output = sh("sleep 600 & echo $!", Duration::from_mins(1)).run().await.unwrap();
        assert_eq!(output.code, Some(0));
        let pid = output.stdout.trim().to_owned();
        std::process::Command::new("/bin/kill").arg(pid).status().unwrap();
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let mut invocation = sh("", Duration::from_secs(5));
        invocation.program = "/nonexistent/nix".into();
        let error = invocation.run().await.unwrap_err();
        assert!(error.to_string().contains("/nonexistent/nix"), "{error}");
    }

    #[tokio::test]
    async fn only_the_end_of_a_long_standard_error_is_kept() {
        let script = "i=0; while [ $i -lt 9000 ]; do echo line $i >&2; i=$((i+1)); done";
        let output = sh(script, Duration::from_mins(1)).run().await.unwrap();
        assert!(output.stderr.len() <= STDERR_TAIL + 9000);
        assert!(output.stderr.ends_with("line 8999"));
    }
}
