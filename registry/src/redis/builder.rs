//! [`RedisRegistryBuilder`]: the settings of a [`RedisRegistry`].

use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use super::{RedisRegistry, address::Address, fault::Fault, shared::Shared, status, store::Store};
use crate::{RegistryConfig, RegistryError};

/// Configures a [`RedisRegistry`]. Created by [`RedisRegistry::builder`].
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

    /// Sets the prefix of all keys. Default: `agentwire:`; at most 255 bytes. Registries with
    /// different prefixes do not see each other.
    pub fn namespace(mut self, prefix: impl Into<String>) -> Self {
        self.namespace = prefix.into();
        self
    }

    /// Sets the limits and the lease. Default: [`RegistryConfig::default`]. They apply to agents
    /// that register through this handle; other registries on the same Redis may have different
    /// ones.
    pub fn config(mut self, config: RegistryConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets how long a registration lives without a heartbeat: [`RegistryConfig::lease`].
    pub fn lease(mut self, timeout: Duration) -> Self {
        self.config = self.config.lease(timeout);
        self
    }

    /// Sets how long an operation may take, including connecting. Default: 5 s; from 1 ms to a day.
    /// An operation that reads several pages may take this long for each.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Connects to Redis, and checks that it permits all commands.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidSetting`]; [`RegistryError::Unavailable`] if Redis cannot be
    /// reached; [`RegistryError::Refused`] if it denies access.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: dropping the future leaves nothing behind.
    pub async fn connect(self) -> Result<RedisRegistry, RegistryError> {
        let registry = self.connect_lazy()?;
        // A small sweep checks that Redis runs scripts, and returns the epoch.
        let (epoch, _) = registry.0.store.sweep(1).await?;
        let permitted = registry.0.listener.check_permissions().await;
        permitted.map_err(|fault| fault.into_error(registry.0.store.registry()))?;
        status::record_epoch(&registry.0.status, &epoch);
        registry.0.ensure_sweeper();
        Ok(registry)
    }

    /// Creates a registry that connects on first use, so Redis need not be running yet. Needs no
    /// runtime.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidSetting`].
    pub fn connect_lazy(self) -> Result<RedisRegistry, RegistryError> {
        self.check()?;
        let address = Address::parse(&self.url)?;
        // All databases of a Redis share their channels, so the channel names the database.
        let channel = format!("{}changes@{}", self.namespace, address.database);
        let store = Store::new(&address, self.namespace, channel.clone(), self.timeout)?;
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
        if !TIMEOUTS.contains(&self.timeout) {
            return invalid("timeout", "must be between 1 ms and a day");
        }
        Ok(())
    }
}

/// Omits the URL, which may contain a password.
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

/// The longest namespace, in bytes. Every key contains it.
const MAX_NAMESPACE_LEN: usize = 255;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
