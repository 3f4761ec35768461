use std::str::FromStr;

use super::{Endpoint, host::check_host};
use crate::{EndpointProblem, Error};

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
}
