//! Validation of the host of a TCP or TLS endpoint.

use std::net::Ipv6Addr;

use crate::EndpointProblem;

/// Validates a host and returns it without brackets.
pub(super) fn check_host(host: &str) -> Result<&str, EndpointProblem> {
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

/// Returns true if the text is an IPv6 address. The address may have a zone, as in `fe80::1%eth0`.
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && zone.chars().all(is_in_name)
}

fn is_in_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_')
}
