//! The option `--registry`.

use std::{sync::Arc, time::Duration};

use agentwire::{
    Endpoint, RetryPolicy,
    observer::Observer,
    registry::{
        DnsRegistry, RedisRegistry, RedisRegistryBuilder, RemoteRegistry, SharedRegistry,
        StaticRegistry,
    },
    transport::{self, internal::Untrusted},
};

use crate::{
    auth_args::TokenArgs,
    endpoint_args::parse_connect_endpoint,
    exit::{CliError, Exit},
    logging,
    tls_args::TlsClientArgs,
};

/// The address of a registry.
#[derive(Debug, Clone)]
pub(crate) enum RegistryUrl {
    /// The endpoint of a registry server that uses the agentwire protocol.
    Agentwire(Endpoint),
    Redis(RedisRegistryBuilder),
    /// The addresses of a DNS name.
    Dns(DnsRegistry),
    /// A list of endpoints.
    Static(StaticRegistry),
}

/// Parses the address of a registry.
pub(crate) fn parse_registry_url(text: &str) -> Result<RegistryUrl, String> {
    match text.split_once(':') {
        Some(("redis" | "rediss" | "redis+unix", _)) => {
            let redis = RedisRegistry::builder(text);
            // Validate the URL now, so that an invalid URL is reported as a usage error.
            let checked = redis.clone().connect_lazy();
            checked.map_err(|error| error.to_string())?;
            Ok(RegistryUrl::Redis(redis))
        }
        Some((scheme, _)) if scheme == "dns" || scheme.starts_with("dns+") => {
            let dns = DnsRegistry::parse(text);
            Ok(RegistryUrl::Dns(dns.map_err(|error| error.to_string())?))
        }
        Some(("static", list)) => {
            // A command cannot reach all endpoints that a program can.
            if !list.is_empty() {
                for one in list.split(',') {
                    parse_connect_endpoint(one.trim())?;
                }
            }
            let list = StaticRegistry::parse(text);
            Ok(RegistryUrl::Static(
                list.map_err(|error| error.to_string())?,
            ))
        }
        _ => {
            let is_unknown = !text.contains("://")
                || matches!(
                    text.parse::<Endpoint>(),
                    Err(transport::Error::UnsupportedScheme { .. })
                );
            if is_unknown {
                return Err(format!(
                    "{:?} is not the address of a registry (use the ENDPOINT of a registry, such as \
                     tcp://host:port, or redis://host:port, dns://name:port or \
                     static:ENDPOINT,ENDPOINT)",
                    Untrusted(text)
                ));
            }
            parse_connect_endpoint(text).map(RegistryUrl::Agentwire)
        }
    }
}

impl RegistryUrl {
    /// Returns the observer that logs each request to the registry, or `None` if nothing is logged.
    pub(crate) fn request_log(&self) -> Option<Arc<dyn Observer>> {
        match self {
            Self::Agentwire(endpoint) => logging::requests::of_client(endpoint),
            Self::Redis(_) | Self::Dns(_) | Self::Static(_) => None,
        }
    }

    /// Returns an error if agents cannot register.
    pub(crate) fn check_writable(&self) -> Result<(), CliError> {
        match self {
            Self::Dns(_) | Self::Static(_) => {
                let problem = "agents cannot register with DNS or a static list";
                Err(CliError::new(Exit::Usage, problem))
            }
            _ => Ok(()),
        }
    }
}

/// The options of the client of a registry.
pub(crate) struct Opening<'a> {
    url: &'a RegistryUrl,
    /// The maximum time to wait for each answer.
    timeout: Duration,
    tls: &'a TlsClientArgs,
    /// A registry in Redis has its password in the URL, and ignores the token.
    token: &'a TokenArgs,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) max_list_size: Option<usize>,
    /// Whether to list the Unix sockets and loopback addresses of other machines.
    pub(crate) include_remote_local: bool,
    pub(crate) retry: RetryPolicy,
}

impl<'a> Opening<'a> {
    pub(crate) fn new(
        url: &'a RegistryUrl,
        timeout: Duration,
        tls: &'a TlsClientArgs,
        token: &'a TokenArgs,
    ) -> Self {
        Self {
            url,
            timeout,
            tls,
            token,
            observer: None,
            max_list_size: None,
            include_remote_local: false,
            retry: RetryPolicy::new().resend(2),
        }
    }

    /// Creates a client, which connects when it is first used.
    pub(crate) fn open(self) -> Result<SharedRegistry, CliError> {
        Ok(match self.url {
            RegistryUrl::Agentwire(endpoint) => {
                let mut registry = RemoteRegistry::builder(endpoint)
                    .timeout(self.timeout)
                    .retry(self.retry)
                    .include_remote_local(self.include_remote_local)
                    .tls(self.tls.client()?);
                if let Some(observer) = self.observer {
                    registry = registry.observer(observer);
                }
                if let Some(size) = self.max_list_size {
                    registry = registry.max_list_size(size);
                }
                let registry = self.token.apply_to_registry(registry)?;
                SharedRegistry::new(registry.build()?)
            }
            RegistryUrl::Dns(dns) => SharedRegistry::new(dns.clone()),
            RegistryUrl::Static(list) => SharedRegistry::new(list.clone()),
            RegistryUrl::Redis(redis) => {
                SharedRegistry::new(redis.clone().timeout(self.timeout).connect_lazy()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_url_is_an_endpoint_or_a_redis_url() {
        for (text, is_redis) in [
            ("unix:///run/registry.sock", false),
            ("tcp://localhost:7000", false),
            ("redis://localhost", true),
            ("redis://user:secret@localhost:6379/2", true),
            ("redis+unix:///run/redis.sock", true),
            ("redis://localhost/1?namespace=blue:&lease=30s", true),
            ("dns://agents.svc:80", false),
            ("dns+tls://agents.svc:80", false),
            ("static:tcp://a:1,unix:///run/a.sock", false),
        ] {
            let url = parse_registry_url(text).unwrap();
            assert_eq!(matches!(url, RegistryUrl::Redis(_)), is_redis, "{text}");
            assert!(!format!("{url:?}").contains("secret"));
            assert!(
                Opening::new(
                    &url,
                    Duration::from_secs(1),
                    &TlsClientArgs::default(),
                    &TokenArgs::default()
                )
                .open()
                .is_ok(),
                "{text}"
            );
        }
        for text in [
            "",
            "localhost",
            "redis://",
            "rediss://localhost",
            "redis://localhost?namspace=blue:",
            "redis://localhost?lease=soon",
            "tcp://localhost:0",
            "dns://agents.svc",
            "dns+http:agents.svc",
            "dns+none://agents.svc:80",
            "static:",
            "static:agents",
            "static:tcp://a:1,",
        ] {
            let problem = parse_registry_url(text).unwrap_err();
            assert!(!problem.contains("memory://"), "{problem}");
        }
        for text in ["localhost", "consul://localhost:1"] {
            let problem = parse_registry_url(text).unwrap_err();
            assert!(problem.contains("redis://"), "{problem}");
        }
        assert!(parse_registry_url("static:memory://a").is_err());
    }
}
