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
    schedule::{Next, Schedule, Step},
    status::Status,
};
use crate::{InstanceRef, Lease, Registry, RegistryError};

/// The task that keeps one agent registered, until it is told to stop or there is no sense in going on.
pub(super) struct Keeper {
    pub(super) settings: RegistrationHandleBuilder,
    pub(super) stop: CancellationToken,
    pub(super) status: Sender<Status>,
}

impl Keeper {
    pub(super) async fn run(self) {
        let mut schedule = Schedule::new(self.settings.interval);
        let mut wait = Duration::ZERO;
        loop {
            select! {
                biased;
                () = self.stop.cancelled() => return self.farewell(ready(())).await,
                () = sleep(wait) => {}
            }
            let began = Instant::now();
            let outcome = {
                let mut attempt = Box::pin(self.attempt(&schedule, began));
                select! {
                    biased;
                    () = self.stop.cancelled() => {
                        // Were it dropped, the registry might read it after the farewell.
                        return self.farewell(attempt.map(drop)).await;
                    }
                    outcome = &mut attempt => outcome,
                }
            };
            wait = match self.note(&mut schedule, outcome, began) {
                Next::After(wait, _) => wait,
                Next::Never => return self.status.send_modify(|status| status.ended = true),
            };
        }
    }

    /// One registration or heartbeat.
    async fn attempt(
        &self,
        schedule: &Schedule,
        now: Instant,
    ) -> Result<Option<Lease>, RegistryError> {
        let registry = &self.settings.registry;
        let registration = &self.settings.registration;
        let which = InstanceRef::from(registration);
        let work = async {
            match schedule.step() {
                Step::Register => {
                    let lease = registry.register(registration.clone()).await?;
                    if let Err(error) = schedule.check(lease) {
                        // It would come and go.
                        registry.unregister(&which).await?;
                        return Err(error);
                    }
                    Ok(Some(lease))
                }
                Step::Heartbeat => registry.heartbeat(&which).await.map(|()| None),
            }
        };
        let limit = schedule.limit(self.settings.attempt_timeout, now);
        match timeout(limit, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RegistryError::NoAnswer { limit }),
        }
    }

    fn note(
        &self,
        schedule: &mut Schedule,
        outcome: Result<Option<Lease>, RegistryError>,
        began: Instant,
    ) -> Next {
        let name = &self.settings.registration.name;
        let now = Instant::now();
        match outcome {
            Ok(lease) => {
                let next = schedule.succeeded(lease, began, now);
                if lease.is_some() {
                    tracing::debug!(name, "registered");
                }
                self.status.send_modify(|status| {
                    status.held_until = schedule.held_until();
                    status.error = None;
                });
                next
            }
            Err(error) => {
                let next = schedule.failed(&error, now);
                match next {
                    Next::After(wait, _) if wait.is_zero() => {
                        tracing::debug!(name, "forgotten by the registry; registering again");
                    }
                    Next::After(wait, step) => {
                        tracing::warn!(name, %error, ?step, ?wait, "the registry does not hear of it; trying again");
                    }
                    Next::Never => tracing::warn!(name, %error, "no longer registered"),
                }
                self.status.send_modify(|status| {
                    status.error = Some(error);
                    status.held_until = schedule.held_until();
                });
                next
            }
        }
    }

    /// Waits for what is under way, and takes the agent out.
    async fn farewell(&self, under_way: impl Future<Output = ()>) {
        let which = InstanceRef::from(&self.settings.registration);
        let work = async {
            under_way.await;
            self.settings.registry.unregister(&which).await
        };
        let limit = self.settings.unregister_timeout;
        let outcome = match timeout(limit, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RegistryError::NoAnswer { limit }),
        };
        if let Err(error) = &outcome {
            let name = &which.name;
            tracing::debug!(name, %error, "cannot unregister; the lease will end by itself");
        }
        self.status.send_modify(|status| {
            status.error = outcome.err();
            status.held_until = None;
            status.ended = true;
        });
    }
}
