//! Conversions into [`Endpoint`].

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::Endpoint;
use crate::Error;

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

/// Creates an endpoint like [`Endpoint::unix`].
impl TryFrom<PathBuf> for Endpoint {
    type Error = Error;

    fn try_from(path: PathBuf) -> Result<Self, Error> {
        Self::unix(path)
    }
}

/// Creates an endpoint like [`Endpoint::unix`].
impl TryFrom<&PathBuf> for Endpoint {
    type Error = Error;

    fn try_from(path: &PathBuf) -> Result<Self, Error> {
        Self::unix(path)
    }
}

/// Creates an endpoint like [`Endpoint::unix`].
impl TryFrom<&Path> for Endpoint {
    type Error = Error;

    fn try_from(path: &Path) -> Result<Self, Error> {
        Self::unix(path)
    }
}

/// Creates a TCP endpoint.
impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => address.ip().to_string(),
        };
        Self::Tcp {
            host,
            port: address.port(),
            bracketed: true,
        }
    }
}

impl From<&Self> for Endpoint {
    fn from(endpoint: &Self) -> Self {
        endpoint.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use super::*;

    fn take<E>(endpoint: E) -> Endpoint
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        endpoint.try_into().map_err(Error::from).expect("endpoint")
    }

    #[test]
    fn a_function_can_take_everything_that_names_an_endpoint() {
        let memory = Endpoint::memory("a").expect("memory");
        let text = "memory://a".to_owned();
        assert_eq!(take(text.as_str()), memory);
        assert_eq!(take(&text), memory);
        assert_eq!(take(text), memory);
        assert_eq!(take(&memory), memory);
        assert_eq!(take(memory.clone()), memory);

        let unix = Endpoint::unix("/a").expect("unix");
        let path = PathBuf::from("/a");
        assert_eq!(take(path.as_path()), unix);
        assert_eq!(take(&path), unix);
        assert_eq!(take(path), unix);

        let tcp = Endpoint::tcp("::1", 80).expect("tcp");
        assert_eq!(
            take("[::1]:80".parse::<SocketAddr>().expect("address")),
            tcp
        );
    }

    #[test]
    fn a_socket_address_keeps_its_zone() {
        let address = SocketAddrV6::new("fe80::1".parse().expect("address"), 80, 0, 2);
        let endpoint = Endpoint::from(SocketAddr::V6(address));
        assert_eq!(endpoint.to_string(), "tcp://[fe80::1%2]:80");
        assert_eq!(
            endpoint.to_string().parse::<Endpoint>().expect("text"),
            endpoint
        );
    }
}
