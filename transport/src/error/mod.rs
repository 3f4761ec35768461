//! The errors of this crate.

mod endpoint_problem;
mod path_in_use;
mod tls;
mod websocket;

use std::{convert::Infallible, fmt, io, path::PathBuf};

use agentwire_text::Untrusted;

pub use self::{
    endpoint_problem::EndpointProblem,
    path_in_use::PathInUse,
    tls::{CertificateProblem, TlsError},
    websocket::WebSocketError,
};
use crate::{Endpoint, Peer};

/// The error for an invalid endpoint, a failed connection attempt or a failed listener.
///
/// Custom carriers create the variants [`Connect`](Self::Connect) and [`Accept`](Self::Accept). Use
/// [`io::Error::other`] to wrap an error of the carrier.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not a valid endpoint.
    #[error("{:?} is not a valid endpoint: {problem}{}", Untrusted(text), Hint(text, *problem))]
    InvalidEndpoint {
        /// The text.
        text: String,
        /// The reason why the text is invalid.
        problem: EndpointProblem,
    },

    /// No built-in carrier has this scheme.
    #[error(
        "{:?}: the scheme {:?} is not supported (use {SUPPORTED})",
        Untrusted(text),
        Untrusted(scheme)
    )]
    UnsupportedScheme {
        /// The text.
        text: String,
        /// The part before `://`.
        scheme: String,
    },

    /// The path is too long for a Unix socket address.
    #[error(
        "the socket path {:?} has {len} bytes, and this system allows {max}; \
         use a shorter or a relative path",
        Untrusted(path.display())
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// The length of the path in bytes.
        len: usize,
        /// The maximum length in bytes on this system.
        max: usize,
    },

    /// No built-in carrier supports this endpoint. The endpoint is either a custom endpoint or a
    /// Unix socket on a system without Unix sockets.
    #[error(
        "no built-in carrier supports {}; implement `Connector` or `Accept` for it",
        Untrusted(endpoint)
    )]
    NoCarrier {
        /// The endpoint.
        endpoint: Endpoint,
    },

    /// The program was built without the carrier of this endpoint.
    #[error(
        "cannot use {}: this program was built without {carrier}; enable the feature {features}",
        Untrusted(endpoint)
    )]
    MissingFeature {
        /// The endpoint.
        endpoint: Endpoint,
        /// The name of the carrier, such as "TLS".
        carrier: &'static str,
        /// The features that add the carrier, in backquotes.
        features: &'static str,
    },

    /// The endpoint is not encrypted, and the client requires TLS. Nothing was sent.
    #[error(
        "{} is not encrypted, and TLS is required; use a tls:// endpoint",
        Untrusted(endpoint)
    )]
    NotEncrypted {
        /// The endpoint.
        endpoint: Endpoint,
    },

    /// A file with certificates or a key cannot be used.
    #[error("cannot use {:?} for TLS", Untrusted(path.display()))]
    TlsFile {
        /// The path of the file.
        path: PathBuf,
        /// The error from the system, or the reason with the kind `InvalidData`.
        source: io::Error,
    },

    /// The settings of TLS are incomplete or contradict each other.
    #[error("TLS cannot be set up: {problem}")]
    TlsSetup {
        /// The reason.
        problem: String,
    },

    /// The connection was opened, but TLS failed. The request was not sent.
    #[error("cannot connect to {} over TLS", Untrusted(endpoint))]
    Tls {
        /// The endpoint.
        endpoint: Endpoint,
        /// The reason.
        source: TlsError,
    },

    /// The connection was opened, but the WebSocket handshake failed. The request was not sent.
    #[error("cannot open a WebSocket to {}", Untrusted(endpoint))]
    WebSocket {
        /// The endpoint.
        endpoint: Endpoint,
        /// The reason.
        source: WebSocketError,
    },

    /// The handshake of an accepted connection failed. See
    /// [`Connection::handshake`](crate::Connection::handshake).
    #[error("the TLS handshake with {peer} failed")]
    Handshake {
        /// The other side of the connection.
        peer: Box<Peer>,
        /// The reason.
        source: TlsError,
    },

    /// The WebSocket handshake of an accepted connection failed. See
    /// [`Connection::handshake`](crate::Connection::handshake).
    #[error("the WebSocket handshake with {peer} failed")]
    Upgrade {
        /// The other side of the connection.
        peer: Box<Peer>,
        /// The error from the connection, or a [`WebSocketError`] inside an [`io::Error`].
        source: io::Error,
    },

    /// The connection could not be opened.
    #[error(
        "cannot connect to {}; check that a server listens there",
        Untrusted(endpoint)
    )]
    Connect {
        /// The endpoint.
        endpoint: Endpoint,
        /// The error from the system or the carrier.
        source: io::Error,
    },

    /// The listener could not be bound to the address.
    #[error(
        "cannot listen on {}; check that the address is free and permitted",
        Untrusted(endpoint)
    )]
    Bind {
        /// The endpoint.
        endpoint: Endpoint,
        /// The error from the system or the carrier.
        source: io::Error,
    },

    /// A socket that was bound elsewhere cannot be converted into a [`Listener`](crate::Listener).
    #[error("cannot listen on the socket that was passed in; bind it to a TCP address or a path")]
    InvalidSocket {
        /// The error from the system.
        source: io::Error,
    },

    /// The path of the socket already exists and must not be removed.
    #[error("cannot listen on {:?}: {reason}", Untrusted(path.display()))]
    PathInUse {
        /// The path.
        path: PathBuf,
        /// The reason why the path must not be removed.
        reason: PathInUse,
    },

    /// Another process held the lock on the directory of the socket for too long.
    #[error(
        "cannot listen in {:?}: another process holds a lock on that directory; \
         try again, or give the socket a directory of its own",
        Untrusted(directory.display())
    )]
    DirectoryLocked {
        /// The directory.
        directory: PathBuf,
    },

    /// Another listener in this process already uses the name.
    #[error(
        "memory://{} is in use in this process; close its listener or use another name",
        Untrusted(name)
    )]
    NameInUse {
        /// The name.
        name: String,
    },

    /// The listener could not accept a connection. See [`Error::is_transient`].
    #[error("cannot accept a connection on {}", Untrusted(endpoint))]
    Accept {
        /// The endpoint.
        endpoint: Endpoint,
        /// The error from the system or the carrier.
        source: io::Error,
    },
}

