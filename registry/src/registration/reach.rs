//! The reach of endpoints: [`Reach`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use agentwire_transport::Endpoint;

use crate::RegistrationProblem;

/// The processes and machines from which an endpoint can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Memory and custom endpoints, which can be called only from the same process.
    Process,
    /// Loopback addresses and addresses with a zone, which can be called only from the same network
    /// stack.
    Network,
    /// Unix sockets, which can be called from the same machine, including containers that share the
    /// path of the socket.
    Machine,
    /// All other endpoints, which can be called from any machine.
    Everywhere,
}

impl Reach {
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        match endpoint {
            Endpoint::Unix { .. } => Self::Machine,
            Endpoint::Tcp { .. } | Endpoint::Tls { .. } | Endpoint::Url(_) => {
                let host = endpoint.host_and_port().map_or("", |(host, _)| host);
                if host.contains('%') || is_loopback(host) {
                    Self::Network
                } else {
                    Self::Everywhere
                }
            }
            _ => Self::Process,
        }
    }

    /// Returns whether the meaning of the endpoint depends on the machine.
    pub(crate) fn is_local(self) -> bool {
        matches!(self, Self::Network | Self::Machine)
    }
}

/// Checks that an endpoint has the same meaning for all callers.
pub(super) fn check_endpoint(endpoint: &Endpoint) -> Result<(), RegistrationProblem> {
    let problem = match endpoint {
        _ if matches!(endpoint.host_and_port(), Some((_, 0))) => {
            return Err(RegistrationProblem::PortZero);
        }
        Endpoint::Tcp { .. } | Endpoint::Tls { .. } | Endpoint::Url(_) => endpoint
            .host_and_port()
            .and_then(|(host, _)| host_problem(host)),
        Endpoint::Unix { path, .. } if !path.is_absolute() => Some(
            "a relative path depends on the working directory of the caller; use an absolute path",
        ),
        _ => None,
    };
    if endpoint.to_string().chars().any(char::is_control) {
        return Err(RegistrationProblem::Endpoint {
            problem: "it contains control characters",
        });
    }
    problem.map_or(Ok(()), |problem| {
        Err(RegistrationProblem::Endpoint { problem })
    })
}

fn host_problem(host: &str) -> Option<&'static str> {
    let Some(address) = parse_address(host) else {
        // Some resolvers treat `0`, `0x7f.1` and `127.1` as addresses.
        let is_number = is_numeric(host.trim_end_matches('.').rsplit('.').next()?);
        return is_number.then_some("an IPv4 address must have four decimal numbers");
    };
    if address.is_unspecified() || matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 0) {
        Some("an unspecified address cannot be called; use the address of this machine")
    } else if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("a multicast or broadcast address cannot be called")
    } else {
        None
    }
}

fn is_loopback(host: &str) -> bool {
    if let Some(address) = parse_address(host) {
        return address.is_loopback();
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let host = host.strip_suffix(".localdomain").unwrap_or(&host);
    let name = host.rsplit('.').next().unwrap_or_default();
    LOOPBACK_NAMES.contains(&name)
}

/// Parses an address. If an IPv6 address embeds an IPv4 address, returns the IPv4 address.
fn parse_address(host: &str) -> Option<IpAddr> {
    let host = host.split_once('%').map_or(host, |(address, _)| address);
    let address = host.parse::<IpAddr>().ok()?;
    Some(match address {
        IpAddr::V6(v6) => embedded_v4(v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    })
}

/// Returns the IPv4 address that is embedded in a mapped, compatible or translated (RFC 6052) IPv6
/// address.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = v6.segments();
    let [.., a, b] = segments;
    let [a, b, c, d] = [a.to_be_bytes(), b.to_be_bytes()]
        .concat()
        .try_into()
        .ok()?;
    let is_compatible = segments[..6] == [0; 6] && segments[6] != 0;
    let is_translated = segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    v6.to_ipv4_mapped()
        .or_else(|| (is_compatible || is_translated).then_some(Ipv4Addr::new(a, b, c, d)))
}

fn is_numeric(label: &str) -> bool {
    let hex = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The last labels of host names that refer to the machine of the caller.
const LOOPBACK_NAMES: [&str; 6] = [
    "localhost",
    "localhost4",
    "localhost6",
    "ip6-localhost",
    "ip6-loopback",
    "loopback",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Option<RegistrationProblem> {
        check_endpoint(&text.parse().unwrap()).err()
    }

    #[test]
    fn endpoints_that_depend_on_the_reader_are_refused() {
        for text in [
            "tcp://0.0.0.0:80",
            "tcp://0.1.2.3:80",
            "tcp://0:80",
            "tls://0.0.0.0:80",
            "tls://[ff02::1]:80",
            "http://0.0.0.0:80/a",
            "ws://[::]:80",
            "tcp://0.:80",
            "tcp://0x0:80",
            "tcp://127.1:80",
            "tcp://010.0.0.1:80",
            "tcp://10.0.0.256:80",
            "tcp://2130706433:80",
            "tcp://[::]:80",
            "tcp://[::%eth0]:80",
            "tcp://[::ffff:0.0.0.0]:80",
            "tcp://[64:ff9b::]:80",
            "tcp://224.0.0.1:80",
            "tcp://239.255.255.250:80",
            "tcp://255.255.255.255:80",
            "tcp://[ff02::1]:80",
            "tcp://[::ffff:224.0.0.1]:80",
            "unix://./relative.sock",
            "unix://../relative.sock",
            "unix:///run/a\nb",
            "unix:///run/\u{1b}[31m",
            "memory://a\u{85}b",
        ] {
            let problem = problem(text);
            assert!(
                matches!(problem, Some(RegistrationProblem::Endpoint { .. })),
                "{text}: {problem:?}"
            );
        }
        for text in ["tcp://host:0", "tls://host:0", "ws://host:0/a"] {
            assert_eq!(problem(text), Some(RegistrationProblem::PortZero));
        }
    }

    #[test]
    fn the_reach_follows_from_the_address() {
        for (text, reach) in [
            ("tcp://10.0.0.7:80", Reach::Everywhere),
            ("tcp://[2001:db8::1]:80", Reach::Everywhere),
            ("tcp://host:80", Reach::Everywhere),
            ("tcp://7host:80", Reach::Everywhere),
            ("tcp://host.0x7.example:80", Reach::Everywhere),
            ("tcp://localhost.example:80", Reach::Everywhere),
            ("tls://10.0.0.7:80", Reach::Everywhere),
            ("tls://localhost:80", Reach::Network),
            ("https://10.0.0.7/agents", Reach::Everywhere),
            ("ws://127.0.0.1/agents", Reach::Network),
            ("tcp://127.0.0.1:80", Reach::Network),
            ("tcp://127.8.9.10:80", Reach::Network),
            ("tcp://[::1]:80", Reach::Network),
            ("tcp://[::ffff:127.0.0.1]:80", Reach::Network),
            ("tcp://LocalHost.:80", Reach::Network),
            ("tcp://a.localhost:80", Reach::Network),
            ("tcp://localhost.localdomain:80", Reach::Network),
            ("tcp://[fe80::1%eth0]:80", Reach::Network),
            ("unix:///run/a.sock", Reach::Machine),
            ("memory://a", Reach::Process),
        ] {
            assert_eq!(problem(text), None, "{text}");
            assert_eq!(Reach::of(&text.parse().unwrap()), reach, "{text}");
        }
    }
}
