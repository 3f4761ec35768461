use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

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
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Hash)]
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

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |problem| Error::InvalidEndpoint {
            text: text.to_owned(),
            problem,
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(invalid(EndpointProblem::NoScheme));
        };
        match scheme {
            "unix" => Self::unix(rest),
            "tcp" => {
                let (host, port) = split_tcp(rest).map_err(invalid)?;
                let host = check_host(host).map_err(invalid)?.to_owned();
                Ok(Self::Tcp { host, port })
            }
            "memory" => Self::memory(rest),
            _ => Err(Error::UnsupportedScheme {
                text: text.to_owned(),
                scheme: scheme.to_owned(),
            }),
        }
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

fn split_tcp(rest: &str) -> Result<(&str, u16), EndpointProblem> {
    // The last colon of `[::1]` is inside the brackets and splits nothing.
    if rest.ends_with(']') {
        return Err(EndpointProblem::MissingPort);
    }
    let (host, port) = rest.rsplit_once(':').ok_or(EndpointProblem::MissingPort)?;
    if port.is_empty() {
        return Err(EndpointProblem::MissingPort);
    }
    // Rust's own parser takes `+80`.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EndpointProblem::BadPort);
    }
    Ok((host, port.parse().map_err(|_| EndpointProblem::BadPort)?))
}

/// Checks a host, and gives it without brackets.
fn check_host(host: &str) -> Result<&str, EndpointProblem> {
    if host.is_empty() {
        return Err(EndpointProblem::EmptyHost);
    }
    let (host, valid) = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(inner) => (inner, is_ipv6(inner)),
        None if host.contains(':') => (host, is_ipv6(host)),
        None => (host, host.chars().all(is_in_name)),
    };
    if valid {
        Ok(host)
    } else {
        Err(EndpointProblem::BadHost)
    }
}

/// An IPv6 address, perhaps with a zone, as in `fe80::1%eth0`.
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && zone.chars().all(is_in_name)
}

fn is_in_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_')
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

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    fn unix(path: &str) -> Endpoint {
        Endpoint::Unix { path: path.into() }
    }

    #[test]
    fn good_text_parses_and_displays_as_the_canonical_text() {
        let cases = [
            (
                "unix:///run/a.sock",
                unix("/run/a.sock"),
                "unix:///run/a.sock",
            ),
            ("unix://a.sock", unix("a.sock"), "unix://a.sock"),
            (
                "unix://../dir/a b%20c?d#e",
                unix("../dir/a b%20c?d#e"),
                "unix://../dir/a b%20c?d#e",
            ),
            ("unix://unix://x", unix("unix://x"), "unix://unix://x"),
            (
                "tcp://localhost:8080",
                tcp("localhost", 8080),
                "tcp://localhost:8080",
            ),
            (
                "tcp://127.0.0.1:0",
                tcp("127.0.0.1", 0),
                "tcp://127.0.0.1:0",
            ),
            ("tcp://host:65535", tcp("host", 65535), "tcp://host:65535"),
            ("tcp://host:0080", tcp("host", 80), "tcp://host:80"),
            (
                "tcp://my_host-1.example.:1",
                tcp("my_host-1.example.", 1),
                "tcp://my_host-1.example.:1",
            ),
            (
                "tcp://bücher.example:1",
                tcp("bücher.example", 1),
                "tcp://bücher.example:1",
            ),
            ("tcp://[::1]:8080", tcp("::1", 8080), "tcp://[::1]:8080"),
            ("tcp://::1:8080", tcp("::1", 8080), "tcp://[::1]:8080"),
            ("tcp://:::8080", tcp("::", 8080), "tcp://[::]:8080"),
            (
                "tcp://[fe80::1%eth0]:9",
                tcp("fe80::1%eth0", 9),
                "tcp://[fe80::1%eth0]:9",
            ),
            (
                "tcp://1:2:3:4:5:6:7:8:9",
                tcp("1:2:3:4:5:6:7:8", 9),
                "tcp://[1:2:3:4:5:6:7:8]:9",
            ),
            (
                "memory://a",
                Endpoint::Memory { name: "a".into() },
                "memory://a",
            ),
            (
                "memory://a/b c",
                Endpoint::Memory {
                    name: "a/b c".into(),
                },
                "memory://a/b c",
            ),
        ];
        for (text, endpoint, canonical) in cases {
            let parsed: Endpoint = text.parse().expect(text);
            assert_eq!(parsed, endpoint, "{text}");
            assert_eq!(parsed.to_string(), canonical);
            assert_eq!(canonical.parse::<Endpoint>().expect(canonical), endpoint);
        }
    }

    #[test]
    fn bad_text_is_refused_with_the_problem() {
        use EndpointProblem::*;
        let cases = [
            ("", NoScheme),
            ("/run/a.sock", NoScheme),
            ("unix:/run/a.sock", NoScheme),
            ("localhost:80", NoScheme),
            ("unix://", EmptyPath),
            ("unix://a\0b", NulInPath),
            ("tcp://", MissingPort),
            ("tcp://host", MissingPort),
            ("tcp://host:", MissingPort),
            ("tcp://[::1]", MissingPort),
            ("tcp://:80", EmptyHost),
            ("tcp://host:http", BadPort),
            ("tcp://host:+80", BadPort),
            ("tcp://host:-1", BadPort),
            ("tcp://host: 80", BadPort),
            ("tcp://host:80/", BadPort),
            ("tcp://host:65536", BadPort),
            ("tcp://host:99999999999999999999", BadPort),
            ("tcp://::1", BadHost),
            ("tcp://a:b:80", BadHost),
            ("tcp://[]:80", BadHost),
            ("tcp://[host]:80", BadHost),
            ("tcp://[127.0.0.1]:80", BadHost),
            ("tcp://[::1:80", BadHost),
            ("tcp://::1]:80", BadHost),
            ("tcp://[[::1]]:80", BadHost),
            ("tcp://[fe80::1%]:80", BadHost),
            ("tcp://user@host:80", BadHost),
            ("tcp://user:word@host:80", BadHost),
            ("tcp://host/path:80", BadHost),
            ("tcp://ho st:80", BadHost),
            ("tcp:// :80", BadHost),
            ("tcp://host\n:80", BadHost),
            ("memory://", EmptyName),
        ];
        for (text, expected) in cases {
            match text.parse::<Endpoint>() {
                Err(Error::InvalidEndpoint {
                    text: given,
                    problem,
                }) => {
                    assert_eq!((given.as_str(), problem), (text, expected));
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn other_schemes_are_refused_by_name() {
        for scheme in [
            "ws", "wss", "http", "https", "h2c", "h3", "grpc", "UNIX", "tls", "",
        ] {
            let text = format!("{scheme}://host:1");
            let error = text.parse::<Endpoint>().expect_err(&text);
            let shown = error.to_string();
            assert!(
                shown.contains(&text) && shown.contains("memory://name"),
                "{shown}"
            );
            assert!(
                matches!(error, Error::UnsupportedScheme { scheme: given, .. } if given == scheme)
            );
        }
    }

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
        assert_eq!(Endpoint::tcp("[::1]", 1).expect("ipv6"), tcp("::1", 1));
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
