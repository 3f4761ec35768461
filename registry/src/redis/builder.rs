use std::{sync::Arc, time::Duration};

use super::{RedisRegistry, address::Address, fault::Fault, shared::Shared, status, store::Store};
use crate::{RegistryConfig, RegistryError};

/// How to use a Redis as a registry: [`RedisRegistry::builder`].
#[derive(Clone)]
#[must_use]
pub struct RedisRegistryBuilder {
    url: String,
    namespace: String,
    config: RegistryConfig,
    timeout: Duration,
}

/// The longest namespace, in bytes: it stands in every key.
const MAX_NAMESPACE_LEN: usize = 255;

impl RedisRegistryBuilder {
    pub(super) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: "agentwire:".to_owned(),
            config: RegistryConfig::default(),
            timeout: Duration::from_secs(5),
        }
    }

    /// What all keys begin with. Default: `agentwire:`; at most 255 bytes. Registries with different ones do not see
    /// each other.
    pub fn namespace(mut self, prefix: impl Into<String>) -> Self {
        self.namespace = prefix.into();
        self
    }

    /// What is taken, and for how long. Default: that of [`RegistryConfig`]. It holds for those who register through
    /// this registry; others on the same Redis may have another.
    pub fn config(mut self, config: RegistryConfig) -> Self {
        self.config = config;
        self
    }

    /// For how long a registration holds without a heartbeat: [`RegistryConfig::lease`].
    pub fn lease(mut self, timeout: Duration) -> Self {
        self.config = self.config.lease(timeout);
        self
    }

    /// How long an operation may take, connecting included. Default: 5 s; from 1 ms to a day. Those that read more
    /// than one page take as long for each.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidSetting`]; [`RegistryError::Unavailable`] if there is no Redis now, and
    /// [`RegistryError::Refused`] if it does not let us.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is left behind.
    pub async fn connect(self) -> Result<RedisRegistry, RegistryError> {
        let registry = self.connect_lazy()?;
        // It shows that Redis is there and runs scripts, and tells the epoch.
        let (epoch, _) = registry.0.store.sweep(1).await?;
        let rights = registry.0.listener.check_rights().await;
        rights.map_err(|fault| fault.at(registry.0.store.registry()))?;
        status::seen(&registry.0.status, &epoch);
        registry.0.sweep();
        Ok(registry)
    }

    /// Connects once something is asked of the registry: Redis need not be there yet. Needs no runtime.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidSetting`]
    pub fn connect_lazy(self) -> Result<RedisRegistry, RegistryError> {
        self.check()?;
        let address = Address::parse(&self.url)?;
        // The databases of one Redis share all channels.
        let channel = format!("{}changes@{}", self.namespace, address.database);
        let store = Store::new(&address, self.namespace, channel.clone(), self.timeout)?;
        let push_client = address.push_client();
        let client = push_client.map_err(|error| Fault::from(error).at(&address.shown))?;
        let shared = Shared::new(self.config, store, client, channel, self.timeout);
        Ok(RedisRegistry(Arc::new(shared)))
    }

    fn check(&self) -> Result<(), RegistryError> {
        self.config.check()?;
        let invalid = |setting, problem| Err(RegistryError::InvalidSetting { setting, problem });
        if self.namespace.len() > MAX_NAMESPACE_LEN {
            return invalid("namespace", "must have at most 255 bytes");
        }
        let timeouts = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
        if !timeouts.contains(&self.timeout) {
            return invalid("timeout", "must be between 1 ms and a day");
        }
        Ok(())
    }
}

/// Leaves out the URL, which may hold a password.
impl std::fmt::Debug for RedisRegistryBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisRegistryBuilder")
            .field("namespace", &self.namespace)
            .field("config", &self.config)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
