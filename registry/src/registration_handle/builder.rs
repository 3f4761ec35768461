//! The builder of a [`RegistrationHandle`].

use std::time::Duration;

use super::RegistrationHandle;
use crate::{
    Registration, Registry, RegistryError, SharedRegistry, backend::RegistrationExt,
    owner::OwnerKey,
};

/// A builder for a [`RegistrationHandle`], returned by [`RegistrationHandle::builder`].
///
/// ```
/// # mod agentwire { pub extern crate agentwire_registry as registry; }
/// use std::time::Duration;
///
/// use agentwire::registry::{LocalRegistry, Registration, RegistrationHandle};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let weather = Registration::new("weather", "tcp://10.0.0.7:8080".parse()?);
/// let handle = RegistrationHandle::builder(LocalRegistry::new(), weather)
///     .interval(Duration::from_secs(10))
///     .start()?;
/// handle.registered().await?;
/// # Ok(())
/// # }
/// ```
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

    /// Sets the heartbeat interval. The default is a third of the lease that the registry returns.
    /// With a longer interval, fewer heartbeats can be lost without the lease expiring. Each
    /// interval is randomly shortened by up to a tenth.
    ///
    /// The interval must be shorter than the lease, which is unknown until the agent has been
    /// registered. If the interval is too long, the agent is unregistered again, and
    /// [`RegistrationHandle::registered`] returns [`RegistryError::InvalidSetting`].
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Sets the timeout of each registration or heartbeat. The default is 30 s. While the agent is
    /// registered, the timeout is limited to a sixth of the lease.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Sets the timeout for unregistering, in [`RegistrationHandle::unregister`] or after the
    /// handle is dropped. The default is 5 s.
    pub fn unregister_timeout(mut self, timeout: Duration) -> Self {
        self.unregister_timeout = timeout;
        self
    }

    /// Starts a background task that registers the agent and keeps it registered.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidName`] or [`RegistryError::InvalidRegistration`] if the
    /// registration is invalid. All other failures are retried. [`RegistrationHandle::last_error`]
    /// returns the error of the last failure.
    ///
    /// # Panics
    ///
    /// Panics if called outside a tokio runtime with time enabled.
    pub fn start(mut self) -> Result<RegistrationHandle, RegistryError> {
        // The key is required because the instance id is public.
        let owner = &mut self.registration.owner;
        *owner = owner.take().or_else(|| Some(OwnerKey::random()));
        // The size is not checked, because only the registry knows the size limit.
        self.registration.check(usize::MAX)?;
        Ok(RegistrationHandle::spawn(self))
    }
}
