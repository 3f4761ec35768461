use std::time::Duration;

use agentwire::{
    Endpoint,
    registry::{RedisRegistry, RedisRegistryBuilder, RemoteRegistry, SharedRegistry},
};

use crate::{exit::Failure, target::parse_target_endpoint};

/// Where a registry is.
#[derive(Debug, Clone)]
pub(crate) enum RegistryUrl {
    /// One that is served as an agent is.
    Agentwire(Endpoint),
    Redis(RedisRegistryBuilder),
}

/// Reads where a registry is.
pub(crate) fn parse_registry_url(text: &str) -> Result<RegistryUrl, String> {
    match text.split_once(':') {
        Some(("redis" | "rediss" | "redis+unix", _)) => {
            let redis = RedisRegistry::builder(text);
            // What is wrong with the URL is to be said before anything is done.
            let checked = redis.clone().connect_lazy();
            checked.map_err(|error| error.to_string())?;
            Ok(RegistryUrl::Redis(redis))
        }
        _ => parse_target_endpoint(text).map(RegistryUrl::Agentwire),
    }
}

impl RegistryUrl {
    /// A client of it, which gives each question so much time. It does not connect yet.
    pub(crate) fn open(&self, timeout: Duration) -> Result<SharedRegistry, Failure> {
        Ok(match self {
            Self::Agentwire(endpoint) => {
                SharedRegistry::new(RemoteRegistry::builder(endpoint).timeout(timeout).build()?)
            }
            Self::Redis(redis) => {
                SharedRegistry::new(redis.clone().timeout(timeout).connect_lazy()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_endpoint_or_a_redis() {
        for (text, is_redis) in [
            ("unix:///run/registry.sock", false),
            ("tcp://localhost:7000", false),
            ("redis://localhost", true),
            ("redis://user:secret@localhost:6379/2", true),
            ("redis+unix:///run/redis.sock", true),
        ] {
            let url = parse_registry_url(text).unwrap();
            assert_eq!(matches!(url, RegistryUrl::Redis(_)), is_redis, "{text}");
            assert!(!format!("{url:?}").contains("secret"));
            assert!(url.open(Duration::from_secs(1)).is_ok(), "{text}");
        }
        for text in [
            "",
            "localhost",
            "redis://",
            "rediss://localhost",
            "tcp://localhost:0",
        ] {
            assert!(parse_registry_url(text).is_err(), "{text}");
        }
    }
}
