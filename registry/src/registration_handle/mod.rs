//! [`RegistrationHandle`]: a registration that renews itself.

mod builder;
mod renewal;
mod schedule;
mod status;

use std::{fmt, future::pending};

use tokio::{select, sync::watch, task::AbortHandle, time::sleep_until};
use tokio_util::sync::CancellationToken;

pub use self::builder::RegistrationHandleBuilder;
use self::{renewal::Renewal, status::Status};
use crate::{Registration, Registry, RegistryError};

/// A registration that renews itself. While the handle exists, a background task registers the
/// agent, sends heartbeats, and registers it again if the registry has lost it.
///
/// Failed operations are retried, first after 250 ms, then with doubling delays up to the heartbeat
/// interval. While the lease is held, a heartbeat may take a sixth of the lease and the delay after
/// a failure is at most a twelfth, so two heartbeats in a row may fail or go unanswered without the
/// lease expiring. All delays are shortened at random, those after failures by up to a half, so
/// that agents that were started together do not stay in step.
///
/// The registration has an [owner key](Registration::with_owner), so that no other process can
/// change it while the heartbeats arrive. If another instance holds the endpoint all the same,
/// because its lease was the only one for a while, the task registers again as soon as that
/// instance has left or has stopped sending heartbeats. A loss is logged as a warning, the return
/// as information.
///
/// The task gives up only before the first successful registration, on errors that a retry cannot
/// resolve.
///
/// Dropping the handle unregisters the agent in the background, for up to 5 s and only while the
/// runtime lives; otherwise the lease expires. Call [`unregister`](Self::unregister) to be sure.
///
/// ```
/// use agentwire_registry::{LocalRegistry, RegistrationHandle, Registration, Registry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = LocalRegistry::new();
/// let weather = Registration::new("weather", "tcp://10.0.0.7:8080".parse()?);
/// let handle = RegistrationHandle::start(registry.clone(), weather)?;
///
/// handle.registered().await?;
/// assert_eq!(registry.lookup("weather").await?.len(), 1);
///
/// handle.unregister().await?;
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
    /// Starts registering an agent, with default settings.
    ///
    /// # Errors
    ///
    /// Those of [`RegistrationHandleBuilder::start`].
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

    /// Returns a builder for a handle with other settings.
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
        let renewal = Renewal {
            settings,
            stop: stop.clone(),
            status: sender,
        };
        let task = tokio::spawn(renewal.run()).abort_handle();
        Self {
            registration,
            stop,
            status,
            task,
        }
    }

    /// Returns the registration.
    #[must_use]
    pub fn registration(&self) -> &Registration {
        &self.registration
    }

    /// Returns true while the agent is certainly registered: until a lease after the last
    /// successful heartbeat was sent.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.status.borrow().is_registered()
    }

    /// Returns the error of the last registration, heartbeat or unregistration, if it failed.
    #[must_use]
    pub fn last_error(&self) -> Option<RegistryError> {
        self.status.borrow().error.clone()
    }

    /// Returns true once the background task has ended: the agent was unregistered, or the handle
    /// was aborted or gave up.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        // A task that was aborted, or dropped with its runtime, drops the sender without a last
        // status.
        self.status.borrow().ended || self.status.has_changed().is_err()
    }

    /// Waits until the agent is registered. This may take forever, so use a timeout.
    ///
    /// # Errors
    ///
    /// The error on which the task gave up.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn registered(&self) -> Result<(), RegistryError> {
        let mut status = self.status.clone();
        let settled = status.wait_for(|status| status.ended || status.is_registered());
        match settled.await {
            Ok(status) if !status.ended => Ok(()),
            Ok(status) => Err(status
                .error
                .clone()
                .unwrap_or_else(|| self.not_registered())),
            Err(_) => Err(self.not_registered()),
        }
    }

    /// Waits until the agent is not certainly registered any more, and returns the reason if there
    /// is one: the error of the last operation. Returns at once while
    /// [`is_registered`](Self::is_registered) is false.
    ///
    /// Together with [`registered`](Self::registered), this method follows the registration.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn lost(&self) -> Option<RegistryError> {
        let mut status = self.status.clone();
        loop {
            let held_until = {
                let status = status.borrow_and_update();
                if !status.is_registered() {
                    return status.error.clone();
                }
                status.held_until
            };
            let expired = async {
                match held_until {
                    Some(until) => sleep_until(until).await,
                    None => pending().await,
                }
            };
            select! {
                changed = status.changed() => if changed.is_err() {
                    return self.last_error();
                },
                () = expired => {}
            }
        }
    }

    /// Unregisters the agent and ends the background task, within the
    /// [timeout](RegistrationHandleBuilder::unregister_timeout). Later calls return the same
    /// result.
    ///
    /// # Errors
    ///
    /// The error of unregistering. The lease then expires.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the agent is still unregistered in the background.
    pub async fn unregister(&self) -> Result<(), RegistryError> {
        self.stop.cancel();
        let mut status = self.status.clone();
        match status.wait_for(|status| status.ended).await {
            Ok(status) => status.error.clone().map_or(Ok(()), Err),
            Err(_) => Err(self.not_registered()),
        }
    }

    /// Waits until the background task has ended.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn ended(&self) {
        let mut status = self.status.clone();
        // The task owns the sender and drops it when it ends.
        while status.changed().await.is_ok() {}
    }

    /// Ends the background task without unregistering, as if the process had crashed. The lease
    /// then expires.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Returns the error for a task that ended without a last status.
    fn not_registered(&self) -> RegistryError {
        RegistryError::NotRegistered {
            name: self.registration.name.clone(),
            endpoint: Some(self.registration.endpoint.clone()),
        }
    }
}

impl Drop for RegistrationHandle {
    fn drop(&mut self) {
        // The task unregisters the agent, within its timeout, and ends.
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
