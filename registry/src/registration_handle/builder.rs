//! [`RegistrationHandleBuilder`]: the settings of a [`RegistrationHandle`].

use std::time::Duration;

use super::RegistrationHandle;
use crate::{
    Registration, Registry, RegistryError, SharedRegistry, backend::RegistrationExt,
    owner::OwnerKey,
};

/// Configures a [`RegistrationHandle`]. Created by [`RegistrationHandle::builder`].
#[derive(Debug)]
#[must_use]
pub struct RegistrationHandleBuilder {
    pub(super) registry: SharedRegistry,
    pub(super) registration: Registration,
    pub(super) interval: Option<Duration>,
    pub(super) attempt_timeout: Duration,
    pub(super) unregister_timeout: Duration,
}

impl RegistrationHandleBuilder {
    pub(super) fn new(registry: impl Registry, registration: Registration) -> Self {
        Self {
            registry: SharedRegistry::new(registry),
            registration,
            interval: None,
            attempt_timeout: Duration::from_secs(30),
            unregister_timeout: Duration::from_secs(5),
        }
    }

    /// Sets how often to send a heartbeat. Default: as the registry's lease suggests, a third of
    /// it. A longer interval tolerates fewer lost heartbeats. Each interval is shortened at random
    /// by up to a tenth.
    ///
    /// The interval must be shorter than the lease, which the registry only returns on
    /// registration. If it is not, the agent is unregistered again and
    /// [`RegistrationHandle::registered`] fails with [`RegistryError::InvalidSetting`].
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Sets how long one registration or heartbeat may take before it counts as failed. Default:
    /// 30 s. While a lease is held, at most a sixth of it is used.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Sets how long unregistering may take, in [`RegistrationHandle::unregister`] and after a
    /// drop. Default: 5 s.
    pub fn unregister_timeout(mut self, timeout: Duration) -> Self {
        self.unregister_timeout = timeout;
        self
    }

    /// Starts a background task that registers the agent and keeps it registered.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidName`] and [`RegistryError::InvalidRegistration`], if every registry
    /// would refuse the registration. Other failures are retried and reported by
    /// [`RegistrationHandle::last_error`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub fn start(mut self) -> Result<RegistrationHandle, RegistryError> {
        // Readers of the registry know the instance id, but not the key.
        let owner = &mut self.registration.owner;
        *owner = owner.take().or_else(|| Some(OwnerKey::random()));
        // The size limit is the registry's to check.
        self.registration.check(usize::MAX)?;
        Ok(RegistrationHandle::spawn(self))
    }
}
