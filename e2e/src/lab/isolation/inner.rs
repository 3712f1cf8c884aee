//! The lab's own process.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    fs::{FlockOperation, flock},
    mount::{MountFlags, UnmountFlags, mount, unmount},
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
};

use super::{
    MARK, Site, State, cgroup,
    doors::{self, Target},
    init,
};
use crate::lab::{
    error::{During, LabError, Result},
    tools::Tools,
};

/// The namespaces that this process is in, and its way to the outside.
#[derive(Debug)]
pub struct Inside {
    state: State,
    tools: Tools,
    doors: BTreeMap<String, u16>,
    cgroup: PathBuf,
    stop: watch::Receiver<bool>,
    /// Tells the next start of a lab that this one lives.
    _lock: File,
}

impl Inside {
    /// Looks whether this process was started by [`super::isolate`]; also the arguments without the
    /// mark of it. If it was, prepares the namespaces; process 1 of them does not return.
    pub fn arrive(
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<(Option<Self>, Vec<OsString>)> {
        let mut args: Vec<_> = args.into_iter().collect();
        // The aliases of .cargo/config.toml end in `--`, so that both `cargo demo --once` and
        // `cargo demo -- --once` reach us, the latter with one `--` left.
        if args.get(1).is_some_and(|arg| arg == "--") {
            args.remove(1);
        }
        if args.get(1).is_none_or(|arg| arg != MARK) || args.len() < 3 {
            return Ok((None, args));
        }
        if init::is_process_1() {
            std::process::exit(init::supervise(&args)?.into());
        }
        let state = State(args.drain(1..3).next_back().unwrap_or_default().into());
        Ok((Some(Self::prepare(state)?), args))
    }

    fn prepare(state: State) -> Result<Self> {
        let lock = File::open(state.lock()).during("open", state.lock())?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // It died before its death could be signalled to this process.
            return Err(LabError::Unexpected {
                what: state.lock().display().to_string(),
                why: "the process that started this lab is gone".into(),
            });
        }
        flock(&lock, FlockOperation::LockShared).during("lock", state.lock())?;
        let stop = watch_stdin();
        mount_filesystems(&state)?;
        let cgroup = cgroup::enter(&state)?;
        let site = Site::load(&state)?;
        let doors = site.doors.into_iter().collect();
        Ok(Self { state, tools: site.tools, doors, cgroup, stop, _lock: lock })
    }

    /// Lets the outside reach `target` by the door `name`; its port on 127.0.0.1 outside.
    /// Must be called within a tokio runtime.
    pub fn open_door(&self, name: &str, target: SocketAddr) -> Result<u16> {
        let port = self.doors.get(name).ok_or_else(|| LabError::Unexpected {
            what: format!("the door {name:?}"),
            why: format!("only these were announced: {:?}", self.doors.keys()),
        })?;
        let socket = self.state.door(name);
        let listener = UnixListener::bind(&socket).during("listen on", &socket)?;
        tokio::spawn(doors::out_of_socket(listener, Target::Address(target)));
        Ok(*port)
    }

    /// Lets the lab reach the server outside that was announced as `name` at `address`, which must
    /// be one of this process's. Must be called within a tokio runtime.
    pub async fn open_window(&self, name: &str, address: SocketAddr) -> Result<()> {
        let socket = self.state.window(name);
        if !socket.exists() {
            return Err(LabError::Unexpected {
                what: format!("the window {name:?}"),
                why: "it was not announced when the lab was isolated".into(),
            });
        }
        let listener = TcpListener::bind(address).await;
        let listener = listener.attempting(format!("listen on {address}"))?;
        tokio::spawn(doors::into_socket(listener, socket));
        Ok(())
    }

    /// Becomes true when the user wants the lab to end.
    pub fn stop_requested(&self) -> watch::Receiver<bool> {
        self.stop.clone()
    }

    /// The lab's programs.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// The directory for logs; on disk, readable from outside.
    pub fn logs(&self) -> PathBuf {
        self.state.logs()
    }

    /// The directory for files that people outside need, such as a kubeconfig; on disk.
    pub fn shared(&self) -> &Path {
        &self.state.0
    }

    /// The directory for everything else; in memory, visible only in the lab.
    pub fn volatile(&self) -> PathBuf {
        self.state.volatile()
    }

    /// The lab's control group.
    pub(crate) fn cgroup(&self) -> &Path {
        &self.cgroup
    }
}

/// The end of standard input is the wish to stop, see `outer::start`.
fn watch_stdin() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    thread::spawn(move || {
        let mut byte = [0];
        while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
        sender.send_replace(true);
    });
    receiver
}

fn mount_filesystems(state: &State) -> Result<()> {
    let fresh = |kind: &str, target: &Path| {
        fs::create_dir_all(target).during("create", target)?;
        mount(kind, target, kind, MountFlags::empty(), None).during("mount on", target)
    };
    fresh("tmpfs", &state.volatile())?;
    // nspawn keeps locks and sockets here by the container's name, which two labs share.
    fresh("tmpfs", Path::new("/run/systemd/nspawn"))?;
    // The old /sys shows the old network namespace and the machine's own layout of control groups.
    unmount("/sys", UnmountFlags::DETACH).during("unmount", "/sys")?;
    fresh("sysfs", Path::new("/sys"))?;
    fresh("cgroup2", Path::new("/sys/fs/cgroup"))
}
