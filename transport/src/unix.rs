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
    Connection, Endpoint, Error, PeerAddr, SocketAccess,
    directory_lock::DirectoryLock,
    internal::Backoff,
    socket_file::{self, SocketFile},
};

pub(crate) async fn connect(path: &Path) -> io::Result<Connection> {
    let mut backoff = Backoff::new(FIRST_DELAY, MAX_DELAY);
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return Ok(Connection::unix(stream, PeerAddr::Unix(Some(path.into())))),
            // On Linux, the backlog is full. The system sends no notification when the backlog has
            // capacity again, so poll with a backoff.
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
    // This field is declared before `listener` so that the file is removed while the socket is
    // still open. The file system cannot reuse the inode number while the socket is open, so a file
    // with this number belongs to this listener.
    _file: Option<SocketFile>,
    listener: UnixListener,
}

impl UnixAcceptor {
    pub(crate) async fn bind(path: &Path, access: &SocketAccess) -> Result<Self, Error> {
        let failed = |source| Error::Bind {
            endpoint: Endpoint::Unix {
                path: path.to_owned(),
            },
            source,
        };

        // These calls block the thread, but each server makes only a few metadata calls once.
        let directory = socket_file::directory_of(path);
        socket_file::create_directory(directory).map_err(failed)?;
        // Hold the lock until listen(2), because a socket that is bound but does not listen yet
        // looks stale.
        let _lock = DirectoryLock::acquire(directory).await?;

        for _ in 0..BIND_ATTEMPTS {
            // Check the path before each bind instead of after a failed bind, because macOS binds
            // through dangling symbolic links.
            socket_file::remove_stale(path).await?;
            match listen(path, access) {
                Ok(acceptor) => return Ok(acceptor),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(io::ErrorKind::AddrInUse.into()))
    }

    /// Converts a bound listener and returns its endpoint. The socket file is not removed, because
    /// it belongs to the creator of the socket.
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

fn listen(path: &Path, access: &SocketAccess) -> io::Result<UnixAcceptor> {
    let socket = UnixSocket::new_stream()?;
    bind_private(&socket, path)?;
    let file = SocketFile::just_made(path);
    // No client can connect before the socket listens.
    give_access(path, access)?;
    Ok(UnixAcceptor {
        _file: Some(file),
        listener: socket.listen(BACKLOG)?,
    })
}

/// Sets the group and the mode of a socket file.
///
/// Another user who can write to the directory may have replaced the file, so the path is opened
/// once, without following a link, and must lead to a socket.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn give_access(path: &Path, access: &SocketAccess) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, chmod, chownat, fstat, open};

    let Some(mode) = access.effective_mode() else {
        return Ok(());
    };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::Socket {
        return Err(io::Error::other("the socket file was replaced"));
    }
    if let Some(group) = access.group {
        chownat(
            &file,
            "",
            None,
            Some(Gid::from_raw(group)),
            AtFlags::EMPTY_PATH,
        )?;
    }
    // A descriptor without access to the contents has no other way to change the mode.
    chmod(
        format!("/proc/self/fd/{}", file.as_raw_fd()),
        Mode::from_raw_mode(mode),
    )?;
    Ok(())
}

/// Sets the group and the mode of a socket file.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn give_access(path: &Path, access: &SocketAccess) -> io::Result<()> {
    use std::{fs, os::unix::fs::PermissionsExt};

    let Some(mode) = access.effective_mode() else {
        return Ok(());
    };
    if let Some(group) = access.group {
        std::os::unix::fs::lchown(path, None, Some(group))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Binds a socket and creates its file with mode 0600.
///
/// On Linux, the file gets the mode of the socket, reduced by the umask, so other users cannot open
/// the file at any time.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn bind_private(socket: &UnixSocket, path: &Path) -> io::Result<()> {
    use rustix::fs::{Mode, fchmod};

    fchmod(socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(path)
}

/// Binds a socket and creates its file with mode 0600.
///
/// On systems other than Linux, only the umask determines the mode at creation. The umask is shared
/// by the whole process, so binds are serialized. Otherwise, a concurrent bind could save the
/// restrictive umask of the first bind and restore it later.
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

/// The length of the accept queue. The system reduces the length to its own limit.
const BACKLOG: u32 = 1024;

/// The maximum number of bind attempts. Another attempt is needed if a program that does not use
/// the directory lock creates the path first.
const BIND_ATTEMPTS: u32 = 4;
