//! Where a server listens.

mod convert;
mod host;
mod identity;
mod parse;

use std::{
    fmt,
    path::{Component, Path, PathBuf},
};

use self::host::check_host;
use crate::{EndpointProblem, Error};

/// Where a server listens.
///
/// | text | meaning |
/// |---|---|
/// | `unix:///run/agent.sock` | a Unix socket; the path is verbatim, without escapes |
/// | `unix://./agent.sock` | a Unix socket below the working directory |
/// | `tcp://host:8080` | TCP; the port follows the last colon |
/// | `tcp://[::1]:8080` | TCP over IPv6; the brackets are optional |
/// | `memory://name` | inside this process |
///
/// A relative path must begin with `./` or `../`, and `~` is not expanded: `unix://tmp/a.sock` and
/// `unix://~/a.sock` are errors that name the correct form.
///
/// A [`SocketAddr`](std::net::SocketAddr), a [`Path`](std::path::Path) and text convert:
///
/// ```
/// use std::{net::Ipv4Addr, path::Path};
///
/// use agentwire_transport::Endpoint;
///
/// let endpoint = Endpoint::try_from(Path::new("/run/agent.sock"))?;
/// assert_eq!(endpoint.to_string(), "unix:///run/agent.sock");
/// let endpoint = Endpoint::from(std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 7000)));
/// assert_eq!(endpoint.to_string(), "tcp://127.0.0.1:7000");
/// # Ok::<(), agentwire_transport::Error>(())
/// ```
///
/// An endpoint is always well formed: parsing and the constructors validate it, and the variants
/// cannot be built directly. Match on it with `..`, as in `Endpoint::Unix { path, .. }`.
///
/// The `Display` text parses to an equal endpoint, except for a custom endpoint and for a path that
/// is not UTF-8, which is shown with replacement characters.
///
/// Two endpoints are equal if their texts are equal; paths are neither normalized nor resolved. The
/// order has no meaning. It only makes listings reproducible.
#[non_exhaustive]
#[derive(Clone)]
pub enum Endpoint {
    /// A Unix stream socket.
    #[non_exhaustive]
    Unix {
        /// The path of the socket. It is absolute, or begins with `./` or `../`.
        path: PathBuf,
    },
    /// A TCP socket.
    #[non_exhaustive]
    Tcp {
        /// A name or an IP address, without brackets.
        host: String,
        /// The port. A listener on port 0 gets one that the system chooses.
        port: u16,
    },
    /// A name inside this process.
    #[non_exhaustive]
    Memory {
        /// The name.
        name: String,
    },
    /// A custom carrier. Parsing never returns it.
    #[non_exhaustive]
    Custom {
        /// What errors and logs show.
        text: String,
    },
}

impl Endpoint {
    /// Creates an endpoint for the Unix socket at `path`.
    ///
    /// A relative path gets `./` in front unless it begins with `./` or `../`.
    ///
    /// # Errors
    ///
    /// If the path is empty, contains a NUL byte, begins with `~`, or does not fit into a socket
    /// address of this system.
    pub fn unix(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let mut path: PathBuf = path.into();
        let bytes = path.as_os_str().as_encoded_bytes();
        let problem = if bytes.is_empty() {
            Some(EndpointProblem::EmptyPath)
        } else if bytes.contains(&0) {
            Some(EndpointProblem::NulInPath)
        } else if bytes.starts_with(b"~") {
            Some(EndpointProblem::TildeInPath)
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(Error::InvalidEndpoint {
                text: format!("unix://{}", path.display()),
                problem,
            });
        }
        if is_bare(&path) {
            path = Path::new(".").join(path);
        }
        let len = path.as_os_str().len();
        if len > MAX_PATH {
            return Err(Error::PathTooLong {
                path,
                len,
                max: MAX_PATH,
            });
        }
        Ok(Self::Unix { path })
    }

    /// Creates an endpoint for TCP to `host`: a name or an IP address, with or without brackets.
    ///
    /// # Errors
    ///
    /// If the host is empty, or neither a name nor an IP address.
    pub fn tcp(host: impl AsRef<str>, port: u16) -> Result<Self, Error> {
        let host = host.as_ref();
        match check_host(host) {
            Ok(host) => Ok(Self::Tcp {
                host: host.to_owned(),
                port,
            }),
            Err(problem) => Err(Error::InvalidEndpoint {
                text: format!("tcp://{host}:{port}"),
                problem,
            }),
        }
    }

    /// Creates an endpoint inside this process.
    ///
    /// # Errors
    ///
    /// If the name is empty.
    pub fn memory(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if name.is_empty() {
            let problem = EndpointProblem::EmptyName;
            return Err(Error::InvalidEndpoint {
                text: "memory://".to_owned(),
                problem,
            });
        }
        Ok(Self::Memory { name })
    }

    /// Creates an endpoint of a custom carrier.
    ///
    /// Errors and logs show the text, and nothing interprets it. Keep secrets out of it.
    pub fn custom(text: impl Into<String>) -> Self {
        Self::Custom { text: text.into() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { path } => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Memory { name } => write!(f, "memory://{name}"),
            Self::Custom { text } => f.write_str(text),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// Returns true for a relative path that begins with neither `./` nor `../`.
fn is_bare(path: &Path) -> bool {
    matches!(path.components().next(), Some(Component::Normal(_)))
}

/// The size of `sun_path` without the NUL at its end.
const MAX_PATH: usize = if cfg!(any(target_os = "linux", target_os = "android")) {
    107
} else {
    103
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_be_as_long_as_a_socket_address_and_no_longer() {
        let path = |len| format!("/{}", "p".repeat(len - 1));
        assert!(Endpoint::unix(path(MAX_PATH)).is_ok());
        match Endpoint::unix(path(MAX_PATH + 1)) {
            Err(error @ Error::PathTooLong { .. }) => {
                let shown = error.to_string();
                assert!(shown.contains(&MAX_PATH.to_string()), "{shown}");
                assert!(shown.contains(&(MAX_PATH + 1).to_string()), "{shown}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn constructors_validate_as_parsing_does() {
        let loopback = Endpoint::Tcp {
            host: "::1".to_owned(),
            port: 1,
        };
        assert_eq!(Endpoint::tcp("[::1]", 1).expect("ipv6"), loopback);
        assert!(Endpoint::tcp("", 1).is_err());
        assert!(Endpoint::tcp("a/b", 1).is_err());
        assert!(Endpoint::unix("").is_err());
        assert!(Endpoint::unix("~/a").is_err());
        assert!(Endpoint::memory("").is_err());
    }

    #[test]
    fn a_relative_path_is_shown_as_text_that_parses() {
        for (path, text) in [
            ("a", "unix://./a"),
            ("a/b", "unix://./a/b"),
            (".a", "unix://./.a"),
            ("./a", "unix://./a"),
            ("../a", "unix://../a"),
        ] {
            let endpoint = Endpoint::unix(path).expect(path);
            assert_eq!(endpoint.to_string(), text);
            assert_eq!(text.parse::<Endpoint>().expect(text), endpoint);
        }
    }
}
