//! A door leads from a port on 127.0.0.1 outside into the lab's network namespace.
//!
//! Outer accepts on TCP and connects to a unix socket in the state directory; inner accepts there and
//! connects to the server. A file is the only thing that both namespaces can see.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

/// Connections through one door at a time; more wait in the listener's backlog.
const CONNECTIONS: usize = 256;
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Serves the outside of a door for ever.
pub(super) async fn serve_outside(listener: TcpListener, socket: PathBuf) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        let socket = socket.clone();
        pass(&room, accepted, async move { UnixStream::connect(socket).await }).await;
    }
}

/// Serves the inside of a door for ever.
pub(super) async fn serve_inside(listener: UnixListener, target: SocketAddr) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        pass(&room, accepted, TcpStream::connect(target)).await;
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