impl Error {
    /// Replaces the endpoint, for carriers above a byte stream whose endpoints have other schemes.
    /// This method is exempt from semver.
    #[doc(hidden)]
    #[must_use]
    pub fn at(mut self, new: &Endpoint) -> Self {
        if let Self::Tls { endpoint, .. }
        | Self::Connect { endpoint, .. }
        | Self::Bind { endpoint, .. }
        | Self::MissingFeature { endpoint, .. }
        | Self::NotEncrypted { endpoint } = &mut self
        {
            endpoint.clone_from(new);
        }
        self
    }

    /// Returns true if no server listens at the endpoint: the connection was refused, or the socket
    /// file does not exist. The method also returns true while a server is still starting.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Connect { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
        ))
    }

    /// Returns true if the address to listen on is already in use.
    pub fn is_in_use(&self) -> bool {
        match self {
            Self::PathInUse { .. } | Self::NameInUse { .. } => true,
            Self::Bind { source, .. } => source.kind() == io::ErrorKind::AddrInUse,
            _ => false,
        }
    }

    /// Returns the reason if a WebSocket handshake failed.
    pub fn websocket(&self) -> Option<&WebSocketError> {
        match self {
            Self::WebSocket { source, .. } => Some(source),
            Self::Upgrade { source, .. } => source.get_ref()?.downcast_ref(),
            _ => None,
        }
    }

    /// Returns the reason if TLS failed.
    pub fn tls(&self) -> Option<&TlsError> {
        match self {
            Self::Tls { source, .. } | Self::Handshake { source, .. } => Some(source),
            Self::Upgrade { source, .. } => source.get_ref()?.downcast_ref(),
            _ => None,
        }
    }

    /// Returns the reason why TLS failed, or describes the error if it has another reason.
    #[doc(hidden)]
    pub fn into_tls(self) -> TlsError {
        match self {
            Self::Tls { source, .. } | Self::Handshake { source, .. } => source,
            other => TlsError::Other(other.to_string()),
        }
    }

    /// Returns true if the listener can continue to accept connections after this error.
    ///
    /// Either a client disconnected before its connection was accepted, or the process or the
    /// system is temporarily out of file descriptors or memory. Pause before you accept again,
    /// because without free file descriptors, each accept fails immediately.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Accept { source, .. } if is_transient(source))
    }
}

/// A hint about how to correct an invalid endpoint.
struct Hint<'a>(&'a str, EndpointProblem);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, problem) = self;
        let path = text.strip_prefix("unix://").unwrap_or(text);
        match problem {
            EndpointProblem::BareRelativePath => write!(
                f,
                "; write {:?}, with three slashes, for an absolute path, \
                 or {:?} for one below the working directory",
                Untrusted(format_args!("unix:///{path}")),
                Untrusted(format_args!("unix://./{path}")),
            ),
            EndpointProblem::TildeInPath => match path.strip_prefix("~/") {
                Some(rest) => write!(
                    f,
                    "; write the home directory in full, or {:?} in a shell",
                    Untrusted(format_args!("unix://$HOME/{rest}")),
                ),
                None => f.write_str("; write the home directory in full"),
            },
            _ => write!(f, " (use {SUPPORTED})"),
        }
    }
}

#[cfg(unix)]
fn is_transient(error: &io::Error) -> bool {
    use rustix::io::Errno;

    // On Linux, accept(2) also returns pending network errors of the new connection. According to
    // its manual page, these errors should be treated like EAGAIN, so the list is long.
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

/// Allows functions that accept `impl TryInto<Endpoint>` to accept an [`Endpoint`], whose
/// conversion is infallible.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

const SUPPORTED: &str = "unix:///path, memory://name, or tcp, tls, ws, wss, http, https, h2c, grpc \
    or grpcs with ://host:port";

/// The features that add the carrier TLS, for [`Error::MissingFeature`].
#[cfg(not(feature = "tls"))]
pub(crate) const TLS_FEATURES: &str = "`tls-ring` or `tls-aws-lc`";

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
    fn running_out_of_descriptors_is_transient_and_an_invalid_socket_is_not() {
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
