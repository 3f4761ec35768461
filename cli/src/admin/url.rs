//! The URL of an administrative endpoint.

use std::fmt;

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
        assert_eq!(parse_admin_url("http://a:1/").unwrap().address(), "a:1");
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
