//! The task that keeps an agent registered: [`Renewal`].

use std::{
    future::{Future, ready},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    select,
    sync::watch::Sender,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    builder::RegistrationHandleBuilder,
    schedule::{Action, Next, Schedule},
    status::Status,
};
use crate::{InstanceRef, Lease, Registration, Registry, RegistryError};

/// The state of a task that keeps an agent registered until the task is stopped or gives up.
pub(super) struct Renewal {
    pub(super) settings: RegistrationHandleBuilder,
    pub(super) stop: CancellationToken,
    pub(super) status: Sender<Status>,
}

impl Renewal {
    pub(super) async fn run(self) {
        let mut schedule = Schedule::new(self.settings.interval);
        let mut wait = Duration::ZERO;
        loop {
            select! {
                biased;
                () = self.stop.cancelled() => return self.unregister(ready(())).await,
                () = sleep(wait) => {}
            }
            let started = Instant::now();
            let outcome = {
                let mut attempt = Box::pin(self.attempt(&schedule, started));
                select! {
                    biased;
                    () = self.stop.cancelled() => {
                        // The attempt must be awaited. If the attempt were dropped, the registry
                        // could process a cancelled registration after the unregistration.
                        return self.unregister(attempt.map(drop)).await;
                    }
                    outcome = &mut attempt => outcome,
                }
            };
            wait = match self.record(&mut schedule, outcome, started) {
                Next::After(wait, _) => wait,
                Next::GiveUp => return self.status.send_modify(|status| status.ended = true),
            };
        }
    }

    /// Registers the agent or sends a heartbeat. Registering returns a lease.
    async fn attempt(
        &self,
        schedule: &Schedule,
        now: Instant,
    ) -> Result<Option<Lease>, RegistryError> {
        let registry = &self.settings.registry;
        let registration = &self.settings.registration;
        let which = InstanceRef::from(registration);
        let work = async {
            match schedule.action() {
                Action::Register => {
                    let lease = registry.register(registration.clone()).await?;
                    if let Err(error) = schedule.check(lease) {
                        // The lease would expire before each heartbeat, so the agent is
                        // unregistered again.
                        registry.unregister(&which).await?;
                        return Err(error);
                    }
                    Ok(Some(lease))
                }
                Action::Heartbeat => registry.heartbeat(&which).await.map(|()| None),
            }
        };
        let limit = schedule.attempt_limit(self.settings.attempt_timeout, now);
        match timeout(limit, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RegistryError::NoAnswer { limit }),
        }
    }

    /// Updates the schedule and the status according to the outcome of an attempt. Returns the next
    /// step.
    fn record(
        &self,
        schedule: &mut Schedule,
        outcome: Result<Option<Lease>, RegistryError>,
        started: Instant,
    ) -> Next {
        let Registration { name, endpoint, .. } = &self.settings.registration;
        let now = Instant::now();
        match outcome {
            Ok(lease) => {
                let is_again = schedule.has_registered();
                let next = schedule.succeeded(lease, started, now);
                if lease.is_some() && is_again {
                    tracing::info!(name, %endpoint, "registered again");
                } else if lease.is_some() {
                    tracing::debug!(name, %endpoint, "registered");
                }
                self.status.send_modify(|status| {
                    status.held_until = schedule.held_until();
                    status.error = None;
                });
                next
            }
            Err(error) => {
                let action = schedule.action();
                let next = schedule.failed(&error, now);
                // Of several equal failures, only the first is logged as a warning.
                let is_repeated = self.status.borrow().error.as_ref().is_some_and(|last| {
                    std::mem::discriminant(last) == std::mem::discriminant(&error)
                });
                match next {
                    Next::After(wait, _) if wait.is_zero() => {
                        tracing::warn!(name, %endpoint, %error, "registration lost; registering again");
                    }
                    Next::After(wait, _) if is_repeated => {
                        tracing::debug!(name, %endpoint, %error, ?wait, "still failing; retrying");
                    }
                    Next::After(wait, _) => match action {
                        Action::Register => {
                            tracing::warn!(name, %endpoint, %error, ?wait, "registration failed; retrying");
                        }
                        Action::Heartbeat => {
                            tracing::warn!(name, %endpoint, %error, ?wait, "heartbeat failed; retrying");
                        }
                    },
                    Next::GiveUp => {
                        tracing::warn!(name, %endpoint, %error, "registration failed; giving up")
                    }
                }
                self.status.send_modify(|status| {
                    status.error = Some(error);
                    status.held_until = schedule.held_until();
                });
                next
            }
        }
    }

    /// Waits for the attempt in flight, and unregisters the agent.
    async fn unregister(&self, in_flight: impl Future<Output = ()>) {
        let which = InstanceRef::from(&self.settings.registration);
        let work = async {
            in_flight.await;
            self.settings.registry.unregister(&which).await
        };
        let limit = self.settings.unregister_timeout;
        let outcome = match timeout(limit, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RegistryError::NoAnswer { limit }),
        };
        if let Err(error) = &outcome {
            let name = &which.name;
            tracing::debug!(name, %error, "unregistration failed; the lease will expire");
        }
        self.status.send_modify(|status| {
            status.error = outcome.err();
            status.held_until = None;
            status.ended = true;
        });
    }
}
