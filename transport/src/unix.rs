use std::io;
use std::path::Path;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::time::sleep;

use crate::directory_lock::DirectoryLock;
use crate::socket_file::{self, SocketFile};
use crate::{Connection, Endpoint, Error, Peer, internal::Backoff};

pub(crate) async fn connect(path: &Path) -> io::Result<Connection> {
    let mut backoff = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return Ok(Connection::unix(stream, Peer::Unix(Some(path.to_owned())))),
            // Linux: the backlog is full, and nothing tells when it no longer is.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(backoff.next_delay()).await;
            }
            Err(error) => return Err(error),
        }
    }
}

pub(crate) struct UnixAcceptor {
    // Above the listener, so that the file goes first. While the socket is open, its inode number
    // cannot be given to another file, so the file is surely ours if the number is.
    _file: SocketFile,
    listener: UnixListener,
}

impl UnixAcceptor {
    pub(crate) async fn bind(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Bind {
            endpoint: Endpoint::Unix {
                path: path.to_owned(),
            },
            source,
        };

        // These are a few calls on metadata, once per server: not worth a thread.
        let directory = socket_file::directory_of(path);
        socket_file::create_directory(directory).map_err(failed)?;
        // Up to the listen(2), since a socket that is bound but does not listen yet looks stale.
        let _lock = DirectoryLock::acquire(directory).await?;

        for _ in 0..ROUNDS {
            // Before the bind and not after it failed: macOS binds through a symbolic link that
            // leads nowhere.
            socket_file::remove_stale(path).await?;
            match listen(path) {
                Ok(acceptor) => return Ok(acceptor),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(io::ErrorKind::AddrInUse.into()))
    }

    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        let (stream, address) = ready!(self.listener.poll_accept(cx))?;
        let peer = Peer::Unix(address.as_pathname().map(Path::to_owned));
        Poll::Ready(Ok(Connection::unix(stream, peer)))
    }
}

fn listen(path: &Path) -> io::Result<UnixAcceptor> {
    let socket = UnixSocket::new_stream()?;
    bind_private(&socket, path)?;
    let file = SocketFile::just_made(path);
    Ok(UnixAcceptor {
        _file: file,
        listener: socket.listen(BACKLOG)?,
    })
}

/// Linux gives the file the mode of the socket, less the umask. So there is no instant at which
/// the file could be opened by others.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn bind_private(socket: &UnixSocket, path: &Path) -> io::Result<()> {
    use rustix::fs::{Mode, fchmod};

    fchmod(socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(path)
}

/// Elsewhere only the umask reaches the file before anybody else does. It belongs to the whole
/// process, so two binds must not interleave: the second would take the mask of the first for the
/// one to go back to.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bind_private(socket: &UnixSocket, path: &Path) -> io::Result<()> {
    use rustix::fs::Mode;
    use rustix::process::umask;

    static UMASK: crate::internal::Mutex<()> = crate::internal::Mutex::new(());
    let _turn = UMASK.lock();
    let before = umask(Mode::XUSR | Mode::RWXG | Mode::RWXO);
    let bound = socket.bind(path);
    umask(before);
    bound
}

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// The system cuts this down to its own limit.
const BACKLOG: u32 = 1024;

/// How often the path may be taken again by somebody who does not know of the lock.
const ROUNDS: u32 = 4;
