//! The URL of an administrative endpoint.

use std::{fmt, net::IpAddr};

/// A URL `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdminUrl {
    /// The host. An IPv6 address has brackets.
    host: String,
    port: u16,
}

impl AdminUrl {
    /// Returns the address to bind or to connect to.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Returns whether the address is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let address = host.parse().map(|address: IpAddr| address.to_canonical());
        address.map_or_else(
            |_| host.eq_ignore_ascii_case("localhost"),
            |ip| ip.is_loopback(),
        )
    }

    pub(crate) fn with_port(&self, port: u16) -> Self {
        Self {
            host: self.host.clone(),
            port,
        }
    }
}

impl fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

/// Parses a URL of the form `http://HOST:PORT`.
pub(crate) fn parse_admin_url(text: &str) -> Result<AdminUrl, String> {
    let expected = || "expected http://HOST:PORT, such as http://127.0.0.1:9090".to_owned();
    let address = text.strip_prefix("http://").ok_or_else(expected)?;
    let address = address.strip_suffix('/').unwrap_or(address);
    let (host, port) = address.rsplit_once(':').ok_or_else(expected)?;
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_valid = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_');
    if !is_bracketed && (host.is_empty() || !host.chars().all(is_valid)) {
        return Err(expected());
    }
    let port = port.parse().map_err(|_| expected())?;
    Ok(AdminUrl {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_and_a_port_are_accepted() {
        for valid in [
            "http://127.0.0.1:0",
            "http://localhost:9090",
            "http://[::1]:1",
        ] {
            assert_eq!(parse_admin_url(valid).unwrap().to_string(), valid);
        }
        let other = parse_admin_url("http://a:1/").unwrap();
        assert!(other.address() == "a:1" && !other.is_loopback());
        assert!(parse_admin_url("http://[::1]:1").unwrap().is_loopback());
        for invalid in [
            "127.0.0.1:9090",
            "https://a:1",
            "http://a",
            "http://:1",
            "http://a:1/metrics",
            "http://a:99999",
            "http://user@a:1",
        ] {
            assert!(parse_admin_url(invalid).is_err(), "{invalid}");
        }
    }
}
