use std::time::Duration;

use super::RegistrationHandle;
use crate::{Registration, Registry, RegistryError, SharedRegistry, backend::RegistrationExt};

/// How a [`RegistrationHandle`] keeps an agent registered. Made by [`RegistrationHandle::builder`].
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

    /// How often to send a heartbeat. Default: as the registry wants it, which is a third of the lease. With a longer
    /// one, fewer may be lost. Each wait is shortened by up to a tenth, at random.
    ///
    /// It must be shorter than the lease, which only the registry tells: if it is not, the agent is taken out again, and
    /// [`RegistrationHandle::registered`] fails with [`RegistryError::InvalidSetting`].
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// How long one registration or heartbeat may take before it counts as failed. Default: 30 s. While the lease
    /// holds, it is no more than a sixth of it.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// How long unregistering may take, in [`RegistrationHandle::unregister`] and after a drop. Default: 5 s.
    pub fn unregister_timeout(mut self, timeout: Duration) -> Self {
        self.unregister_timeout = timeout;
        self
    }

    /// Begins to register the agent, and keeps it registered in a task of its own.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidName`] and [`RegistryError::InvalidRegistration`], for what no registry takes.
    /// Whatever else fails is tried again, and is told by [`RegistrationHandle::last_error`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub fn start(self) -> Result<RegistrationHandle, RegistryError> {
        // How much is too much, the registry says.
        self.registration.check(usize::MAX)?;
        Ok(RegistrationHandle::spawn(self))
    }
}
