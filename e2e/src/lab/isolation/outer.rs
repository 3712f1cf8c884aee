//! The process that the user started.

use std::{
    ffi::OsString,
    io::{IsTerminal, Write},
    net::{Ipv4Addr, TcpListener as StdListener},
    process::{ExitCode, ExitStatus, Stdio},
};

use tokio::{
    net::{TcpListener, UnixListener},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use super::{
    MARK, Openings, Site, State, cgroup,
    doors::{self, Target},
    exit_code, leftovers,
};
use crate::lab::{
    error::{During, Result},
    tools::Tools,
};

/// Runs this program again with `args`, in new namespaces, and returns its exit code.
///
/// Ctrl-C, SIGTERM and SIGHUP ask the inner process to stop; a second one kills it. However this
/// process ends, the inner one and everything it started ends too.
pub fn isolate(
    tools: Tools,
    openings: impl Into<Openings>,
    args: impl IntoIterator<Item = OsString>,
) -> Result<ExitCode> {
    let (state, lock) = leftovers::sweep_and_create()?;
    // The death signal of inner is bound to the thread that starts it: one that lives to the end.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .attempting("start the runtime")?;
    let result = runtime.block_on(run(&state, tools, openings.into(), args));
    if std::io::stderr().is_terminal() {
        // Progress bars hide the cursor; one that was killed did not show it again.
        let _ = std::io::stderr().write_all(b"\x1b[?25h");
    }
    drop(lock);
    let status = result?;
    if status.success() {
        leftovers::discard(&state)?;
    } else {
        cgroup::remove(&state)?;
        eprintln!("logs of the lab, until the next start: {}", state.logs().display());
    }
    Ok(ExitCode::from(exit_code(status)))
}

async fn run(
    state: &State,
    tools: Tools,
    openings: Openings,
    args: impl IntoIterator<Item = OsString>,
) -> Result<ExitStatus> {
    let mut site = Site { tools, doors: Vec::new() };
    for (name, target) in openings.windows {
        let socket = state.window(&name);
        let listener = UnixListener::bind(&socket).during("listen on", &socket)?;
        tokio::spawn(doors::out_of_socket(listener, Target::Name(target)));
    }
    for name in openings.doors {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).attempting("open a port")?;
        listener.set_nonblocking(true).attempting("open a port")?;
        let port = listener.local_addr().attempting("open a port")?.port();
        let listener = TcpListener::from_std(listener).attempting("open a port")?;
        tokio::spawn(doors::into_socket(listener, state.door(&name)));
        site.doors.push((name, port));
    }
    site.save(state)?;
    supervise(start(state, args)?).await
}

fn start(state: &State, args: impl IntoIterator<Item = OsString>) -> Result<Child> {
    let program = std::env::current_exe().attempting("find this program")?;
    let mut command = Command::new("setpriv");
    command
        // SIGKILL of this process kills unshare, which kills inner, whose end ends the rest.
        .args(["--pdeathsig", "KILL", "unshare", "--kill-child=KILL", "--fork"])
        .args(["--mount", "--propagation", "private", "--net", "--pid", "--mount-proc"])
        .arg(program)
        .arg(MARK)
        .arg(&state.0)
        .args(args)
        // A process group of its own: Ctrl-C reaches only this process, which passes the wish on
        // by closing the pipe. A pipe, because its end also tells inner of this process's death.
        .process_group(0)
        .stdin(Stdio::piped())
        .kill_on_drop(true);
    command.spawn().attempting("start the lab's namespaces with setpriv and unshare")
}

async fn supervise(mut child: Child) -> Result<ExitStatus> {
    let mut interrupt = signal(SignalKind::interrupt()).attempting("handle SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).attempting("handle SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).attempting("handle SIGHUP")?;
    let mut wish = child.stdin.take();
    loop {
        tokio::select! {
            status = child.wait() => return status.attempting("wait for the lab"),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        if wish.take().is_none() {
            child.start_kill().attempting("kill the lab")?;
        }
    }
}
