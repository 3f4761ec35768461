//! The address at which a server listens.

mod convert;
mod host;
mod identity;
mod parse;
mod url;

use std::{
    fmt,
    path::{Component, Path, PathBuf},
};

use agentwire_text::Untrusted;

use self::host::check_host;
pub use self::url::{Url, UrlScheme};
use crate::{EndpointProblem, Error};

/// The address at which a server listens.
///
/// | text | meaning |
/// |---|---|
/// | `unix:///run/agent.sock` | a Unix socket; the path is verbatim, without escapes |
/// | `unix://./agent.sock` | a Unix socket below the working directory |
/// | `tcp://host:8080` | TCP; the port follows the last colon |
/// | `tcp://[::1]:8080`, `tcp://::1:8080` | TCP over IPv6 |
/// | `tls://host:7443` | TLS over TCP; the host is as for `tcp://` |
/// | `memory://name` | inside this process |
/// | `ws://host:8080/path`, `wss://…` | WebSocket; the path is optional |
/// | `http://host:8080/path`, `https://…`, `h2c://…` | HTTP; the path is optional |
/// | `grpc://host:50051`, `grpcs://…` | gRPC |
///
/// A relative path must begin with `./` or `../`, and `~` is not expanded. Parsing
/// `unix://tmp/a.sock` or `unix://~/a.sock` fails with an error that shows the correct form.
///
/// An endpoint can be created from a [`SocketAddr`](std::net::SocketAddr), a
/// [`Path`](std::path::Path) or text:
///
/// ```
/// # mod agentwire { pub extern crate agentwire_transport as transport; pub use agentwire_transport::*; }
/// use std::{net::Ipv4Addr, path::Path};
///
/// use agentwire::Endpoint;
///
/// let endpoint = Endpoint::try_from(Path::new("/run/agent.sock"))?;
/// assert_eq!(endpoint.to_string(), "unix:///run/agent.sock");
/// let endpoint = Endpoint::from(std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 7000)));
/// assert_eq!(endpoint.to_string(), "tcp://127.0.0.1:7000");
/// # Ok::<(), agentwire::transport::Error>(())
/// ```
///
/// An endpoint is always valid, because parsing and the constructors validate it and the variants
/// cannot be constructed directly. To match on a variant, use `..`, as in `Endpoint::Unix { path,
/// .. }`.
///
/// The two forms of an IPv6 address mean the same socket, but other languages read only one of
/// them: the Go adapter reads `tcp://[::1]:8080`, and the Python adapter `tcp://::1:8080`. An
/// endpoint keeps the form in which it was written. A server that listens on `tcp://::1:8080`, or
/// advertises it, is therefore registered in the form that Python reads.
///
/// Parsing the `Display` text returns an equal endpoint. The exceptions are custom endpoints, and
/// paths that are not UTF-8, which are displayed with replacement characters.
///
/// Two endpoints are equal if their texts are equal. Paths are neither normalized nor resolved. The
/// order of endpoints has no meaning except that it makes listings reproducible.
#[non_exhaustive]
#[derive(Clone)]
pub enum Endpoint {
    /// A Unix stream socket.
    #[non_exhaustive]
    Unix {
        /// The path of the socket, which is absolute or begins with `./` or `../`.
        path: PathBuf,
    },
    /// A TCP socket.
    #[non_exhaustive]
    Tcp {
        /// The host name or IP address, without brackets.
        host: String,
        /// The port. If a listener is bound to port 0, the system chooses a free port.
        port: u16,
        /// Whether an IPv6 address is written in brackets, as in `tcp://[::1]:8080`. The value is
        /// `true` for all other hosts.
        bracketed: bool,
    },
    /// TLS over a TCP socket.
    #[non_exhaustive]
    Tls {
        /// The host name or IP address, without brackets. A client checks the certificate of the
        /// server against this host unless another name is set.
        host: String,
        /// The port. If a listener is bound to port 0, the system chooses a free port.
        port: u16,
    },
    /// A listener in the same process, identified by a name.
    #[non_exhaustive]
    Memory {
        /// The name of the listener.
        name: String,
    },
    /// WebSocket, HTTP or gRPC over a TCP socket. The carrier must be enabled by its feature.
    Url(Box<Url>),
    /// An endpoint of a custom carrier. Parsing never returns this variant.
    #[non_exhaustive]
    Custom {
        /// The text that is shown in errors and logs.
        text: String,
    },
}

impl Endpoint {
    /// Creates an endpoint for the Unix socket at `path`.
    ///
    /// If the path is relative and does not begin with `./` or `../`, `./` is prepended.
    ///
    /// # Errors
    ///
    /// Returns an error if the path is empty, contains a NUL byte, begins with `~`, or is too long
    /// for a socket address on this system.
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

