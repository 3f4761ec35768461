//! The other side of a connection.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc};

use agentwire_text::Untrusted;

use crate::PeerCertificate;

/// The other side of a connection, which has an address and, for Unix sockets, credentials, or, for
/// TLS, a certificate.
///
/// Cloning a `Peer` does not allocate. A custom carrier passes a `Peer` to
/// [`Connection::custom`](crate::Connection::custom). A `Peer` can be converted from text or from a
/// [`SocketAddr`].
///
/// ```
/// # mod agentwire { pub extern crate agentwire_transport as transport; }
/// use agentwire::transport::{Credentials, Peer, PeerAddr};
///
/// fn is_allowed(peer: &Peer) -> bool {
///     peer.credentials().is_some_and(|credentials| credentials.uid == 1000)
/// }
///
/// let peer = Peer::new(PeerAddr::Unix(None)).with_credentials(Credentials::new(1000, 1000, None));
/// assert!(is_allowed(&peer));
/// assert!(!is_allowed(&Peer::from("anonymous")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    address: PeerAddr,
    credentials: Option<Credentials>,
    certificate: Option<PeerCertificate>,
}

impl Peer {
    /// Creates a peer without credentials and certificate.
    pub fn new(address: PeerAddr) -> Self {
        Self {
            address,
            credentials: None,
            certificate: None,
        }
    }

    /// Sets the credentials of the process of the peer.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Sets the certificate that the peer presented. The certificate must have been verified.
    #[must_use]
    pub fn with_certificate(mut self, certificate: PeerCertificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Returns the address. The variant of the address identifies the carrier.
    pub fn address(&self) -> &PeerAddr {
        &self.address
    }

    /// Returns the user, group and process of the peer as reported by the kernel, or `None` if they
    /// are not available.
    ///
    /// The kernel reports credentials only for Unix sockets.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Returns the verified certificate that the peer presented over TLS, or `None` if it presented
    /// none. The certificate is known once [`Connection::handshake`](crate::Connection::handshake)
    /// has returned.
    pub fn certificate(&self) -> Option<&PeerCertificate> {
        self.certificate.as_ref()
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::new(PeerAddr::Tcp(address))
    }
}

impl From<String> for Peer {
    fn from(text: String) -> Self {
        Self::new(PeerAddr::Custom(text.into()))
    }
}

impl From<&str> for Peer {
    fn from(text: &str) -> Self {
        Self::new(PeerAddr::Custom(text.into()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// The address of a [`Peer`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddr {
    /// The address of a Unix socket. The socket of a server has a path; the socket of a client
    /// usually has no path.
    Unix(Option<Arc<Path>>),
    /// The address of a TCP socket.
    Tcp(SocketAddr),
    /// The name of the listener in this process.
    Memory(Arc<str>),
    /// A human-readable description from a custom carrier.
    Custom(Arc<str>),
    /// The address is unknown because the peer disconnected before the address could be read.
    Unknown,
}

/// Escapes and cuts a path or a description that the peer chose.
impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(Some(path)) => write!(f, "unix://{}", Untrusted(path.display())),
            Self::Unix(None) => f.write_str("unix (unnamed)"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Memory(name) => write!(f, "memory://{}", Untrusted(name)),
            Self::Custom(text) => Untrusted(text).fmt(f),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// The user, group and process of the peer of a Unix socket, as reported by the kernel.
///
/// The kernel records the credentials of a client when it connects, and the credentials of a server
/// when it starts to listen. The process may have changed its user or exited since then.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The effective user id.
    pub uid: u32,
    /// The effective group id.
    pub gid: u32,
    /// The process id, on systems that report it.
    pub pid: Option<i32>,
}

impl Credentials {
    /// Creates credentials, for tests and custom carriers.
    pub const fn new(uid: u32, gid: u32, pid: Option<i32>) -> Self {
        Self { uid, gid, pid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_displays_as_its_endpoint() {
        let shown = |address| Peer::new(address).to_string();
        let path: &Path = "/a".as_ref();
        assert_eq!(shown(PeerAddr::Unix(Some(path.into()))), "unix:///a");
        assert_eq!(shown(PeerAddr::Unix(None)), "unix (unnamed)");
        assert_eq!(shown(PeerAddr::Memory("a".into())), "memory://a");
        let address: SocketAddr = "[::1]:80".parse().expect("address");
        assert_eq!(Peer::from(address).to_string(), "tcp://[::1]:80");
        assert_eq!(Peer::from("a line").to_string(), "a line");
        assert_eq!(shown(PeerAddr::Unknown), "unknown");
    }
}
