//! Ways between the lab's network and the one outside. A unix socket in the state directory is the
//! only thing that both can see; on each side somebody passes its connections on.
//!
//! ```text
//! door     a port on 127.0.0.1 outside → outer → socket → inner → a server of the lab
//! window   an address in the lab → inner → socket → outer → a server outside
//! ```

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

/// Connections through one of them at a time; more wait in the listener's backlog.
const CONNECTIONS: usize = 256;
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Passes connections by TCP on to a unix socket, for ever.
pub(super) async fn into_socket(listener: TcpListener, socket: PathBuf) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        let socket = socket.clone();
        pass(&room, accepted, async move { UnixStream::connect(socket).await }).await;
    }
}

/// Passes connections to a unix socket on to `target`, for ever.
pub(super) async fn out_of_socket(listener: UnixListener, target: Target) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        pass(&room, accepted, target.clone().connect()).await;
    }
}

/// Where connections end.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// A server of the lab.
    Address(SocketAddr),
    /// A server outside: `host:port`, whose name is looked up anew for each connection.
    Name(String),
}

impl Target {
    async fn connect(self) -> std::io::Result<TcpStream> {
        match self {
            Self::Address(address) => TcpStream::connect(address).await,
            Self::Name(name) => TcpStream::connect(name).await,
        }
    }
}

/// Joins an accepted connection with the one that `connect` makes, in the background.
///
/// When the other side cannot be reached the accepted connection is closed: that is how a client
/// sees a server that is down.
async fn pass<A, B>(
    room: &Arc<Semaphore>,
    accepted: std::io::Result<A>,
    connect: impl Future<Output = std::io::Result<B>> + Send + 'static,
) where
    A: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(mut near) = accepted else {
        // Out of file descriptors, most likely; the backlog waits meanwhile.
        sleep(Duration::from_millis(100)).await;
        return;
    };
    let Ok(permit) = Arc::clone(room).acquire_owned().await else { return };
    tokio::spawn(async move {
        if let Ok(Ok(mut far)) = timeout(CONNECT_DEADLINE, connect).await {
            let _ = copy_bidirectional(&mut near, &mut far).await;
        }
        drop(permit);
    });
}
