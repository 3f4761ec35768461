//! The builder of a [`RedisRegistry`].

use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use super::{
    RedisRegistry, address::Address, fault::Fault, keys::Keys, shared::Shared, status,
    store::Store, url::Url,
};
use crate::{RegistryConfig, RegistryError};

/// A builder for a [`RedisRegistry`], returned by [`RedisRegistry::builder`].
#[derive(Clone)]
#[must_use]
pub struct RedisRegistryBuilder {
    url: String,
    namespace: String,
    config: RegistryConfig,
    timeout: Duration,
}

impl RedisRegistryBuilder {
    pub(super) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: DEFAULT_NAMESPACE.to_owned(),
            config: RegistryConfig::default(),
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Sets the prefix of all keys. The default is `agentwire:`, and the maximum length is 255
    /// bytes. Registries with different prefixes are independent of each other.
    pub fn namespace(mut self, prefix: impl Into<String>) -> Self {
        self.namespace = prefix.into();
        self
    }

    /// Sets the limits and the lease. The default is [`RegistryConfig::default`]. The settings
    /// apply to agents that register through this handle. Other handles on the same Redis may have
    /// different settings.
    pub fn config(mut self, config: RegistryConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the time after which a registration without heartbeats expires: see
    /// [`RegistryConfig::lease`].
    pub fn lease(mut self, timeout: Duration) -> Self {
        self.config = self.config.lease(timeout);
        self
    }

    /// Sets the timeout of an operation, which includes connecting. The default is 5 s. The timeout
    /// must be between 1 ms and a day. If an operation reads several pages, the timeout applies to
    /// each page.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Connects to Redis, and checks that Redis permits all required commands.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidSetting`] if a setting is invalid,
    /// [`RegistryError::Unavailable`] if Redis cannot be reached, and [`RegistryError::Refused`] if
    /// Redis denies access.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is closed.
    pub async fn connect(self) -> Result<RedisRegistry, RegistryError> {
        let registry = self.connect_lazy()?;
        let position = registry.0.store.check().await?;
        let permitted = registry.0.listener.check_permissions().await;
        permitted.map_err(|fault| fault.into_error(registry.0.store.registry()))?;
        status::record_epoch(&registry.0.status, &position.epoch);
        registry.0.ensure_sweeper();
        Ok(registry)
    }

    /// Creates a registry that connects on its first use. Redis does not have to be running, and no
    /// runtime is required.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidSetting`] if a setting is invalid.
    pub fn connect_lazy(mut self) -> Result<RedisRegistry, RegistryError> {
        let Url {
            url,
            namespace,
            lease,
        } = Url::parse(&self.url)?;
        if let Some(namespace) = namespace {
            self.namespace = namespace;
        }
        if let Some(lease) = lease {
            self = self.lease(lease);
        }
        self.check()?;
        let address = Address::parse(&url)?;
        // All databases of a Redis server share their channels, so the name of the channel contains
        // the database number.
        let channel = format!("{}changes@{}", self.namespace, address.database);
        let keys = Keys::new(&self.namespace);
        let lease = self.config.lease.timeout();
        let store = Store::new(&address, keys, channel.clone(), lease, self.timeout)?;
        let push_client = address.push_client();
        let client =
            push_client.map_err(|error| Fault::from(error).into_error(&address.display))?;
        let shared = Shared::new(self.config, store, client, channel, self.timeout);
        Ok(RedisRegistry(Arc::new(shared)))
    }

    fn check(&self) -> Result<(), RegistryError> {
        self.config.check()?;
        let invalid = |setting, problem| Err(RegistryError::InvalidSetting { setting, problem });
        if self.namespace.len() > MAX_NAMESPACE_LEN {
            return invalid("namespace", "must have at most 255 bytes");
        }
        if self.namespace.contains("{}") {
            return invalid("namespace", "must not contain an empty hash tag");
        }
        if !TIMEOUTS.contains(&self.timeout) {
            return invalid("timeout", "must be between 1 ms and a day");
        }
        Ok(())
    }
}

/// The `Debug` output omits the URL, which may contain a password.
impl fmt::Debug for RedisRegistryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRegistryBuilder")
            .field("namespace", &self.namespace)
            .field("config", &self.config)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

const DEFAULT_NAMESPACE: &str = "agentwire:";

/// The maximum length of a namespace, in bytes. The limit exists because every key contains the
/// namespace.
const MAX_NAMESPACE_LEN: usize = 255;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
