mod host;
mod identity;
mod parse;

use std::{fmt, path::PathBuf};

use self::host::check_host;
use crate::{EndpointProblem, Error};

/// Where a server listens.
///
/// | text | meaning |
/// |---|---|
/// | `unix:///run/agent.sock` | a Unix socket; all after `unix://` is the path, as it is |
/// | `tcp://host:8080` | TCP; the last colon splits |
/// | `tcp://[::1]:8080` | TCP over IPv6; the brackets may be left out |
/// | `memory://name` | inside this process |
///
/// Parsing and the constructors check, and the variants cannot be built in any other way, so an
/// endpoint is always well formed. Match on it with `..`, as in `Endpoint::Unix { path, .. }`.
///
/// `Display` gives the text back, and it parses to an equal endpoint. The exceptions are a path
/// that is not UTF-8, which is shown with replacement characters, and a custom endpoint.
///
/// Two are equal if their text is: of paths, nothing is left out or followed to compare them.
/// The order is of use where endpoints are to be listed alike each time, and means nothing else.
#[non_exhaustive]
#[derive(Clone)]
pub enum Endpoint {
    /// A Unix stream socket.
    #[non_exhaustive]
    Unix {
        /// The path of the socket, absolute or relative to the working directory.
        path: PathBuf,
    },
    /// TCP.
    #[non_exhaustive]
    Tcp {
        /// A name or an IP address. An IPv6 address has no brackets here.
        host: String,
        /// The port. A listener takes 0 as "any that is free".
        port: u16,
    },
    /// A name inside this process.
    #[non_exhaustive]
    Memory {
        /// The name.
        name: String,
    },
    /// A transport that is not built in. Never comes from parsing.
    #[non_exhaustive]
    Custom {
        /// How people should see it.
        text: String,
    },
}

impl Endpoint {
    /// A Unix socket at `path`.
    ///
    /// # Errors
    ///
    /// If the path is empty, has a NUL byte, or is longer than a socket address of this system.
    pub fn unix(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let len = path.as_os_str().len();
        let problem = if len == 0 {
            EndpointProblem::EmptyPath
        } else if path.as_os_str().as_encoded_bytes().contains(&0) {
            EndpointProblem::NulInPath
        } else if len > MAX_PATH {
            return Err(Error::PathTooLong {
                path,
                len,
                max: MAX_PATH,
            });
        } else {
            return Ok(Self::Unix { path });
        };
        Err(Error::InvalidEndpoint {
            text: format!("unix://{}", path.display()),
            problem,
        })
    }

    /// TCP to `host`, a name or an IP address, with or without the brackets of IPv6.
    ///
    /// # Errors
    ///
    /// If the host is empty, or cannot be a host.
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

    /// A name inside this process.
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

    /// The endpoint of a transport of your own. The text is for people: it appears in errors and
    /// logs, and nothing interprets it, so keep secrets out of it.
    pub fn custom(text: impl Into<String>) -> Self {
        Self::Custom { text: text.into() }
    }
}

impl TryFrom<&str> for Endpoint {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<String> for Endpoint {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<&String> for Endpoint {
    type Error = Error;

    fn try_from(text: &String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<&Self> for Endpoint {
    fn from(endpoint: &Self) -> Self {
        endpoint.clone()
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

/// The size of `sun_path`, less the NUL at its end.
const MAX_PATH: usize = if cfg!(any(target_os = "linux", target_os = "android")) {
    107
} else {
    103
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_maximal_length_is_taken_and_one_byte_more_is_not() {
        assert!(Endpoint::unix("p".repeat(MAX_PATH)).is_ok());
        match Endpoint::unix("p".repeat(MAX_PATH + 1)) {
            Err(error @ Error::PathTooLong { .. }) => {
                let shown = error.to_string();
                assert!(shown.contains(&MAX_PATH.to_string()), "{shown}");
                assert!(shown.contains(&(MAX_PATH + 1).to_string()), "{shown}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn constructors_check_as_parsing_does() {
        let loopback = Endpoint::Tcp {
            host: "::1".to_owned(),
            port: 1,
        };
        assert_eq!(Endpoint::tcp("[::1]", 1).expect("ipv6"), loopback);
        assert!(Endpoint::tcp("", 1).is_err());
        assert!(Endpoint::tcp("a/b", 1).is_err());
        assert!(Endpoint::unix("").is_err());
        assert!(Endpoint::memory("").is_err());
    }

    #[test]
    fn a_function_can_take_text_and_endpoints_alike() {
        fn take<E>(endpoint: E) -> Result<Endpoint, Error>
        where
            E: TryInto<Endpoint>,
            Error: From<E::Error>,
        {
            Ok(endpoint.try_into()?)
        }
        let endpoint = Endpoint::memory("a").expect("memory");
        assert_eq!(take("memory://a").expect("str"), endpoint);
        assert_eq!(take("memory://a".to_owned()).expect("string"), endpoint);
        assert_eq!(take(&endpoint).expect("reference"), endpoint);
        assert_eq!(take(endpoint.clone()).expect("value"), endpoint);
    }
}
