//! Parsing of endpoints.

use std::{path::Path, str::FromStr};

use super::{Endpoint, Url, UrlScheme, host::check_host, is_bare};
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
            // In `unix://tmp/a.sock`, a slash is usually missing. Without this check, the server
            // would create a directory `tmp` below the working directory and the socket in it.
            "unix" if is_bare(Path::new(rest)) && !rest.starts_with('~') => {
                Err(invalid(EndpointProblem::BareRelativePath))
            }
            "unix" => Self::unix(rest),
            "tcp" => {
                let (host, port) = split_port(rest).map_err(invalid)?;
                let bracketed = host.starts_with('[') || !host.contains(':');
                let host = check_host(host).map_err(invalid)?.to_owned();
                Ok(Self::Tcp {
                    host,
                    port,
                    bracketed,
                })
            }
            "tls" => {
                let (host, port) = split_port(rest).map_err(invalid)?;
                let host = check_host(host).map_err(invalid)?.to_owned();
                Ok(Self::Tls { host, port })
            }
            "memory" => Self::memory(rest),
            _ => match UrlScheme::from_name(scheme) {
                Some(scheme) => parse_url(scheme, rest).map_err(invalid),
                None => Err(Error::UnsupportedScheme {
                    text: text.to_owned(),
                    scheme: scheme.to_owned(),
                }),
            },
        }
    }
}

fn parse_url(scheme: UrlScheme, rest: &str) -> Result<Endpoint, EndpointProblem> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, port) = match split_port(authority) {
        // The colons of an IPv6 address without brackets would be ambiguous.
        Ok((host, _)) if host.contains(':') && !host.starts_with('[') => {
            return Err(EndpointProblem::BadHost);
        }
        Err(EndpointProblem::MissingPort) if !authority.ends_with(':') => {
            (authority, scheme.default_port())
        }
        split => split?,
    };
    Ok(Endpoint::Url(Box::new(Url {
        scheme,
        host: check_host(host)?.to_owned(),
        port,
        path: scheme.check_path(path)?.to_owned(),
    })))
}

