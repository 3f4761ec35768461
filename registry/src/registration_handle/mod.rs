//! Registrations that are renewed in the background: [`RegistrationHandle`].

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

/// A handle that keeps an agent registered. While the handle exists, a background task registers
/// the agent and sends heartbeats. If the registry loses the registration, the task registers the
/// agent again.
///
/// Failed operations are retried. The first delay is 250 ms, and the delays double up to the
/// heartbeat interval. The lease does not expire even if two consecutive heartbeats fail or are not
/// answered. The timeout of a heartbeat is therefore at most a sixth of the lease, and the delay
/// after a failure is at most a twelfth. Agents that were started together do not stay
/// synchronized, because all delays are random. Delays after failures are shortened by up to a
/// half, and heartbeat intervals by up to a tenth.
///
/// The registration has an [owner key](Registration::with_owner), so no other process can change
/// the registration while heartbeats arrive. If the lease expires, another instance may register
/// the same name and endpoint. The task registers the agent again when the other instance has left
/// or has stopped sending heartbeats. The loss of a registration is logged at the level `warn`, and
/// its return at the level `info`.
///
/// The task gives up only if an error before the first successful registration is not retryable.
///
/// Dropping the handle unregisters the agent in the background, within 5 s. If unregistering fails
/// or the runtime shuts down first, the lease expires. To wait until the agent is unregistered,
/// call [`unregister`](Self::unregister).
///
/// ```
/// # mod agentwire { pub extern crate agentwire_registry as registry; }
/// use agentwire::registry::{LocalRegistry, RegistrationHandle, Registration, Registry};
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
    /// Starts a background task that keeps an agent registered, with default settings.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`RegistrationHandleBuilder::start`].
    ///
    /// # Panics
    ///
    /// Panics if called outside a tokio runtime with time enabled.
    pub fn start(
        registry: impl Registry,
        registration: Registration,
    ) -> Result<Self, RegistryError> {
        Self::builder(registry, registration).start()
    }

    /// Returns a builder for a handle with custom settings.
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

    /// Returns whether the agent is certain to be registered. The agent is registered until one
    /// lease after the time at which the last successful heartbeat was sent.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.status.borrow().is_registered()
    }

    /// Returns the error of the last operation, if it failed. An operation is a registration, a
    /// heartbeat or an unregistration.
    #[must_use]
    pub fn last_error(&self) -> Option<RegistryError> {
        self.status.borrow().error.clone()
    }

    /// Returns whether the background task has ended. The task ends if the agent is unregistered,
    /// if the handle is aborted, or if the task gives up.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        // If the task is aborted or its runtime shuts down, the sender is dropped without a final
        // status.
        self.status.borrow().ended || self.status.has_changed().is_err()
    }

    /// Waits until the agent is registered. The wait has no timeout.
    ///
    /// # Errors
    ///
    /// Returns the error that made the task give up.
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

    /// Waits until [`is_registered`](Self::is_registered) is false. Returns the error of the last
    /// operation, if it failed.
    ///
    /// Use this method together with [`registered`](Self::registered) to track the state of the
    /// registration.
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

    /// Unregisters the agent and ends the background task. This method returns within the
    /// [timeout](RegistrationHandleBuilder::unregister_timeout) for unregistering. Later calls
    /// return the same result.
    ///
    /// # Errors
    ///
    /// Returns the error if unregistering fails. The lease then expires.
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

    /// Ends the background task without unregistering the agent, as if the process had crashed. The
    /// lease then expires.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Returns the error for a task that ended without a final status.
    fn not_registered(&self) -> RegistryError {
        RegistryError::NotRegistered {
            name: self.registration.name.clone(),
            endpoint: Some(self.registration.endpoint.clone()),
        }
    }
}

impl Drop for RegistrationHandle {
    fn drop(&mut self) {
        // The task unregisters the agent and ends.
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
