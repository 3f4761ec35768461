//! Listening sockets that the parent of the program has bound.

use agentwire::transport::Listener;

#[cfg(unix)]
pub(crate) use self::unix::Socket;
use crate::exit::{CliError, Exit};

/// Returns whether the parent has passed sockets as systemd does.
pub(crate) fn are_passed() -> bool {
    let own = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    // Without the check of LISTEN_PID, the sockets could be meant for a parent.
    own("LISTEN_PID") == Some(std::process::id()) && own("LISTEN_FDS").is_some_and(|it| it > 0)
}

/// Takes the sockets that the parent has passed as systemd does (`LISTEN_FDS`). Call this function
/// once.
///
/// The variables stay set, because only unsafe code can change the environment. Another program
/// cannot take the sockets for its own: `LISTEN_PID` names this process, and the sockets are closed
/// when another program is started.
#[cfg(unix)]
pub(crate) fn passed() -> Result<Vec<Socket>, CliError> {
    if !are_passed() {
        return Ok(Vec::new());
    }
    let count = std::env::var("LISTEN_FDS").unwrap_or_default();
    if count.parse().is_ok_and(|count: u32| count > MAX_PASSED) {
        let problem = format!("LISTEN_FDS: {count} sockets are more than {MAX_PASSED}");
        return Err(CliError::new(Exit::Usage, problem));
    }
    let sockets = sd_listen_fds::get()
        .map_err(|error| CliError::from_error(Exit::Usage, &error).context("LISTEN_FDS"))?;
    let sockets = sockets.into_iter().enumerate();
    sockets
        .map(|(i, (_, fd))| {
            let (name, fd) = (format!("LISTEN_FDS, socket {i}"), fd.into_std());
            rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)
                .map_err(|error| CliError::from_error(Exit::Usage, &error).context(&name))?;
            Socket::new(name, fd)
        })
        .collect()
}

/// Takes a socket that the parent has left open.
#[cfg(unix)]
pub(crate) fn inherited(number: i32) -> Result<Socket, CliError> {
    let name = format!("--fd {number}");
    let fd = unix::duplicate(number)
        .map_err(|error| CliError::from_error(Exit::Usage, &error).context(&name))?;
    Socket::new(name, fd)
}

/// The maximum number of sockets in `LISTEN_FDS`.
#[cfg(unix)]
const MAX_PASSED: u32 = 256;

#[cfg(unix)]
mod unix {
    use std::{
        io,
        net::TcpListener,
        os::{fd::OwnedFd, unix::net::UnixListener},
    };

    use rustix::net::{
        AddressFamily, SocketType, getsockname,
        sockopt::{socket_acceptconn, socket_type},
    };

    use super::{CliError, Exit, Listener};

    /// A listening socket of this process.
    #[derive(Debug)]
    pub(crate) struct Socket {
        name: String,
        fd: OwnedFd,
        family: AddressFamily,
    }

    impl Socket {
        /// Checks that `fd` is a listening socket of a supported kind.
        pub(super) fn new(name: String, fd: OwnedFd) -> Result<Self, CliError> {
            let unusable = |problem: &str| {
                let problem = format!("{name}: {problem}");
                Err(CliError::new(Exit::Usage, problem))
            };
            let Ok(address) = getsockname(&fd) else {
                return unusable("not a socket");
            };
            let family = address.address_family();
            let is_supported = [
                AddressFamily::UNIX,
                AddressFamily::INET,
                AddressFamily::INET6,
            ]
            .contains(&family);
            if !is_supported || socket_type(&fd) != Ok(SocketType::STREAM) {
                return unusable("neither a TCP nor a Unix stream socket");
            }
            if socket_acceptconn(&fd) != Ok(true) {
                return unusable("the socket does not listen");
            }
            Ok(Self { name, fd, family })
        }

        /// Returns how the socket was passed, for errors.
        pub(crate) fn name(&self) -> &str {
            &self.name
        }

        /// Converts the socket. Call this method inside the runtime.
        pub(crate) fn into_listener(self) -> Result<Listener, CliError> {
            let listener = if self.family == AddressFamily::UNIX {
                Listener::try_from(UnixListener::from(self.fd))
            } else {
                Listener::try_from(TcpListener::from(self.fd))
            };
            listener.map_err(|error| CliError::from_error(Exit::Usage, &error).context(self.name))
        }
    }

    /// Duplicates a file descriptor that is known by its number alone. The duplicate is not passed
    /// on to other programs.
    ///
    /// A number is not proof that the descriptor may be used, so std has no safe function for this.
    #[cfg(target_os = "linux")]
    pub(super) fn duplicate(number: i32) -> io::Result<OwnedFd> {
        use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

        if number == 0 {
            return Ok(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
        }
        let this = pidfd_open(getpid(), PidfdFlags::empty())?;
        Ok(pidfd_getfd(this, number, PidfdGetfdFlags::empty())?)
    }

    /// Duplicates a file descriptor that is known by its number alone.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn duplicate(number: i32) -> io::Result<OwnedFd> {
        // Opening the file duplicates the descriptor.
        std::fs::File::open(format!("/dev/fd/{number}")).map(OwnedFd::from)
    }
}

/// A socket cannot be passed on this platform.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) enum Socket {}

#[cfg(not(unix))]
impl Socket {
    pub(crate) fn name(&self) -> &str {
        match *self {}
    }

    pub(crate) fn into_listener(self) -> Result<Listener, CliError> {
        match self {}
    }
}

#[cfg(not(unix))]
pub(crate) fn passed() -> Result<Vec<Socket>, CliError> {
    Ok(Vec::new())
}

#[cfg(not(unix))]
pub(crate) fn inherited(_: i32) -> Result<Socket, CliError> {
    let problem = "--fd: this platform cannot pass sockets by number";
    Err(CliError::new(Exit::Usage, problem))
}