fn split_port(rest: &str) -> Result<(&str, u16), EndpointProblem> {
    // The last colon in `[::1]` is part of the address.
    if rest.ends_with(']') {
        return Err(EndpointProblem::MissingPort);
    }
    let (host, port) = rest.rsplit_once(':').ok_or(EndpointProblem::MissingPort)?;
    if port.is_empty() {
        return Err(EndpointProblem::MissingPort);
    }
    // Reject signs: `u16::from_str` would accept `+80`.
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
            bracketed: true,
        }
    }

    fn unbracketed(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp {
            host: host.to_owned(),
            port,
            bracketed: false,
        }
    }

    fn unix(path: &str) -> Endpoint {
        Endpoint::Unix { path: path.into() }
    }

    #[test]
    fn valid_text_parses_and_displays_in_canonical_form() {
        let cases = [
            (
                "unix:///run/a.sock",
                unix("/run/a.sock"),
                "unix:///run/a.sock",
            ),
            ("unix://./a.sock", unix("./a.sock"), "unix://./a.sock"),
            (
                "unix://../dir/a b%20c?d#e",
                unix("../dir/a b%20c?d#e"),
                "unix://../dir/a b%20c?d#e",
            ),
            ("unix:///unix://x", unix("/unix://x"), "unix:///unix://x"),
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
            ("tcp://::1:8080", unbracketed("::1", 8080), "tcp://::1:8080"),
            ("tcp://:::8080", unbracketed("::", 8080), "tcp://:::8080"),
            (
                "tcp://[fe80::1%eth0]:9",
                tcp("fe80::1%eth0", 9),
                "tcp://[fe80::1%eth0]:9",
            ),
            (
                "tcp://1:2:3:4:5:6:7:8:9",
                unbracketed("1:2:3:4:5:6:7:8", 9),
                "tcp://1:2:3:4:5:6:7:8:9",
            ),
            (
                "tls://[::1]:7443",
                Endpoint::tls("::1", 7443).expect("ipv6"),
                "tls://[::1]:7443",
            ),
            (
                "tls://agents.example:7443",
                Endpoint::tls("agents.example", 7443).expect("name"),
                "tls://agents.example:7443",
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
    fn the_error_of_invalid_text_is_one_line_and_names_the_problem() {
        for text in [
            "",
            "\u{1b}[2J\nlocalhost:80",
            "unix://",
            "unix:///a\0b",
            "unix://~/a\n.sock",
            "tcp://:80",
            "tcp://a\tb:80",
            "tcp://host:\u{7}",
            "memory://",
            "ws://host:80/a b",
        ] {
            let error = text.parse::<Endpoint>().expect_err(text);
            let Error::InvalidEndpoint { problem, .. } = &error else {
                panic!("{text:?}: {error}");
            };
            let (shown, problem) = (error.to_string(), problem.to_string());
            assert!(shown.contains(&problem), "{text:?}: {shown}");
            assert!(!shown.contains(char::is_control), "{text:?}: {shown:?}");
        }
    }

    #[test]
    fn invalid_text_is_rejected_with_the_problem() {
        use EndpointProblem::*;
        let cases = [
            ("", NoScheme),
            ("/run/a.sock", NoScheme),
            ("unix:/run/a.sock", NoScheme),
            ("localhost:80", NoScheme),
            ("unix://", EmptyPath),
            ("unix:///a\0b", NulInPath),
            ("unix://a.sock", BareRelativePath),
            ("unix://tmp/a.sock", BareRelativePath),
            ("unix://.tmp/a.sock", BareRelativePath),
            ("unix://unix:///a.sock", BareRelativePath),
            ("unix://~/a.sock", TildeInPath),
            ("unix://~user/a.sock", TildeInPath),
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
            ("tls://", MissingPort),
            ("tls://host", MissingPort),
            ("tls://:80", EmptyHost),
            ("tls://host:80/", BadPort),
            ("tls://user@host:80", BadHost),
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
    fn usual_slips_are_answered_with_the_correct_form() {
        for (text, correct) in [
            ("unix://tmp/a.sock", "\"unix:///tmp/a.sock\""),
            ("unix://tmp/a.sock", "\"unix://./tmp/a.sock\""),
            ("unix://~/a.sock", "\"unix://$HOME/a.sock\""),
        ] {
            let shown = text.parse::<Endpoint>().expect_err(text).to_string();
            assert!(shown.contains(correct), "{shown}");
        }
    }

    #[test]
    fn urls_have_a_default_port_and_an_optional_path() {
        for (text, shown) in [
            ("ws://host:8080", "ws://host:8080"),
            ("ws://host:8080/", "ws://host:8080"),
            ("ws://host/ws?a=b", "ws://host:80/ws?a=b"),
            ("wss://[::1]/a/", "wss://[::1]:443/a/"),
            ("http://host:1/agents/echo//", "http://host:1/agents/echo"),
            ("https://host", "https://host:443"),
            ("h2c://host", "h2c://host:80"),
            ("grpc://host", "grpc://host:50051"),
            ("grpcs://host/", "grpcs://host:443"),
        ] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<Endpoint>().expect(shown), endpoint);
        }
    }

    #[test]
    fn invalid_urls_are_rejected_with_the_reason() {
        use EndpointProblem::*;
        for (text, expected) in [
            ("ws://", EmptyHost),
            ("ws://:80", EmptyHost),
            ("ws://host:", MissingPort),
            ("ws://host:80x/", BadPort),
            ("ws://::1:80", BadHost),
            ("ws://user@host", BadHost),
            ("ws://host/a b", BadPath),
            ("ws://host/é", BadPath),
            ("ws://host/#a", BadPath),
            ("ws://host?a", BadPath),
            ("http://host/?a=b", BadPath),
            ("grpc://host/a", BadPath),
        ] {
            match text.parse::<Endpoint>() {
                Err(Error::InvalidEndpoint { problem, .. }) => {
                    assert_eq!(problem, expected, "{text}")
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn other_schemes_are_rejected_by_name() {
        for scheme in ["h3", "WS", "Http", "UNIX", "tcps", ""] {
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
