//! The addresses of read-only registries: `dns://name:port` and `static:ENDPOINT,…`.

use agentwire_transport::{Endpoint, Error};

use crate::RegistryError;

/// Parses `static:ENDPOINT,ENDPOINT,…`.
pub(crate) fn parse_static(text: &str) -> Result<Vec<Endpoint>, RegistryError> {
    let Some(list) = text.strip_prefix("static:").filter(|list| !list.is_empty()) else {
        return Err(invalid(text, "expected static:ENDPOINT,ENDPOINT,…"));
    };
    let parse = |one: &str| {
        let endpoint = one.trim().parse::<Endpoint>();
        match endpoint {
            Ok(endpoint) if !has_port_zero(&endpoint) => Ok(endpoint),
            Ok(_) => Err(invalid(text, "an agent cannot be called at port 0")),
            Err(error) => Err(invalid(text, error.to_string())),
        }
    };
    list.split(',').map(parse).collect()
}

/// Parses `dns://name:port`, or `dns+SCHEME://name:port` for an endpoint with that scheme. Returns
/// an endpoint whose host is the name.
pub(crate) fn parse_dns(text: &str) -> Result<Endpoint, RegistryError> {
    let expected = "expected dns://name:port, or for example dns+tls://name:port";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(invalid(text, expected));
    };
    let scheme = match scheme.strip_prefix("dns") {
        Some("") => "tcp",
        Some(scheme) => match scheme.strip_prefix('+') {
            Some("unix" | "memory") | None => return Err(invalid(text, expected)),
            Some(scheme) => scheme,
        },
        None => return Err(invalid(text, expected)),
    };
    let parsed = format!("{scheme}://{rest}").parse::<Endpoint>();
    let endpoint = parsed.map_err(|error| match error {
        // The hint of the error has schemes that no DNS name has.
        Error::InvalidEndpoint { problem, .. } => invalid(text, problem.to_string()),
        Error::UnsupportedScheme { .. } => invalid(text, expected),
        error => invalid(text, error.to_string()),
    })?;
    if has_port_zero(&endpoint) {
        return Err(invalid(text, "an agent cannot be called at port 0"));
    }
    Ok(endpoint)
}

/// Returns an endpoint with another host.
pub(crate) fn with_host(endpoint: &Endpoint, host: &str) -> Option<Endpoint> {
    let changed = match endpoint {
        Endpoint::Tcp { port, .. } => Endpoint::tcp(host, *port),
        Endpoint::Tls { port, .. } => Endpoint::tls(host, *port),
        Endpoint::Url(url) => Endpoint::url(url.scheme, host, url.port, &url.path),
        _ => return None,
    };
    changed.ok()
}

fn has_port_zero(endpoint: &Endpoint) -> bool {
    matches!(endpoint.host_and_port(), Some((_, 0)))
}

fn invalid(address: &str, problem: impl Into<String>) -> RegistryError {
    RegistryError::InvalidAddress {
        address: address.to_owned(),
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_dns_has_a_name_a_port_and_a_scheme() {
        for (text, endpoint) in [
            ("dns://agents.default.svc:80", "tcp://agents.default.svc:80"),
            ("dns+tls://agents:443", "tls://agents:443"),
            ("dns+ws://agents:80/ws", "ws://agents/ws"),
            ("dns+http://agents:8080/a", "http://agents:8080/a"),
            ("dns://[::1]:80", "tcp://[::1]:80"),
        ] {
            let parsed = parse_dns(text).unwrap();
            assert_eq!(parsed, endpoint.parse().unwrap(), "{text}");
            let moved = with_host(&parsed, "10.0.0.7").unwrap();
            assert_eq!(moved.host_and_port().unwrap().0, "10.0.0.7");
            let moved = with_host(&parsed, "fd00::7").unwrap();
            assert_eq!(moved.host_and_port().unwrap().0, "fd00::7");
        }
        for text in [
            "dns:agents:80",
            "dns://agents",
            "dns://agents:0",
            "dns+unix:///run/a.sock",
            "dns+memory://a",
            "dns+none://agents:80",
            "dnssec://agents:80",
            "tcp://agents:80",
        ] {
            let error = parse_dns(text).unwrap_err();
            assert!(
                matches!(error, RegistryError::InvalidAddress { .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn an_address_of_a_list_has_endpoints() {
        assert_eq!(
            parse_static("static:tcp://a:1, tcp://b:2").unwrap().len(),
            2
        );
        for text in [
            "static:",
            "static",
            "static:tcp://a:0",
            "static:tcp://a:1,",
            "tcp://a:1",
        ] {
            assert!(parse_static(text).is_err(), "{text}");
        }
    }
}
