//! The address of a Redis server: [`Address`].

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use crate::RegistryError;

/// The address and the credentials of a Redis server.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// The URL without the user and the password, for logs and errors.
    pub(super) display: String,
    /// The database number.
    pub(super) database: i64,
    info: ConnectionInfo,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, RegistryError> {
        let invalid = |problem| RegistryError::InvalidSetting {
            setting: "url",
            problem,
        };
        if url.starts_with("rediss:") {
            return Err(invalid(
                "must begin with redis://, because TLS is not supported",
            ));
        }
        if !url.starts_with("redis://") && !url.starts_with("redis+unix://") {
            return Err(invalid("must begin with redis:// or redis+unix://"));
        }
        let info = url
            .into_connection_info()
            .map_err(|_| invalid("must have the form redis://host:port or redis+unix:///path"))?;
        let display = match info.addr() {
            ConnectionAddr::Unix(path) => format!("redis+unix://{}", path.display()),
            ConnectionAddr::Tcp(host, port) if host.contains(':') => {
                format!("redis://[{host}]:{port}")
            }
            address => format!("redis://{address}"),
        };
        let database = info.redis_settings().db();
        let display = match database {
            0 => display,
            _ => format!("{display}/{database}"),
        };
        Ok(Self {
            display,
            database,
            info,
        })
    }

    /// Returns a client for commands.
    pub(super) fn client(&self) -> redis::RedisResult<Client> {
        Client::open(self.info.clone())
    }

    /// Returns a client for a connection that receives push messages. Push messages require RESP3.
    pub(super) fn push_client(&self) -> redis::RedisResult<Client> {
        let settings = self.info.redis_settings().clone();
        let settings = settings.set_protocol(ProtocolVersion::RESP3);
        Client::open(self.info.clone().set_redis_settings(settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_displayed_url_has_no_secrets() {
        for (url, display) in [
            ("redis://host", "redis://host:6379"),
            ("redis://host:7000/3", "redis://host:7000/3"),
            ("redis://user:secret@host:7000", "redis://host:7000"),
            ("redis://:secret@[::1]:7000/0", "redis://[::1]:7000"),
            (
                "redis+unix:///run/redis.sock",
                "redis+unix:///run/redis.sock",
            ),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.display, display);
            assert!(address.client().is_ok() && address.push_client().is_ok());
            assert!(!format!("{address:?}").contains("secret"), "{address:?}");
        }
    }

    #[test]
    fn invalid_urls_are_refused() {
        for url in [
            "",
            "host:6379",
            "http://host",
            "rediss://host",
            "redis://",
            "redis://host:port",
            "redis://host/db",
        ] {
            match Address::parse(url) {
                Err(RegistryError::InvalidSetting { setting, .. }) => assert_eq!(setting, "url"),
                other => panic!("{url}: {other:?}"),
            }
        }
    }
}
