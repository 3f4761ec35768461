mod endpoint_problem;
mod path_in_use;

use std::{convert::Infallible, io, path::PathBuf};

pub use self::{endpoint_problem::EndpointProblem, path_in_use::PathInUse};
use crate::Endpoint;

/// Why an endpoint was refused, or could not be reached or served.
///
/// Custom transports build the variants [`Connect`](Self::Connect) and [`Accept`](Self::Accept)
/// themselves; [`io::Error::other`] wraps whatever error their carrier has.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text does not name an endpoint.
    #[error("{text:?} is not an endpoint: {problem} (use {SUPPORTED})")]
    InvalidEndpoint {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: EndpointProblem,
    },

    /// The scheme is none that this crate carries bytes over.
    #[error("{text:?}: the carrier {scheme:?} is not supported (use {SUPPORTED})")]
    UnsupportedScheme {
        /// What was given.
        text: String,
        /// The part before `://`.
        scheme: String,
    },

    /// The path does not fit into a Unix socket address.
    #[error(
        "the socket path {path:?} has {len} bytes, and this system takes {max}; \
         use a shorter or a relative path"
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        len: usize,
        /// The most that this system takes.
        max: usize,
    },

    /// No built-in transport reaches this endpoint: it is a custom one, or a Unix socket on a
    /// system without them.
    #[error("no built-in transport for {endpoint}; supply a connector or an acceptor of your own")]
    NoTransport {
        /// The endpoint.
        endpoint: Endpoint,
    },

    /// The connection could not be opened.
    #[error("cannot connect to {endpoint}; check that a server listens there")]
    Connect {
        /// Where to.
        endpoint: Endpoint,
        /// What the system said.
        source: io::Error,
    },

    /// The address could not be taken.
    #[error("cannot listen on {endpoint}; check that the address is free and yours to use")]
    Bind {
        /// Where.
        endpoint: Endpoint,
        /// What the system said.
        source: io::Error,
    },

    /// Something that must not be removed is at the path of the socket.
    #[error("cannot listen on {path:?}: {reason}")]
    PathInUse {
        /// The path.
        path: PathBuf,
        /// What is there.
        reason: PathInUse,
    },

    /// Another process kept the directory of the socket locked.
    #[error(
        "cannot listen in {directory:?}: another process keeps a lock on that directory; \
         try again, or use a directory of its own for the socket"
    )]
    DirectoryLocked {
        /// The directory.
        directory: PathBuf,
    },

    /// The name is served in this process already.
    #[error("memory://{name} is in use in this process; close its listener or use another name")]
    NameInUse {
        /// The name.
        name: String,
    },

    /// No connection could be taken from the listener. See [`Error::is_transient`].
    #[error("cannot accept a connection on {endpoint}")]
    Accept {
        /// Where.
        endpoint: Endpoint,
        /// What the system said.
        source: io::Error,
    },
}

const SUPPORTED: &str = "unix:///path, tcp://host:port or memory://name";

impl Error {
    /// True if nobody listens at the endpoint: the connection was refused, or there is no such
    /// socket file. A server that is just starting looks like this too.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Connect { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
        ))
    }

    /// True if the address to listen on belongs to something else.
    pub fn is_in_use(&self) -> bool {
        match self {
            Self::PathInUse { .. } | Self::NameInUse { .. } => true,
            Self::Bind { source, .. } => source.kind() == io::ErrorKind::AddrInUse,
            _ => false,
        }
    }

    /// True if accepting can go on after this error.
    ///
    /// Either one client went away before it was accepted, or the process or the system is out of
    /// descriptors or memory for now. Wait a little before the next accept: in the latter case it
    /// fails at once, again and again.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Accept { source, .. } if is_transient(source))
    }
}

#[cfg(unix)]
fn is_transient(error: &io::Error) -> bool {
    use rustix::io::Errno;

    // Linux hands pending network errors of the new connection to accept(2), whose manual asks to
    // treat them as "try again". So the list has more than the usual suspects.
    let transient = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::INTR,
        Errno::AGAIN,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::PERM,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::TIMEDOUT,
    ];
    match Errno::from_io_error(error) {
        Some(errno) => transient.contains(&errno),
        None => is_transient_kind(error.kind()),
    }
}

#[cfg(not(unix))]
fn is_transient(error: &io::Error) -> bool {
    is_transient_kind(error.kind())
}

fn is_transient_kind(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::TimedOut
            | io::ErrorKind::OutOfMemory
    )
}

/// Lets a function take `impl TryInto<Endpoint>`, and be given an [`Endpoint`] as it is.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(source: io::Error) -> Error {
        Error::Accept {
            endpoint: Endpoint::custom("test"),
            source,
        }
    }

    #[test]
    fn running_out_of_descriptors_is_transient_and_a_bad_socket_is_not() {
        #[cfg(unix)]
        {
            use rustix::io::Errno;
            for errno in [
                Errno::MFILE,
                Errno::NFILE,
                Errno::NOBUFS,
                Errno::CONNABORTED,
            ] {
                assert!(accept(errno.into()).is_transient(), "{errno}");
            }
            for errno in [Errno::BADF, Errno::INVAL, Errno::NOTSOCK] {
                assert!(!accept(errno.into()).is_transient(), "{errno}");
            }
        }
        assert!(accept(io::ErrorKind::ConnectionAborted.into()).is_transient());
        assert!(!accept(io::ErrorKind::BrokenPipe.into()).is_transient());
    }

    #[test]
    fn an_error_never_repeats_its_source() {
        let error = accept(io::Error::other("the carrier is gone"));
        assert!(!error.to_string().contains("the carrier is gone"));
        assert!(std::error::Error::source(&error).is_some());
    }
}
