//! The Unix socket carrier.

use std::{
    io,
    path::Path,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixSocket, UnixStream, unix::SocketAddr},
    time::sleep,
};

use crate::{
    Connection, Endpoint, Error, PeerAddr,
    directory_lock::DirectoryLock,
    internal::Backoff,
    socket_file::{self, SocketFile},
};

pub(crate) async fn connect(path: &Path) -> io::Result<Connection> {
    let mut backoff = Backoff::new(FIRST_DELAY, MAX_DELAY);
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return Ok(Connection::unix(stream, PeerAddr::Unix(Some(path.into())))),
            // Linux: the backlog is full. The system does not notify when it has room again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(backoff.next_delay()).await;
            }
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn peer_addr(address: &SocketAddr) -> PeerAddr {
    PeerAddr::Unix(address.as_pathname().map(Into::into))
}

pub(crate) struct UnixAcceptor {
    // Declared before `listener` so that the file is removed while the socket is still open: until
    // then the file system cannot reuse the inode number, so a file with that number is ours.
    _file: Option<SocketFile>,
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

        // Blocking, but these are a few metadata calls once per server.
        let directory = socket_file::directory_of(path);
        socket_file::create_directory(directory).map_err(failed)?;
        // Held until listen(2), since a socket that is bound but does not listen looks stale.
        let _lock = DirectoryLock::acquire(directory).await?;

        for _ in 0..BIND_ATTEMPTS {
            // Before each bind rather than after a failed one: macOS binds through a dangling
            // symbolic link.
            socket_file::remove_stale(path).await?;
            match listen(path) {
                Ok(acceptor) => return Ok(acceptor),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(io::ErrorKind::AddrInUse.into()))
    }

    /// Takes over a listener, and returns the endpoint that it listens on. Its file belongs to
    /// whatever created it.
    pub(crate) fn adopt(listener: UnixListener) -> io::Result<(Self, Endpoint)> {
        let address = listener.local_addr()?;
        let path = address
            .as_pathname()
            .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "the socket has no path"))?;
        let endpoint = Endpoint::unix(path).map_err(io::Error::other)?;
        let acceptor = Self {
            _file: None,
            listener,
        };
        Ok((acceptor, endpoint))
    }

    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        let (stream, address) = ready!(self.listener.poll_accept(cx))?;
        Poll::Ready(Ok(Connection::unix(stream, peer_addr(&address))))
    }
}

fn listen(path: &Path) -> io::Result<UnixAcceptor> {
    let socket = UnixSocket::new_stream()?;
    bind_private(&socket, path)?;
    let file = SocketFile::just_made(path);
    Ok(UnixAcceptor {
        _file: Some(file),
        listener: socket.listen(BACKLOG)?,
    })
}

/// Binds a socket whose file has mode 0600 from the start.
///
/// Linux gives the file the mode of the socket, less the umask, so no other user can open the file
/// at any moment.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn bind_private(socket: &UnixSocket, path: &Path) -> io::Result<()> {
    use rustix::fs::{Mode, fchmod};

    fchmod(socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(path)
}

/// Binds a socket whose file has mode 0600 from the start.
///
/// Outside Linux, only the umask determines the mode at creation. The umask belongs to the process,
/// so binds are serialized: a concurrent one would save the restrictive mask of the first as the
/// mask to restore.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bind_private(socket: &UnixSocket, path: &Path) -> io::Result<()> {
    use rustix::{fs::Mode, process::umask};

    use crate::internal::Mutex;

    static UMASK: Mutex<()> = Mutex::new(());
    let _guard = UMASK.lock();
    let before = umask(Mode::XUSR | Mode::RWXG | Mode::RWXO);
    let bound = socket.bind(path);
    umask(before);
    bound
}

const FIRST_DELAY: Duration = Duration::from_millis(1);
const MAX_DELAY: Duration = Duration::from_millis(50);

/// The length of the accept queue. The system clamps it to its own limit.
const BACKLOG: u32 = 1024;

/// How often to bind again when another program, which ignores the directory lock, takes the path
/// first.
const BIND_ATTEMPTS: u32 = 4;
