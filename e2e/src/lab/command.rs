//! Short commands, run to their end.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    process::{Command, Output, Stdio},
    thread,
};

use super::error::{During, LabError, Result};

const TAIL_LINES: usize = 20;

/// A command that will run `program` so that nothing of it outlives this process: none of its
/// descendants, no mount. (debootstrap mounts /proc in its target, and a killed build would go on
/// writing to a directory that the next one uses.)
pub(crate) fn contained(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare", "--kill-child=KILL", "--fork", "--pid"])
        .args(["--mount-proc", "--mount", "--propagation", "private", program]);
    command
}

/// Runs `command` without input; its standard output, or an error with what it printed.
pub(crate) fn run(command: Command) -> Result<Vec<u8>> {
    run_with_input(command, b"")
}

/// Runs `command` with `input`; its standard output, or an error with what it printed.
pub(crate) fn run_with_input(mut command: Command, input: &[u8]) -> Result<Vec<u8>> {
    let name = line(&command);
    let attempt = || format!("run `{name}`");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().attempting(attempt())?;
    let stdin = child.stdin.take();
    let output = thread::scope(|scope| {
        // On a thread of its own: the command may print before it has read everything.
        scope.spawn(move || {
            // A command that ends without reading its input tells why by its exit status.
            let _ = stdin.map(|mut stdin| stdin.write_all(input));
        });
        child.wait_with_output()
    });
    check(&name, output.attempting(attempt())?)
}

/// Runs `command` and calls `each` with every line that it prints.
pub(crate) fn run_watched(mut command: Command, mut each: impl FnMut(&str)) -> Result<()> {
    let name = line(&command);
    let attempt = || format!("run `{name}`");
    let (reader, writer) = std::io::pipe().attempting(attempt())?;
    let stderr = writer.try_clone().attempting(attempt())?;
    command.stdin(Stdio::null()).stdout(writer).stderr(stderr);
    let mut child = command.spawn().attempting(attempt())?;
    // The command holds the writing end too; while we did, the reader would never end.
    drop(command);
    let mut tail = VecDeque::new();
    for text in BufReader::new(reader).lines() {
        let text = text.attempting(attempt())?;
        each(&text);
        tail.push_back(text);
        if tail.len() > TAIL_LINES {
            tail.pop_front();
        }
    }
    let status = child.wait().attempting(attempt())?;
    if status.success() {
        return Ok(());
    }
    let output = Vec::from(tail).join("\n");
    Err(LabError::Command { command: name, status: status.to_string(), output })
}

/// The standard output of a command that succeeded, else an error with the end of what it printed.
pub(crate) fn check(name: &str, output: Output) -> Result<Vec<u8>> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.trim().lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    Err(LabError::Command {
        command: name.to_owned(),
        status: output.status.to_string(),
        output: tail,
    })
}

/// The command line for people.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs a blocking job where it does not hold up the asynchronous ones.
pub(crate) async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(job).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Starts `job` on a thread of its own and hands out its result on joining.
pub(crate) fn on_thread<'scope, 'env, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, 'env>,
    job: impl FnOnce() -> Result<T> + Send + 'scope,
) -> impl FnOnce() -> Result<T> + 'scope {
    let handle = scope.spawn(job);
    move || handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
