mod builder;
mod keeper;
mod schedule;
mod status;

use std::fmt;

use tokio::{sync::watch, task::AbortHandle};
use tokio_util::sync::CancellationToken;

pub use self::builder::RegistrationHandleBuilder;
use self::{keeper::Keeper, status::Status};
use crate::{Registration, Registry, RegistryError};

/// Keeps an agent registered for as long as it lives: registers it, sends heartbeats, registers it again when the
/// registry has forgotten it, and takes it out in the end.
///
/// What fails is tried again, after a quarter of a second at first, then after twice as long each time, up to the
/// interval between heartbeats. While the lease holds, a heartbeat may take a sixth of it and the wait after one is a
/// twelfth at most, so that two in a row may be lost, by errors or in silence. All waits are shortened at random, those
/// after failures by up to a half, so that agents that were started together do not stay together.
///
/// It gives up when another instance has taken its place; and, before it has been registered once, where trying
/// again cannot help. Later it goes on whatever the registry answers.
///
/// Dropping it ends all this: it is unregistered in the background if that goes within 5 s and the runtime lives on, and
/// else the lease runs out. To be sure, [`unregister`](Self::unregister).
///
/// ```
/// use agentwire_registry::{LocalRegistry, RegistrationHandle, Registration, Registry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = LocalRegistry::new();
/// let weather = Registration::new("weather", "tcp://10.0.0.7:8080".parse()?);
/// let registrant = RegistrationHandle::start(registry.clone(), weather)?;
///
/// registrant.registered().await?;
/// assert_eq!(registry.lookup("weather").await?.len(), 1);
///
/// registrant.unregister().await?;
/// assert!(registry.lookup("weather").await?.is_empty());
/// # Ok(())
/// # }
/// ```
pub struct RegistrationHandle {
    registration: Registration,
    stop: CancellationToken,
    status: watch::Receiver<Status>,
    task: AbortHandle,
}

impl RegistrationHandle {
    /// Begins to register an agent, with default settings.
    ///
    /// # Errors
    ///
    /// As [`RegistrationHandleBuilder::start`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub fn start(
        registry: impl Registry,
        registration: Registration,
    ) -> Result<Self, RegistryError> {
        Self::builder(registry, registration).start()
    }

    /// Settings for keeping an agent registered.
    pub fn builder(
        registry: impl Registry,
        registration: Registration,
    ) -> RegistrationHandleBuilder {
        RegistrationHandleBuilder::new(registry, registration)
    }

    fn spawn(settings: RegistrationHandleBuilder) -> Self {
        let registration = settings.registration.clone();
        let stop = CancellationToken::new();
        let (sender, status) = watch::channel(Status::default());
        let keeper = Keeper {
            settings,
            stop: stop.clone(),
            status: sender,
        };
        let task = tokio::spawn(keeper.run()).abort_handle();
        Self {
            registration,
            stop,
            status,
            task,
        }
    }

    /// What is registered.
    #[must_use]
    pub fn registration(&self) -> &Registration {
        &self.registration
    }

    /// True from when the registry has it until the lease may be over, counted from when the last heartbeat that was
    /// answered was sent.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.status.borrow().is_registered()
    }

    /// What the last registration, heartbeat or unregistration failed with, if it did.
    #[must_use]
    pub fn last_error(&self) -> Option<RegistryError> {
        self.status.borrow().error.clone()
    }

    /// True if nothing more is done: it was unregistered or aborted, or gave up.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        // A task that was aborted, or whose runtime has gone, leaves no word.
        self.status.borrow().ended || self.status.has_changed().is_err()
    }

    /// Waits until it is registered. That may be never: give it a limit.
    ///
    /// # Errors
    ///
    /// Why it gave up.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing changes.
    pub async fn registered(&self) -> Result<(), RegistryError> {
        let mut status = self.status.clone();
        let settled = status.wait_for(|status| status.ended || status.is_registered());
        match settled.await {
            Ok(status) if !status.ended => Ok(()),
            Ok(status) => Err(status.error.clone().unwrap_or_else(|| self.gone())),
            Err(_) => Err(self.gone()),
        }
    }

    /// Takes the agent out of the registry, and ends. It never waits longer than the
    /// [limit](RegistrationHandleBuilder::unregister_timeout). Once it has ended, this says again how it ended.
    ///
    /// # Errors
    ///
    /// What unregistering failed with. The registry then forgets the agent when its lease is over.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, it goes on in the background.
    pub async fn unregister(&self) -> Result<(), RegistryError> {
        self.stop.cancel();
        let mut status = self.status.clone();
        match status.wait_for(|status| status.ended).await {
            Ok(status) => status.error.clone().map_or(Ok(()), Err),
            Err(_) => Err(self.gone()),
        }
    }

    /// Waits until nothing more is done, and no task is left.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing changes.
    pub async fn ended(&self) {
        let mut status = self.status.clone();
        // The task takes the sender with it.
        while status.changed().await.is_ok() {}
    }

    /// Ends at once, as if the process had crashed: the registry forgets the agent when its lease is over.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// What is said of a registration that nobody keeps up any more.
    fn gone(&self) -> RegistryError {
        RegistryError::NotRegistered {
            name: self.registration.name.clone(),
            endpoint: Some(self.registration.endpoint.clone()),
        }
    }
}

impl Drop for RegistrationHandle {
    fn drop(&mut self) {
        // The task says farewell, within its limit, and ends.
        self.stop.cancel();
    }
}

impl fmt::Debug for RegistrationHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationHandle")
            .field("registration", &self.registration)
            .field("is_registered", &self.is_registered())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
