use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The far end of a connection.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A Unix socket. A server has a path; a client usually has none.
    Unix(Option<PathBuf>),
    /// TCP.
    Tcp(SocketAddr),
    /// This process, under the name that the server listens on.
    Memory(String),
    /// Whatever the custom transport says.
    Custom(String),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(Some(path)) => write!(f, "unix://{}", path.display()),
            Self::Unix(None) => f.write_str("unix (unnamed)"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Memory(name) => write!(f, "memory://{name}"),
            Self::Custom(text) => f.write_str(text),
        }
    }
}

/// Who is at the far end of a Unix socket, as the kernel knows it.
///
/// These are the identities at the time when the connection was opened, or when the server began
/// to listen. The process may have changed or ended since.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// The process, where the system tells.
    pub pid: Option<i32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_reads_like_its_endpoint() {
        assert_eq!(Peer::Unix(Some("/a".into())).to_string(), "unix:///a");
        assert_eq!(Peer::Unix(None).to_string(), "unix (unnamed)");
        let address = "[::1]:80".parse().expect("address");
        assert_eq!(Peer::Tcp(address).to_string(), "tcp://[::1]:80");
        assert_eq!(Peer::Memory("a".into()).to_string(), "memory://a");
        assert_eq!(Peer::Custom("a line".into()).to_string(), "a line");
    }
}