    /// Creates a TCP endpoint. `host` is a host name or an IP address, with or without brackets.
    ///
    /// An IPv6 address is displayed in brackets. To create an endpoint that the Python adapter
    /// reads, parse `tcp://::1:8080`.
    ///
    /// # Errors
    ///
    /// Returns an error if the host is empty or is neither a name nor an IP address.
    pub fn tcp(host: impl AsRef<str>, port: u16) -> Result<Self, Error> {
        let host = host.as_ref();
        match check_host(host) {
            Ok(host) => Ok(Self::Tcp {
                host: host.to_owned(),
                port,
                bracketed: true,
            }),
            Err(problem) => Err(Error::InvalidEndpoint {
                text: format!("tcp://{host}:{port}"),
                problem,
            }),
        }
    }

    /// Creates an endpoint for TLS over TCP. `host` is as for [`tcp`](Self::tcp).
    ///
    /// # Errors
    ///
    /// Returns an error if the host is empty or is neither a name nor an IP address.
    pub fn tls(host: impl AsRef<str>, port: u16) -> Result<Self, Error> {
        let host = host.as_ref();
        match check_host(host) {
            Ok(host) => Ok(Self::Tls {
                host: host.to_owned(),
                port,
            }),
            Err(problem) => Err(Error::InvalidEndpoint {
                text: format!("tls://{host}:{port}"),
                problem,
            }),
        }
    }

    /// Creates an endpoint for WebSocket, HTTP or gRPC. `host` is as for [`tcp`](Self::tcp). The
    /// path may be empty.
    ///
    /// # Errors
    ///
    /// Returns an error if the host is empty or is neither a name nor an IP address, or if the path
    /// is not valid in a URL.
    pub fn url(
        scheme: UrlScheme,
        host: impl AsRef<str>,
        port: u16,
        path: impl AsRef<str>,
    ) -> Result<Self, Error> {
        let (host, path) = (host.as_ref(), path.as_ref());
        let checked = check_host(host).and_then(|host| Ok((host, scheme.check_path(path)?)));
        match checked {
            Ok((host, path)) => Ok(Self::Url(Box::new(Url {
                scheme,
                host: host.to_owned(),
                port,
                path: path.to_owned(),
            }))),
            Err(problem) => Err(Error::InvalidEndpoint {
                text: format!("{scheme}://{host}:{port}{path}"),
                problem,
            }),
        }
    }

    /// Returns the host and the port of an endpoint over TCP.
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        match self {
            Self::Tcp { host, port, .. } | Self::Tls { host, port } => Some((host, *port)),
            Self::Url(url) => Some((&url.host, url.port)),
            _ => None,
        }
    }

    /// Returns whether connections to the endpoint use TLS.
    pub fn is_secure(&self) -> bool {
        match self {
            Self::Tls { .. } => true,
            Self::Url(url) => url.scheme.is_secure(),
            _ => false,
        }
    }

    /// Returns the endpoint with another port. An endpoint without a port is unchanged.
    #[must_use]
    pub fn with_port(mut self, new: u16) -> Self {
        match &mut self {
            Self::Tcp { port, .. } | Self::Tls { port, .. } => *port = new,
            Self::Url(url) => url.port = new,
            _ => {}
        }
        self
    }

    /// Creates an endpoint for a listener in the same process.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is empty.
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

    /// Creates an endpoint for a custom carrier.
    ///
    /// The text is shown in errors and logs and is not interpreted. The text must not contain
    /// secrets.
    pub fn custom(text: impl Into<String>) -> Self {
        Self::Custom { text: text.into() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { path } => write!(f, "unix://{}", path.display()),
            Self::Tcp {
                host,
                port,
                bracketed: false,
            } => write!(f, "tcp://{host}:{port}"),
            Self::Tcp { host, port, .. } => write_host(f, "tcp", host, *port),
            Self::Tls { host, port } => write_host(f, "tls", host, *port),
            Self::Memory { name } => write!(f, "memory://{name}"),
            Self::Url(url) => {
                write_host(f, url.scheme.as_str(), &url.host, url.port)?;
                f.write_str(&url.path)
            }
            Self::Custom { text } => f.write_str(text),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", Untrusted(self))
    }
}

fn write_host(f: &mut fmt::Formatter<'_>, scheme: &str, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') {
        write!(f, "{scheme}://[{host}]:{port}")
    } else {
        write!(f, "{scheme}://{host}:{port}")
    }
}

/// Returns true for a relative path that begins with neither `./` nor `../`.
fn is_bare(path: &Path) -> bool {
    matches!(path.components().next(), Some(Component::Normal(_)))
}

/// The maximum length of a path in bytes, which is the size of `sun_path` without the terminating
/// NUL.
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
            bracketed: true,
        };
        assert_eq!(Endpoint::tcp("::1", 1).expect("ipv6"), loopback);
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
